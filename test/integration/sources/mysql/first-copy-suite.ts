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
    const { table, rekeys } = plan;
    const sql = await sqlClient(server);
    const random = randomOf(plan.seed + index);
    for (let i = 0; this.writing; i++) {
      const own = 1_000_000 * (index + 1) + (i % 7);
      const id = 1 + Math.floor(random() * 40);
      await sql.run(
        'BEGIN',
        `UPDATE ${table} SET n = n + 1 WHERE id = ${id}`,
        ...(i % 3 === 0 ? [`INSERT IGNORE INTO ${table} VALUES (${own}, 1, 'new')`] : []),
        ...(i % 5 === 0 && rekeys ? [`UPDATE ${table} SET id = id + 500 WHERE id = ${own}`] : []),
        ...(i % 4 === 0 ? [`DELETE FROM ${table} WHERE id IN (${own}, ${own + 500})`] : []),
        'COMMIT',
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

/** Copies of which some commit is always under way, so that the sessions that share one see other states. */
export function firstCopySuite(name: string, start: () => Promise<ServerContext>): void {
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

    it('match the log exactly under writers, at every start', async () => {
      const seed = Math.floor(Math.random() * 2 ** 31);
      console.log(`copies beside writers by seed ${seed}`);
      for (const table of TABLES) await filled(sql, table, 2000);
      const writers = TABLES.map(
        (table, i) =>
          new Writers(server, { table, sessions: 3, seed: seed + 10 * i, rekeys: true }),
      );
      const stop = async (): Promise<void> => {
        for (const each of writers) await each[Symbol.asyncDispose]();
      };
      const wrong = (run: Run): string[] =>
        TABLES.flatMap((table) => miscounted(eventsOf(run, table)));
      try {
        for (let copy = 0; copy < 12; copy++) {
          const run = await openPlain(server, ...TABLES);
          await run.until(() => run.progress().phase === 'streaming', 'the stream');
          if (copy === 11) await stop();
          await run.caughtUp(plainConfig(server));
          await run.close();
          expect(wrong(run)).toEqual([]);
          if (copy < 11) continue;
          for (const table of TABLES) {
            expect(tableOf(eventsOf(run, table))).toEqual(await rowsOf(sql, table));
          }
        }
      } finally {
        await stop();
      }
    });
  });
}

function eventsOf(run: Run, table: string): SeenEnvelope[] {
  return run.records.flatMap(({ stream, value }) =>
    stream === `${DATABASE}.${table}` && value !== null ? [value] : [],
  );
}
