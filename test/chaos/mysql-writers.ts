import { setTimeout as delay } from 'node:timers/promises';
import type { LocalServer } from '../../deploy/local/local-server.ts';
import { sqlClient, type SqlClient } from '../integration/sources/mysql/mysql-harness.ts';
import { randomOf } from './fault-schedule.ts';

export const TABLES = ['load_a', 'load_b'] as const;
export const FIRST_ROWS = 2_000;
const WRITERS = 8;
/** Each writer's new rows have ids of their own, which are never used again. */
const OWN_IDS = 1_000_000;

export async function createTables(sql: SqlClient): Promise<void> {
  for (const table of TABLES) {
    await sql.run(
      `CREATE TABLE ${table} (id int PRIMARY KEY, n bigint NOT NULL, k int NOT NULL,
         amount decimal(12,2), word varchar(60), made datetime(6), doc json, KEY (k))`,
    );
    for (let from = 0; from < FIRST_ROWS; from += 500) {
      const values = Array.from({ length: 500 }, (_, i) => rowOf(from + i)).join(', ');
      await sql.run(`INSERT INTO ${table} VALUES ${values}`);
    }
  }
}

const rowOf = (id: number): string =>
  `(${id}, 0, ${id % 100}, ${id}.25, 'wörd ${id}', now(6), '{"id": ${id}}')`;

/** Changes of any row count its `n` up by one, so that a missed or a repeated one shows. */
const BUMP = `n = n + 1, amount = amount + 1.01, made = now(6)`;

/** Eight sessions that insert, update and delete in transactions of one to some hundred rows. */
export class MysqlWriters {
  readonly figures = { transactions: 0, rolledBack: 0, failed: 0 };
  private readonly server: LocalServer;
  private readonly running: Promise<void>[];
  private ended = false;

  constructor(server: LocalServer, seed: number) {
    this.server = server;
    this.running = Array.from({ length: WRITERS }, (_, writer) =>
      this.loop(writer + 1, randomOf(seed * 31 + writer)),
    );
  }

  async end(): Promise<void> {
    this.ended = true;
    await Promise.all(this.running);
  }

  private async loop(writer: number, random: () => number): Promise<void> {
    let sql: SqlClient | null = null;
    const own = { next: writer * OWN_IDS, live: [] as number[] };
    while (!this.ended) {
      try {
        sql ??= await sqlClient(this.server);
        await this.transaction(sql, own, random);
      } catch {
        // The server was killed, or two transactions met: the rows say by themselves what happened.
        this.figures.failed++;
        sql?.close();
        sql = null;
        await delay(100);
      }
      await delay(random() * 10);
    }
    sql?.close();
  }

  private async transaction(
    sql: SqlClient,
    own: { next: number; live: number[] },
    random: () => number,
  ): Promise<void> {
    const any = (below: number): number => Math.floor(random() * below);
    const table = TABLES[any(TABLES.length)] as string;
    const other = TABLES.find((each) => each !== table) as string;
    const statements = [
      `UPDATE ${table} SET ${BUMP} WHERE id = ${any(FIRST_ROWS)}`,
      `UPDATE ${other} SET ${BUMP} WHERE id = ${any(FIRST_ROWS)}`,
    ];
    const dice = random();
    if (dice < 0.5) statements.push(`INSERT INTO ${table} VALUES ${rowOf(own.next++)}`);
    else if (dice < 0.7) {
      const gone = own.live.shift() ?? own.next;
      for (const each of TABLES) statements.push(`DELETE FROM ${each} WHERE id = ${gone}`);
    } else if (dice < 0.73) {
      statements.push(`UPDATE ${table} SET ${BUMP} WHERE k BETWEEN ${any(90)} AND ${any(90) + 9}`);
    }
    const back = random() < 0.1;
    await sql.run('BEGIN', ...statements, back ? 'ROLLBACK' : 'COMMIT');
    if (back) this.figures.rolledBack++;
    else if (dice < 0.5) own.live.push(own.next - 1);
    this.figures.transactions++;
  }
}
