import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { tableOf } from '../../../conformance/event-facts.ts';
import type { ServerContext } from '../../../support/contexts.ts';
import type { Run } from '../postgres/capture-harness.ts';
import { createDatabase, mysqlConfig, openRun, type SqlClient } from './mysql-harness.ts';

/** Without binlog_row_metadata = FULL, as servers are by default: names come from the kept history. */
export function unnamedColumnsSuite(name: string, start: () => Promise<ServerContext>): void {
  describe(`a log of ${name} that does not name columns`, () => {
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

    async function streaming(table: string): Promise<Run> {
      const run = await openRun(server, [table]);
      await run.until(() => run.progress().phase === 'streaming', 'the stream');
      return run;
    }

    const rows = (run: Run): unknown[] => run.events().map(({ after, before }) => after ?? before);

    async function reopened(run: Run, table: string): Promise<Run> {
      const { registry, state } = run;
      const next = await openRun(server, [table], { registry, state });
      await next.caughtUp(mysqlConfig(server));
      return next;
    }

    it('follows columns that are added, swapped, moved and dropped while it reads', async () => {
      await sql.run(
        'CREATE TABLE live (id int PRIMARY KEY, n int, m int)',
        'INSERT INTO live VALUES (1, 1, -1)',
      );
      const run = await streaming('live');
      const steps = [
        'ALTER TABLE live ADD COLUMN more varchar(10) AFTER id',
        'ALTER TABLE live CHANGE n m int, CHANGE m n int',
        "ALTER TABLE live ADD COLUMN kind enum('a','b,c','d''e','\\\\') FIRST",
        'ALTER TABLE live MODIFY COLUMN n bigint unsigned AFTER id',
        'ALTER TABLE live DROP COLUMN more',
      ];
      for (const [index, step] of steps.entries()) {
        await sql.run(step, `INSERT INTO live (id, n, m) VALUES (${index + 2}, 10, 20)`);
        await run.until(() => run.events().length === index + 2, step);
      }
      await sql.run(
        "INSERT INTO live (id, n, m, kind) VALUES (8, 18446744073709551615, 1, 'd''e')",
      );
      await sql.run("INSERT INTO live (id, n, m, kind) VALUES (9, 1, 1, '\\\\')");
      await run.caughtUp(mysqlConfig(server));
      await run.close();
      expect(rows(run).slice(1)).toEqual([
        { id: 2, more: null, n: 10, m: 20 },
        { id: 3, more: null, n: 10, m: 20 },
        { id: 4, more: null, n: 10, m: 20, kind: null },
        { id: 5, more: null, n: '10', m: 20, kind: null },
        { id: 6, n: '10', m: 20, kind: null },
        { id: 8, n: '18446744073709551615', m: 1, kind: "d'e" },
        { id: 9, n: '1', m: 1, kind: '\\' },
      ]);
    });

    it('reads what was written before a change with the names of then, after a restart', async () => {
      await sql.run('CREATE TABLE later (id int PRIMARY KEY, a int, b int)');
      const first = await streaming('later');
      await sql.run('INSERT INTO later VALUES (1, 1, 2)');
      await first.until(() => first.events().length === 1, 'the row');
      await first.close();
      await sql.run(
        'INSERT INTO later VALUES (2, 1, 2)',
        'ALTER TABLE later CHANGE a b int, CHANGE b a int',
        'INSERT INTO later VALUES (3, 1, 2)',
      );
      const second = await reopened(first, 'later');
      await sql.run('UPDATE later SET a = 7 WHERE id = 3', 'DELETE FROM later WHERE id = 2');
      await second.caughtUp(mysqlConfig(server));
      await second.close();
      const expected = [
        { id: 2, a: 1, b: 2 },
        { id: 3, a: 2, b: 1 },
        { id: 3, a: 7, b: 1 },
        { id: 2, a: 2, b: 1 },
      ];
      expect(rows(second)).toEqual(expected);
      // What a state says of shapes fits its position, also where the reader was ahead of it.
      let told = 0;
      for (const { records, state } of second.batches) {
        told += records;
        if (state === null) continue;
        const again = await openRun(server, ['later'], { registry: first.registry, state });
        await again.caughtUp(mysqlConfig(server));
        await again.close();
        const left = second.records.slice(told).filter(({ value }) => value !== null).length;
        expect(rows(again)).toEqual(expected.slice(expected.length - left));
      }
    });

    it('stops where two changes make the names between them unknown, and says what to do', async () => {
      await sql.run('CREATE TABLE twice (id int PRIMARY KEY, a int, b int)');
      const first = await streaming('twice');
      await first.close();
      await sql.run(
        'ALTER TABLE twice RENAME COLUMN a TO c',
        'INSERT INTO twice VALUES (1, 1, 2)',
        'ALTER TABLE twice CHANGE c b int, CHANGE b a int',
        'INSERT INTO twice VALUES (2, 1, 2)',
      );
      const { registry, state } = first;
      const second = await openRun(server, ['twice'], { registry, state });
      await second.until(() => second.progress().streams[0]?.phase === 'stopped', 'the stop');
      const { error } = second.progress().streams[0] ?? {};
      expect(error).toMatchObject({ code: 'SRC_LOG_INCOMPLETE' });
      expect(error?.message).toContain(`SET GLOBAL binlog_row_metadata = 'FULL'`);
      expect(second.events()).toEqual([]);
      await second.close();
    });

    it('follows a swap of tables, and TRUNCATE', async () => {
      await sql.run(
        'CREATE TABLE swapped (id int PRIMARY KEY, n int)',
        'INSERT INTO swapped VALUES (1, 1)',
      );
      const run = await streaming('swapped');
      await sql.run(
        'CREATE TABLE _swapped_new (n bigint, id int PRIMARY KEY)',
        'INSERT INTO _swapped_new SELECT n, id FROM swapped',
        'RENAME TABLE swapped TO _swapped_old, _swapped_new TO swapped',
        'INSERT INTO swapped (id, n) VALUES (2, 22)',
        'TRUNCATE TABLE swapped',
        'INSERT INTO swapped (id, n) VALUES (3, 33)',
      );
      await run.caughtUp(mysqlConfig(server));
      await run.close();
      expect(run.events().map(({ op }) => op)).toEqual([...'rctc']);
      expect(tableOf(run.events())).toEqual(new Map([['3', '33']]));
    });
  });
}
