import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { source } from '../../../../connectors/sources/mysql/source.ts';
import type { ServerContext } from '../../../support/contexts.ts';
import { tableOf } from '../../../conformance/event-facts.ts';
import type { Run } from '../postgres/capture-harness.ts';
import { createDatabase, mysqlConfig, openRun, type SqlClient } from './mysql-harness.ts';
import type { ServerKind } from './value-zoo.ts';

/** What only the binary log has; the conformance suite tests what every source promises. */
export function captureSuite(
  name: string,
  kind: ServerKind,
  start: () => Promise<ServerContext>,
): void {
  describe(`the log of ${name}`, () => {
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

    async function tableNow(table: string): Promise<Map<string, string>> {
      const rows = await sql.run(`SELECT id, n FROM ${table}`);
      return new Map(rows.map((row) => [String(row['id']), String(row['n'])]));
    }

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

    it('refuses a log that was reset', async () => {
      await sql.run('CREATE TABLE kept (id int PRIMARY KEY, n int)');
      const first = await openRun(server, ['kept']);
      await streaming(first);
      await sql.run('INSERT INTO kept VALUES (1, 1)');
      await first.until(() => first.events().length === 1, 'the row');
      await first.close();
      await sql.run(kind === 'mysql' ? 'RESET BINARY LOGS AND GTIDS' : 'RESET MASTER');
      await expect(openRun(server, ['kept'], { state: first.state })).rejects.toMatchObject({
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
