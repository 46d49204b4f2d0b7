import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { StreamMark } from '../../../../connectors/sources/mysql/position.ts';
import { randomOf } from '../../../chaos/fault-schedule.ts';
import { miscounted, tableOf } from '../../../conformance/event-facts.ts';
import type { ServerContext } from '../../../support/contexts.ts';
import type { Run, SeenEnvelope } from '../postgres/capture-harness.ts';
import {
  createDatabase,
  mysqlConfig,
  openRun,
  sqlClient,
  type SqlClient,
} from './mysql-harness.ts';

const ROWS = 170_000;
/** A row's key is [0, SPREAD * ROWS), so that rows can be put between the others. */
const SPREAD = 10;

/** Keys whose order is known here, each with `id` as the number of the row. */
const KEYS: Readonly<Record<string, string>> = {
  unsigned_one: 'id bigint unsigned PRIMARY KEY, n int',
  of_two: `id int, part varbinary(4) DEFAULT x'00ff', n int, PRIMARY KEY (id, part)`,
};

export function resumedCopySuite(name: string, start: () => Promise<ServerContext>): void {
  describe(`an interrupted copy of ${name}`, () => {
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

    async function fill(table: string, columns: string): Promise<void> {
      await sql.run(
        `CREATE TABLE ${table} (${columns})`,
        `INSERT INTO ${table} (id, n) VALUES (0, 0)`,
      );
      for (let rows = 1; rows < ROWS; rows *= 2) {
        await sql.run(
          `INSERT INTO ${table} (id, n) SELECT id + ${rows * SPREAD}, 0 FROM ${table}
           WHERE id < ${(ROWS - rows) * SPREAD}`,
        );
      }
    }

    /** Changes, new rows, gone rows and moved rows, all over the table. */
    async function change(table: string, seed: number, isOver: () => boolean): Promise<void> {
      const own = await sqlClient(server).catch(() => null);
      const random = randomOf(seed);
      const one = (): number => Math.floor(random() * ROWS) * SPREAD;
      try {
        while (!isOver()) {
          const fresh = one() + 1 + Math.floor(random() * 8);
          await own?.run(
            'BEGIN',
            `UPDATE ${table} SET n = n + 1 WHERE id IN (${one()}, ${one()}, ${one()})`,
            `INSERT IGNORE INTO ${table} (id, n) VALUES (${fresh}, 1)`,
            `DELETE FROM ${table} WHERE id = ${one()}`,
            `UPDATE IGNORE ${table} SET id = ${one() + 9} WHERE id = ${one()}`,
            'COMMIT',
          );
        }
      } catch {
        // The server was killed: what was committed is in its log.
      } finally {
        own?.close();
      }
    }

    const markOf = (run: Run, table: string): StreamMark | undefined =>
      (run.state?.details['streams'] as Record<string, StreamMark> | undefined)?.[`shop.${table}`];

    async function untilParts(run: Run, table: string, parts: number): Promise<void> {
      await run.until(() => (markOf(run, table)?.parts?.length ?? 0) >= parts, `${parts} parts`);
    }

    it.each(Object.keys(KEYS))(
      'goes on behind its last chunk after kills of both ends: %s',
      async (table) => {
        const seed = Math.floor(Math.random() * 2 ** 31);
        console.log(`${name}: changes during interrupted copies by seed ${seed}`);
        await fill(table, KEYS[table] as string);
        let over = false;
        let writing = Promise.all([1, 2].map((n) => change(table, seed + n, () => over)));
        const options = { maxBufferedBytes: 256 * 1024 };
        const first = await openRun(server, [table], options);
        await untilParts(first, table, 1);
        await first.close();

        const again = { ...options, registry: first.registry };
        const second = await openRun(server, [table], { ...again, state: first.state });
        await untilParts(second, table, 2);
        // What the server has sent already is not taken any more.
        const gate = Promise.withResolvers<void>();
        second.stallUntil(gate.promise);
        await server.kill();
        const closed = second.close();
        gate.resolve();
        await closed;
        await writing;
        expect(markOf(second, table)).toMatchObject({ done: false });
        await server.restart();
        sql.close();
        sql = await sqlClient(server);
        writing = Promise.all([3, 4].map((n) => change(table, seed + n, () => over)));

        const third = await openRun(server, [table], { ...again, state: second.state });
        await third.until(() => third.progress().phase === 'streaming', 'the stream');
        over = true;
        await writing;
        await third.caughtUp(mysqlConfig(server));
        await third.close();
        const last = await openRun(server, [table], { ...again, state: third.state });
        await last.caughtUp(mysqlConfig(server));
        await last.close();

        const events = [first, second, third, last].flatMap((run) => run.events());
        const copied = [first, second, third].map(
          (run) => run.events().filter(({ op }) => op === 'r').length,
        );
        expect(Math.min(...copied)).toBeGreaterThan(0);
        expect(events.filter(({ op }) => op === 't')).toEqual([]);
        const now = await sql.run(`SELECT id, n FROM ${table}`);
        const rows = new Map(now.map((row) => [String(row['id']), String(row['n'])]));
        expect(differing(tableOf(events), rows)).toEqual([]);
        expect(miscounted(events)).toEqual([]);
        expect(impossible(events)).toEqual([]);
        expect(markOf(last, table)?.parts).toBeUndefined();
      },
      240_000,
    );
  });
}

function differing(a: ReadonlyMap<string, string>, b: ReadonlyMap<string, string>): string[] {
  const keys = new Set([...a.keys(), ...b.keys()]);
  return [...keys].filter((key) => a.get(key) !== b.get(key));
}

/** Rows that come twice, and changes of rows that are not there. */
function impossible(events: readonly SeenEnvelope[]): string[] {
  const present = new Set<string>();
  return events.flatMap(({ op, before, after }) => {
    const id = String((after ?? before)?.['id']);
    const wrong = present.has(id) === (op === 'r' || op === 'c');
    if (op === 'd') present.delete(id);
    else present.add(id);
    return wrong ? [`${op} ${id}`] : [];
  });
}
