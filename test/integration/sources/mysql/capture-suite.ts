import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { source } from '../../../../connectors/sources/mysql/source.ts';
import type { ServerContext } from '../../../support/contexts.ts';
import { until } from '../../../support/rig.ts';
import type { Run, SeenEnvelope } from '../postgres/capture-harness.ts';
import {
  createDatabase,
  mysqlConfig,
  openRun,
  sqlClient,
  type SqlClient,
} from './mysql-harness.ts';
import { ZOO, zooRows, zooTable } from './value-zoo.ts';

type Kind = 'mysql' | 'mariadb';

const plain = (value: unknown): string =>
  JSON.stringify(value, (_, each: unknown) => (typeof each === 'bigint' ? `${each}n` : each));

/** The rows that a topic's records leave, by key. */
function tableOf(events: readonly SeenEnvelope[]): Map<string, unknown> {
  const rows = new Map<string, unknown>();
  for (const { op, before, after } of events) {
    if (op === 't') rows.clear();
    else if (op === 'd') rows.delete(String(before?.['id']));
    else rows.set(String(after?.['id']), after?.['n']);
  }
  return rows;
}

export function captureSuite(kind: Kind, start: () => Promise<ServerContext>): void {
  describe(`${kind} as a source`, () => {
    let server: ServerContext;
    let sql: SqlClient;
    beforeAll(async () => {
      server = await start();
      sql = await createDatabase(server);
    });
    afterAll(async () => {
      sql.close();
      await server[Symbol.asyncDispose]();
    });

    async function streaming(run: Run): Promise<void> {
      await run.until(() => run.progress().phase === 'streaming', 'the stream');
    }

    async function tableNow(name: string): Promise<Map<string, unknown>> {
      const rows = await sql.run(`SELECT id, n FROM ${name}`);
      return new Map(rows.map((row) => [String(row['id']), Number(row['n'])]));
    }

    it('reads every type the same by snapshot and by log', async () => {
      expect(ZOO[kind].length).toBeGreaterThanOrEqual(70);
      await sql.run(zooTable(kind), ...zooRows(kind, 0));
      const run = await openRun(server, ['zoo']);
      await streaming(run);
      await sql.run(...zooRows(kind, 1000));
      await run.caughtUp(mysqlConfig(server));
      const rows = new Map(run.events().map(({ after }) => [Number(after?.['id']), after]));
      const copied = [...rows.keys()].filter((id) => id < 1000);
      expect(copied.length).toBe(rows.size / 2);
      for (const id of copied) {
        expect(plain({ ...rows.get(id + 1000), id })).toBe(plain(rows.get(id)));
      }
      expect(run.registry.schemas.length).toBe(1);
      await run.close();
    });

    it('misses and repeats nothing with writers during the snapshot, and resumes', async () => {
      await sql.run(
        'CREATE TABLE busy (id int PRIMARY KEY, n int)',
        'CREATE TABLE late (id int PRIMARY KEY, n int)',
      );
      const values = Array.from({ length: 2000 }, (_, i) => `(${i}, 0)`).join(', ');
      await sql.run(`INSERT INTO busy VALUES ${values}`, `INSERT INTO late VALUES ${values}`);
      let writing = true;
      const writers = [1, 2].map(async (writer) => {
        const own = await sqlClient(server);
        for (let i = 0; writing; i++) {
          const id = (i * 7 + writer) % 2000;
          await own.run(
            'BEGIN',
            `UPDATE busy SET n = n + 1 WHERE id = ${id}`,
            `UPDATE late SET n = n + 1 WHERE id = ${id}`,
            i % 5 === 0 ? `REPLACE INTO busy VALUES (${10_000 * writer + i}, 1)` : 'DO 0',
            'COMMIT',
          );
        }
        own.close();
      });
      const first = await openRun(server, ['busy']);
      await streaming(first);
      await first.caughtUp(mysqlConfig(server));
      await first.close();
      const second = await openRun(server, ['busy', 'late'], {
        state: first.state,
        registry: first.registry,
      });
      await streaming(second);
      writing = false;
      await Promise.all(writers);
      await second.caughtUp(mysqlConfig(server));
      await second.close();
      const busy = [...first.events('shop.busy'), ...second.events('shop.busy')];
      const late = second.events('shop.late');
      expect(tableOf(busy)).toEqual(await tableNow('busy'));
      expect(tableOf(late)).toEqual(await tableNow('late'));
      for (const events of [busy, late]) {
        const seen = new Set<string>();
        const counts = new Map<string, number>();
        for (const { op, before, after, source: from } of events) {
          if (op === 'r') {
            counts.set(String(after?.['id']), Number(after?.['n']));
            continue;
          }
          seen.add(plain([from['epoch'], from['lsn'], from['seq']]));
          // Each update counts up by one: a missed or a repeated one shows.
          if (op === 'u') {
            expect(Number(before?.['n'])).toBe(counts.get(String(after?.['id'])));
          }
          counts.set(String(after?.['id']), Number(after?.['n']));
        }
        expect(seen.size).toBe(events.filter(({ op }) => op !== 'r').length);
      }
    });

    it('copies a stream anew when that is wanted, once', async () => {
      await sql.run(
        'CREATE TABLE anew (id int PRIMARY KEY, n int)',
        'INSERT INTO anew VALUES (1, 1)',
      );
      const first = await openRun(server, ['anew']);
      await streaming(first);
      await first.caughtUp(mysqlConfig(server));
      await first.close();
      const again = { registry: first.registry, copy: 'wanted-1' };
      const second = await openRun(server, ['anew'], { state: first.state, ...again });
      await streaming(second);
      await second.caughtUp(mysqlConfig(server));
      await second.close();
      expect(second.events().map(({ op }) => op)).toEqual(['t', 'r']);
      expect(second.events().map(({ source: from }) => Number(from['epoch']))).toEqual([2, 2]);
      const third = await openRun(server, ['anew'], { state: second.state, ...again });
      await sql.run('INSERT INTO anew VALUES (2, 2)');
      await third.caughtUp(mysqlConfig(server));
      await third.close();
      expect(third.events().map(({ op }) => op)).toEqual(['c']);
    });

    it('follows key changes, TRUNCATE, new columns and table swaps; a dropped table stops alone', async () => {
      await sql.run(
        'CREATE TABLE t1 (id int PRIMARY KEY, n int)',
        'CREATE TABLE t2 (id int PRIMARY KEY, n int)',
        'INSERT INTO t1 VALUES (1, 1)',
      );
      const run = await openRun(server, ['t1', 't2']);
      await streaming(run);
      await sql.run(
        'TRUNCATE TABLE t1',
        'INSERT INTO t1 VALUES (2, 2), (3, 3)',
        'UPDATE t1 SET id = 4 WHERE id = 2',
        'DELETE FROM t1 WHERE id = 3',
        'ALTER TABLE t1 ADD COLUMN more varchar(10)',
        "INSERT INTO t1 VALUES (5, 5, 'x')",
        'CREATE TABLE _t1_new LIKE t1',
        'INSERT INTO _t1_new SELECT * FROM t1',
        'RENAME TABLE t1 TO _t1_old, _t1_new TO t1',
        "INSERT INTO t1 VALUES (6, 6, 'y')",
        'DROP TABLE t2',
        "INSERT INTO t1 VALUES (7, 7, 'z')",
      );
      await run.caughtUp(mysqlConfig(server));
      await run.until(() => run.events('shop.t1').some(({ after }) => after?.['id'] === 7));
      expect(run.events('shop.t1').map(({ op }) => op)).toEqual([...'rtccdcdccc']);
      expect(tableOf(run.events('shop.t1'))).toEqual(await tableNow('t1'));
      const states = run.progress().streams.map(({ phase, error }) => [phase, error?.code]);
      expect(states).toEqual([
        ['streaming', undefined],
        ['stopped', 'SRC_STREAM_GONE'],
      ]);
      await run.close();
    });

    it('cuts a huge transaction and goes on behind what was committed of it', async () => {
      await sql.run('CREATE TABLE huge (id int PRIMARY KEY, n int, pad varchar(200))');
      const limits = { maxBufferedBytes: 64 * 1024 };
      const first = await openRun(server, ['huge'], limits);
      await streaming(first);
      await sql.run(
        `INSERT INTO huge WITH RECURSIVE s(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM s WHERE i < 900)
         SELECT i, i, repeat('x', 200) FROM s`,
        `INSERT INTO huge SELECT id + 1000, n, pad FROM huge`,
      );
      await first.until(() =>
        first.batches.some(({ state }) => state?.details['chunk'] !== undefined),
      );
      await first.close();
      const second = await openRun(server, ['huge'], {
        ...limits,
        state: first.state,
        registry: first.registry,
      });
      await second.caughtUp(mysqlConfig(server));
      await second.close();
      const events = [...first.events(), ...second.events()];
      expect(events.length).toBe(1800);
      expect(tableOf(events)).toEqual(await tableNow('huge'));
    });

    it('goes on after kill -9 of the server, and refuses a log that is purged or reset', async () => {
      await sql.run(
        'CREATE TABLE kept (id int PRIMARY KEY, n int)',
        'INSERT INTO kept VALUES (1, 1)',
      );
      const first = await openRun(server, ['kept']);
      await streaming(first);
      await sql.run('INSERT INTO kept VALUES (2, 2)');
      await first.caughtUp(mysqlConfig(server));
      await first.until(() => first.events().length === 2);
      await server.kill();
      expect(await first.failed()).toMatchObject({ code: 'SRC_CONNECTION_LOST' });
      await server.restart();
      sql.close();
      sql = await sqlClient(server);
      await sql.run('INSERT INTO kept VALUES (3, 3)');
      const second = await openRun(server, ['kept'], {
        state: first.state,
        registry: first.registry,
      });
      await second.caughtUp(mysqlConfig(server));
      await second.until(() => second.events().length === 1);
      expect(second.events()[0]).toMatchObject({ op: 'c', after: { id: 3 } });
      await second.close();

      // By default MariaDB keeps its log until a replica is connected.
      if (kind === 'mariadb') await sql.run('SET GLOBAL slave_connections_needed_for_purge = 0');
      await sql.run('FLUSH BINARY LOGS', 'FLUSH BINARY LOGS');
      const newest = (await sql.run('SHOW BINARY LOGS')).at(-1)?.['Log_name'];
      // MariaDB keeps what the session that has just ended was reading, until it notices that.
      await until('the purge', async () => {
        await sql.run(`PURGE BINARY LOGS TO '${newest}'`);
        return (await sql.run('SHOW BINARY LOGS'))[0]?.['Log_name'] === newest;
      });
      await expect(openRun(server, ['kept'], { state: second.state })).rejects.toMatchObject({
        code: 'SRC_BINLOG_PURGED',
      });
      await sql.run(kind === 'mysql' ? 'RESET BINARY LOGS AND GTIDS' : 'RESET MASTER');
      await expect(openRun(server, ['kept'], { state: second.state })).rejects.toMatchObject({
        code: 'SRC_POSITION_AHEAD',
      });
    });

    it('says what is missing, with the statement that mends it', async () => {
      const config = mysqlConfig(server);
      expect(await source.check(config)).toMatchObject({ ok: true });
      await sql.run(`SET GLOBAL binlog_row_metadata = 'MINIMAL'`);
      const { ok, message } = await source.check(config);
      await sql.run(`SET GLOBAL binlog_row_metadata = 'FULL'`);
      expect(ok).toBe(false);
      expect(message).toContain(`SET GLOBAL binlog_row_metadata = 'FULL'`);
      const wrong = await source.check({ ...config, username: 'nobody', password: 'x' });
      expect(wrong.message).toContain('SRC_AUTH_FAILED');
    });

    it('opens what the server compressed', async () => {
      await sql.run('CREATE TABLE packed (id int PRIMARY KEY, n int, pad text)');
      const run = await openRun(server, ['packed']);
      await streaming(run);
      await sql.run(
        kind === 'mysql'
          ? 'SET SESSION binlog_transaction_compression = ON'
          : 'SET GLOBAL log_bin_compress = ON',
        `INSERT INTO packed VALUES (1, 1, repeat('abc', 5000)), (2, 2, 'x')`,
        `UPDATE packed SET n = n + 10`,
        'DELETE FROM packed WHERE id = 2',
        ...(kind === 'mysql' ? [`SET GTID_NEXT = 'AUTOMATIC:tag1'`] : []),
        `INSERT INTO packed VALUES (3, 3, 'tagged')`,
      );
      await run.caughtUp(mysqlConfig(server));
      await run.until(() => run.events().some(({ after }) => after?.['id'] === 3));
      expect(run.events().map(({ op }) => op)).toEqual([...'ccuudc']);
      expect(tableOf(run.events())).toEqual(await tableNow('packed'));
      await run.close();
      if (kind === 'mysql') await sql.run(`SET GTID_NEXT = 'AUTOMATIC'`);
      else await sql.run('SET GLOBAL log_bin_compress = OFF');
    });
  });
}
