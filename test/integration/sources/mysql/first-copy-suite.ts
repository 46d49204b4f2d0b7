import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { source } from '../../../../connectors/sources/mysql/source.ts';
import type { ServerContext } from '../../../support/contexts.ts';
import { miscounted, tableOf } from '../../../conformance/event-facts.ts';
import { randomOf } from '../../../chaos/fault-schedule.ts';
import { Run, type SeenEnvelope } from '../postgres/capture-harness.ts';
import {
  createDatabase,
  DATABASE,
  mysqlConfig,
  sqlClient,
  type SqlClient,
} from './mysql-harness.ts';

const RIGHTS = 'SELECT, REPLICATION SLAVE, REPLICATION CLIENT';

/** What a managed server's user has: no RELOAD, no LOCK TABLES, no BACKUP_ADMIN. */
export async function plainUser(sql: SqlClient): Promise<void> {
  await sql.run(`CREATE USER plain@'%' IDENTIFIED BY 'p'`, `GRANT ${RIGHTS} ON *.* TO plain@'%'`);
}

export function plainConfig(server: ServerContext): Record<string, unknown> {
  return { ...mysqlConfig(server), username: 'plain', password: 'p' };
}

export function openPlain(server: ServerContext, ...tables: readonly string[]): Promise<Run> {
  return Run.open(plainConfig(server), {
    source,
    streams: tables.map((name) => ({ namespace: DATABASE, name })),
  });
}

export async function rowsOf(sql: SqlClient, table: string): Promise<Map<string, string>> {
  const rows = await sql.run(`SELECT id, n FROM ${table}`);
  return new Map(rows.map((row) => [String(row['id']), String(row['n'])]));
}

export async function filled(sql: SqlClient, table: string, rows: number): Promise<void> {
  await sql.run(
    `CREATE TABLE ${table} (id int PRIMARY KEY, n int, pad varchar(100))`,
    `INSERT INTO ${table} VALUES (1, 0, repeat('x', 50))`,
  );
  for (let done = 1; done < rows; done *= 2) {
    await sql.run(
      `INSERT INTO ${table} SELECT id + ${done}, 0, pad FROM ${table} WHERE id <= ${rows - done}`,
    );
  }
}

interface Writing {
  readonly table: string;
  readonly sessions: number;
  readonly seed: number;
  /** Whether rows get other keys. */
  readonly rekeys: boolean;
  /** Whether they commit in two phases. */
  readonly twoPhases?: boolean;
}

/** Sessions that change few rows over and over, so that some commit is always under way. */
export class Writers {
  private writing = true;
  private readonly sessions: Promise<void>[];

  constructor(server: ServerContext, plan: Writing) {
    this.sessions = Array.from({ length: plan.sessions }, (_, index) =>
      this.write(server, plan, index),
    );
  }

  private async write(server: ServerContext, plan: Writing, index: number): Promise<void> {
    const { table, rekeys, twoPhases } = plan;
    const sql = await sqlClient(server);
    const random = randomOf(plan.seed + index);
    for (let i = 0; this.writing; i++) {
      const own = 1_000_000 * (index + 1) + (i % 7);
      const id = 1 + Math.floor(random() * 40);
      const xid = `'${table}.${plan.seed + index}.${i}'`;
      await sql.run(
        twoPhases === true ? `XA START ${xid}` : 'BEGIN',
        `UPDATE ${table} SET n = n + 1 WHERE id = ${id}`,
        ...(i % 3 === 0 ? [`INSERT IGNORE INTO ${table} VALUES (${own}, 1, 'new')`] : []),
        ...(i % 5 === 0 && rekeys
          ? [`UPDATE IGNORE ${table} SET id = id + 500 WHERE id = ${own}`]
          : []),
        ...(i % 4 === 0 ? [`DELETE FROM ${table} WHERE id IN (${own}, ${own + 500})`] : []),
        ...(twoPhases === true
          ? [`XA END ${xid}`, `XA PREPARE ${xid}`, `XA COMMIT ${xid}`]
          : ['COMMIT']),
      );
    }
    sql.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.writing = false;
    await Promise.all(this.sessions);
  }
}

const TABLES = ['busy', 'busy_too'];

export interface CopyPlan {
  readonly commits: 'one phase' | 'two phases';
  readonly copies: number;
  readonly config: (server: ServerContext) => Record<string, unknown>;
}

export const ONE_PHASE: CopyPlan = { commits: 'one phase', copies: 12, config: plainConfig };
/** With the right to lock, which is taken where an XA transaction is committed at each try. */
export const TWO_PHASES: CopyPlan = { commits: 'two phases', copies: 8, config: mysqlConfig };

/** Copies of which some commit is always under way, so that the sessions that share one see other states. */
export function firstCopySuite(
  name: string,
  start: () => Promise<ServerContext>,
  plans: readonly CopyPlan[],
): void {
  describe(`first copies of ${name} without a lock`, () => {
    let server: ServerContext;
    let sql: SqlClient;
    beforeAll(async () => {
      server = await start();
      sql = await createDatabase(server);
      await plainUser(sql);
    });
    afterAll(async () => {
      sql.close();
      await server[Symbol.asyncDispose]();
    });

    it.each(plans)(
      'match the log exactly under writers in $commits, at every start',
      async (plan) => {
        const twoPhases = plan.commits === 'two phases';
        const config = plan.config(server);
        const streams = TABLES.map((name) => ({ namespace: DATABASE, name }));
        for (const table of TABLES) await sql.run(`DROP TABLE IF EXISTS ${table}`);
        const seed = Math.floor(Math.random() * 2 ** 31);
        console.log(`copies beside writers by seed ${seed}`);
        for (const table of TABLES) await filled(sql, table, 500);
        for (let copy = 0; copy < plan.copies; copy++) {
          const writers = TABLES.map((table, i) => {
            const first = seed + 100 * copy + 10 * i;
            return new Writers(server, {
              table,
              sessions: 3,
              seed: first,
              rekeys: true,
              twoPhases,
            });
          });
          const run = await Run.open(config, { source, streams });
          try {
            await run.until(() => run.progress().phase === 'streaming', 'the stream');
          } finally {
            for (const each of writers) await each[Symbol.asyncDispose]();
          }
          // What was missed of a row is told by its next change.
          for (const table of TABLES) await sql.run(`UPDATE ${table} SET n = n + 1`);
          await run.caughtUp(config);
          const stopped = run.progress().streams.flatMap(({ error }) => error ?? []);
          await run.close();
          expect(stopped).toEqual([]);
          for (const table of TABLES) {
            const events = eventsOf(run, table);
            expect(miscounted(events)).toEqual([]);
            expect(differing(tableOf(events), await rowsOf(sql, table))).toEqual([]);
          }
        }
      },
    );
  });
}

function eventsOf(run: Run, table: string): SeenEnvelope[] {
  return run.records.flatMap(({ stream, value }) =>
    stream === `${DATABASE}.${table}` && value !== null ? [value] : [],
  );
}

function differing(a: ReadonlyMap<string, string>, b: ReadonlyMap<string, string>): string[] {
  const keys = new Set([...a.keys(), ...b.keys()]);
  return [...keys].filter((key) => a.get(key) !== b.get(key));
}
