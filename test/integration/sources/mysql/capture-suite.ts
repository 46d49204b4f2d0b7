import { chmodSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { source } from '../../../../connectors/sources/mysql/source.ts';
import type { ServerContext } from '../../../support/contexts.ts';
import { tableOf } from '../../../conformance/event-facts.ts';
import type { Run } from '../postgres/capture-harness.ts';
import {
  createDatabase,
  mysqlConfig,
  openRun,
  sqlClient,
  type SqlClient,
} from './mysql-harness.ts';
import type { ServerKind } from './value-zoo.ts';
import { xaTests } from './xa-tests.ts';

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

    it('marks what a smaller row image leaves out, and never calls it null', async () => {
      const table = `(id int PRIMARY KEY, n int, a varchar(20), b text, c int DEFAULT 7)`;
      await sql.run(`CREATE TABLE part ${table}`, `CREATE TABLE rekeyed ${table}`);
      const run = await openRun(server, ['part', 'rekeyed']);
      await streaming(run);
      for (const image of ['MINIMAL', 'NOBLOB']) {
        await sql.run(
          `SET SESSION binlog_row_image = '${image}'`,
          `INSERT INTO part VALUES (1, 1, 'a', 'b', NULL)`,
          'UPDATE part SET n = 2 WHERE id = 1',
          `UPDATE part SET b = 'bb', a = NULL WHERE id = 1`,
          'DELETE FROM part WHERE id = 1',
        );
      }
      await sql.run(
        'INSERT INTO rekeyed (id, n) VALUES (1, 1)',
        `SET SESSION binlog_row_image = 'MINIMAL'`,
        'UPDATE rekeyed SET id = 2',
        `SET SESSION binlog_row_image = 'FULL'`,
      );
      await run.caughtUp(mysqlConfig(server));
      const told = run.events('shop.part').map(({ op, before, after, unchanged }) => {
        const cells = Object.entries(after ?? {}).filter(([name]) => !unchanged?.includes(name));
        return [op, op === 'd' ? before?.['id'] : before, Object.fromEntries(cells)];
      });
      expect(told).toEqual([
        ['c', null, { id: 1, n: 1, a: 'a', b: 'b', c: null }],
        ['u', null, { id: 1, n: 2 }],
        ['u', null, { id: 1, a: null, b: 'bb' }],
        ['d', 1, {}],
        ['c', null, { id: 1, n: 1, a: 'a', b: 'b', c: null }],
        ['u', null, { id: 1, n: 2, a: 'a', c: null }],
        ['u', null, { id: 1, n: 2, a: null, b: 'bb', c: null }],
        ['d', 1, {}],
      ]);
      expect(run.progress().streams[1]?.error).toMatchObject({ code: 'SRC_LOG_INCOMPLETE' });
      expect(run.progress().streams[0]?.error).toBeUndefined();
      await run.close();
    });

    it.runIf(kind === 'mysql')(
      'makes changes whole that were logged as parts of JSON',
      async () => {
        const document = `{"n": 1, "list": [1, {"x": 2.50}, "s"], "deep": {"b": {"c": null}, "a.b": true}, "long": "${'x'.repeat(300)}"}`;
        await sql.run('CREATE TABLE docs (id int PRIMARY KEY, n int, one json, two json)');
        const run = await openRun(server, ['docs']);
        await streaming(run);
        await sql.run(
          `INSERT INTO docs VALUES (1, 0, '${document}', NULL), (2, 0, '[]', '${document}')`,
          `SET SESSION binlog_row_value_options = 'PARTIAL_JSON'`,
        );
        const changes = [
          `JSON_SET(@, '$.n', 18446744073709551615)`,
          `JSON_SET(@, '$.list[1].x', 'é😀"')`,
          `JSON_REMOVE(@, '$.list[0]')`,
          `JSON_SET(@, '$.deep."a.b"', CAST(1.10 AS DECIMAL(5,2)))`,
          `JSON_SET(@, '$.deep.b.c', JSON_OBJECT('zz', 1, 'y', JSON_ARRAY(DATE'2024-02-29')))`,
          `JSON_ARRAY_INSERT(@, '$.list[1]', 'in between')`,
          `JSON_SET(@, '$.added', 1)`,
          `JSON_REPLACE(@, '$.n', 2, '$.list[0]', NULL)`,
          `JSON_REMOVE(@, '$.deep.b', '$.added')`,
        ];
        const expected: unknown[] = [];
        for (const change of changes) {
          await sql.run(
            `UPDATE docs SET n = n + 1, one = IF(id = 1, ${change.replace('@', 'one')}, one),
             two = IF(two IS NULL, NULL, ${change.replace('@', 'two')})`,
          );
          const rows = await sql.run('SELECT id, n, one, two FROM docs ORDER BY id');
          expected.push(
            ...rows.map((row) => ({ ...row, id: Number(row['id']), n: Number(row['n']) })),
          );
        }
        await sql.run(`SET SESSION binlog_row_value_options = ''`);
        const log = await sql.run('SHOW BINARY LOGS');
        const events = await sql.run(`SHOW BINLOG EVENTS IN '${log.at(-1)?.['Log_name']}'`);
        const partial = events.filter((row) => row['Event_type'] === 'Update_rows_partial');
        expect(partial.length).toBe(changes.length);
        await run.caughtUp(mysqlConfig(server));
        await run.until(() => run.events().length === 2 + expected.length, 'the changes');
        const updates = run.events().slice(2);
        expect(updates.map(({ after }) => after)).toEqual(expected);
        await run.close();
      },
    );

    it('reads LOAD DATA, REPLACE, multi-table statements and rows of 20 MB', async () => {
      await sql.run(
        'CREATE TABLE loaded (id int PRIMARY KEY, n int, pad longtext)',
        'CREATE TABLE others (id int PRIMARY KEY, n int)',
      );
      const limits = { maxRecordBytes: 64 * 1024 * 1024, maxBufferedBytes: 64 * 1024 * 1024 };
      const run = await openRun(server, ['loaded', 'others'], limits);
      await streaming(run);
      const file = join(server.folder, 'rows.txt');
      writeFileSync(file, '1,1\n2,2\n');
      chmodSync(file, 0o644);
      await sql.run(
        `LOAD DATA INFILE '${file}' INTO TABLE loaded FIELDS TERMINATED BY ',' (id, n)`,
        'INSERT INTO others SELECT id, n FROM loaded',
        'REPLACE INTO loaded VALUES (2, 22, NULL)',
        'INSERT INTO loaded VALUES (1, 9, NULL) ON DUPLICATE KEY UPDATE n = 11',
        'UPDATE loaded, others SET loaded.n = loaded.n + 1, others.n = others.n + 2 WHERE loaded.id = others.id',
        'DELETE loaded, others FROM loaded JOIN others USING (id) WHERE id = 1',
        'SET GLOBAL max_allowed_packet = 64 * 1024 * 1024',
      );
      const own = await sqlClient(server);
      await own.run(`INSERT INTO loaded VALUES (3, 3, repeat('0123456789', 2 * 1024 * 1024))`);
      own.close();
      await run.caughtUp(mysqlConfig(server));
      await run.until(() => run.events('shop.loaded').some(({ after }) => after?.['id'] === 3));
      expect(tableOf(run.events('shop.loaded'))).toEqual(await tableNow('loaded'));
      expect(tableOf(run.events('shop.others'))).toEqual(await tableNow('others'));
      const pad = run.events('shop.loaded').at(-1)?.after?.['pad'];
      expect(pad === '0123456789'.repeat(2 * 1024 * 1024)).toBe(true);
      await run.close();
    });

    xaTests({
      server: () => server,
      sql: () => sql,
      async reconnect() {
        sql.close();
        sql = await sqlClient(server);
      },
    });

    it('warns of cascades that are not logged, and refuses MyISAM by name', async () => {
      await sql.run(
        'CREATE TABLE parents (id int PRIMARY KEY, n int)',
        `CREATE TABLE children (id int PRIMARY KEY, n int, FOREIGN KEY (n)
           REFERENCES parents (id) ON DELETE CASCADE)`,
        'CREATE TABLE untold (id int PRIMARY KEY) ENGINE = MyISAM',
        'INSERT INTO parents VALUES (1, 1)',
        'INSERT INTO children VALUES (1, 1), (2, 1)',
      );
      const { warnings = [] } = await source.check(mysqlConfig(server));
      expect(warnings.filter((each) => each.includes('shop.untold')).join()).toContain('InnoDB');
      const run = await openRun(server, ['children', 'untold']);
      await streaming(run);
      await sql.run('DELETE FROM parents');
      await run.caughtUp(mysqlConfig(server));
      const [children, untold] = run.progress().streams;
      expect(children?.error).toBeUndefined();
      expect(untold?.error).toMatchObject({ code: 'SRC_LOG_INCOMPLETE' });
      const logged = run.events('shop.children').filter(({ op }) => op === 'd').length;
      const warned = warnings.some((each) => each.includes('shop.children'));
      expect([logged, warned]).toEqual(kind === 'mysql' ? [2, false] : [0, true]);
      await run.close();
    });

    it('says what is missing, with the statement that mends it', async () => {
      const config = mysqlConfig(server);
      await sql.run(`SET GLOBAL binlog_format = 'MIXED', GLOBAL binlog_row_metadata = 'MINIMAL'`);
      const { ok, message, warnings } = await source.check(config);
      await sql.run(`SET GLOBAL binlog_format = 'ROW', GLOBAL binlog_row_metadata = 'FULL'`);
      expect(ok).toBe(false);
      expect(message).toContain(`SET GLOBAL binlog_format = 'ROW'`);
      expect(warnings?.join()).toContain(`SET GLOBAL binlog_row_metadata = 'FULL'`);
      expect(await source.check(config)).toMatchObject({ ok: true });
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
