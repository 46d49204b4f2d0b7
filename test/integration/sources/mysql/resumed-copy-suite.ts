import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { StreamMark } from '../../../../connectors/sources/mysql/position.ts';
import { randomOf } from '../../../chaos/fault-schedule.ts';
import { miscounted } from '../../../conformance/event-facts.ts';
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

interface Table {
  readonly columns: string;
  /** Assignments of a trigger, of the new row's \`id\` and \`n\`. */
  readonly set?: string;
}

/** Eight letters and digits that are another for each number, in no order; some begin alike for one
 * collation and not for the next, some end with a blank, and some are spelled anew by each change. */
const SPELLED = `CONCAT(ELT(NEW.id % 6 + 1, 'e', 'É', 'ß', 'Z', ' ', '_'),
  IF(NEW.n % 2 = 1, LOWER(@base), @base), IF(NEW.id % 3 = 0, ' ', ''))`;
const BASE = `@base = LPAD(CONV((NEW.id * 2654435761) & 0xffffffff, 10, 36), 7, '0')`;
const texts = (type: string): Table => ({
  columns: `id int, n int, k varchar(20) ${type} PRIMARY KEY, UNIQUE KEY (id)`,
  set: `${BASE}, NEW.k = ${SPELLED}`,
});

const TABLES = {
  unsigned_one: { columns: 'id bigint unsigned PRIMARY KEY, n int' },
  of_two: { columns: `id int, part varbinary(4) DEFAULT x'00ff', n int, PRIMARY KEY (id, part)` },
  binary_text: texts('CHARACTER SET binary'),
  latin: texts('CHARACTER SET latin1 COLLATE latin1_swedish_ci'),
  mixed: {
    columns: `id int, n int, e enum('z', 'b', 'a'), t time(2), k char(20) COLLATE utf8mb4_general_ci,
      PRIMARY KEY (e, t, k), UNIQUE KEY (id)`,
    set: `${BASE}, NEW.e = NEW.id % 3 + 1, NEW.t = SEC_TO_TIME(NEW.id % 50 - 25.5), NEW.k = ${SPELLED}`,
  },
} satisfies Readonly<Record<string, Table>>;

/** With keys that only this server has. */
export const MYSQL_TABLES = { ...TABLES, newest: texts('COLLATE utf8mb4_0900_ai_ci') };
export const MARIADB_TABLES = {
  ...TABLES,
  newest: texts('COLLATE utf8mb4_uca1400_ai_ci'),
  uuids: {
    columns: 'id int, n int, k uuid DEFAULT uuid(), PRIMARY KEY (k, id), UNIQUE KEY (id)',
  },
};

export function resumedCopySuite(
  name: string,
  start: () => Promise<ServerContext>,
  tables: Readonly<Record<string, Table>>,
): void {
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

    async function fill(table: string, { columns, set }: Table): Promise<void> {
      await sql.run(
        `CREATE TABLE ${table} (${columns})`,
        ...(set === undefined ? [] : ['INSERT', 'UPDATE']).map(
          (what) =>
            `CREATE TRIGGER ${table}_${what} BEFORE ${what} ON ${table} FOR EACH ROW SET ${set ?? ''}`,
        ),
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

    async function untilViews(run: Run, table: string, views: number): Promise<void> {
      const seen = (): number =>
        new Set(markOf(run, table)?.parts?.flatMap(({ from }) => from ?? [])).size;
      await run.until(() => seen() >= views, `rows of ${views} views`);
    }

    it.each(Object.keys(tables))(
      'goes on behind its last chunk after kills of both ends: %s',
      async (table) => {
        const seed = Math.floor(Math.random() * 2 ** 31);
        console.log(`${name}: changes during interrupted copies by seed ${seed}`);
        await fill(table, tables[table] as Table);
        let over = false;
        let writing = Promise.all([1, 2].map((n) => change(table, seed + n, () => over)));
        const options = { maxBufferedBytes: 256 * 1024 };
        const first = await openRun(server, [table], options);
        await untilViews(first, table, 1);
        await first.close();

        const again = { ...options, registry: first.registry };
        const second = await openRun(server, [table], { ...again, state: first.state });
        await untilViews(second, table, 2);
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
        const now = await sql.run(`SELECT * FROM ${table}`);
        const rows = new Map(now.map((row) => [nameOf(row), String(row['n'])]));
        expect(differing(tableOf(events), rows)).toEqual([]);
        expect(miscounted(events)).toEqual([]);
        expect(impossible(events)).toEqual([]);
        expect(markOf(last, table)?.parts).toBeUndefined();
      },
      240_000,
    );
  });
}

/** A row by its key: one that moves to another is in the topic under both, where each counts by itself. */
function nameOf(row: Readonly<Record<string, unknown>> | null): string {
  const { id, k } = row ?? {};
  return `${String(id)} ${Buffer.isBuffer(k) ? k.toString() : String(k ?? '')}`;
}

function tableOf(events: readonly SeenEnvelope[]): Map<string, string> {
  const rows = new Map<string, string>();
  for (const { op, before, after } of events) {
    if (op === 'd') rows.delete(nameOf(before));
    else rows.set(nameOf(after), String(after?.['n']));
  }
  return rows;
}

function differing(a: ReadonlyMap<string, string>, b: ReadonlyMap<string, string>): string[] {
  const keys = new Set([...a.keys(), ...b.keys()]);
  return [...keys].filter((key) => a.get(key) !== b.get(key));
}

/** Rows that come twice, and changes of rows that are not there. */
function impossible(events: readonly SeenEnvelope[]): string[] {
  const present = new Set<string>();
  return events.flatMap(({ op, before, after }) => {
    const id = nameOf(after ?? before);
    const wrong = present.has(id) === (op === 'r' || op === 'c');
    if (op === 'd') present.delete(id);
    else present.add(id);
    return wrong ? [`${op} ${id}`] : [];
  });
}
