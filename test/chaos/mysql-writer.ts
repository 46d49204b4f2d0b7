import type { LocalServer } from '../../deploy/local/local-server.ts';
import { sqlClient, type SqlClient } from '../integration/sources/mysql/mysql-harness.ts';
import { ACCOUNTS, BULK_FROM, BULK_ROWS, COUNTERS, type WriterSession } from './workload.ts';

/** MySQL 9.6 and later have no MD5 any more. */
const hash = (text: string): string => `LEFT(SHA2(${text}, 256), 32)`;

const noted = (table: string, where: string, op = 'w'): string =>
  `INSERT INTO truth (tbl, k, op, h) SELECT '${table}', k, '${op}', ${op === 'd' ? 'NULL' : 'h'}
   FROM ${table} WHERE ${where}`;

const numbers = (count: number): string =>
  `WITH RECURSIVE n AS (SELECT 1 AS i UNION ALL SELECT i + 1 FROM n WHERE i < ${count})`;

const ACCOUNT = `(k int PRIMARY KEY, v bigint NOT NULL, h varchar(32) NOT NULL, balance bigint NOT NULL, transfer bigint)`;

const TABLES = [
  `CREATE TABLE truth (n bigint AUTO_INCREMENT PRIMARY KEY, tbl varchar(20) NOT NULL, k varchar(30) NOT NULL,
     op char(1) NOT NULL, h varchar(32))`,
  'CREATE TABLE counter (k int PRIMARY KEY, v bigint NOT NULL, h varchar(32) NOT NULL)',
  `CREATE TABLE account_a ${ACCOUNT}`,
  `CREATE TABLE account_b ${ACCOUNT}`,
  'CREATE TABLE churn (k bigint PRIMARY KEY, v bigint NOT NULL, h varchar(32) NOT NULL, note text, big mediumtext)',
  'CREATE TABLE pulse (k int PRIMARY KEY, v bigint NOT NULL, h varchar(32) NOT NULL, at_ms bigint NOT NULL)',
  'CREATE TABLE transfers (id bigint AUTO_INCREMENT PRIMARY KEY)',
  `INSERT INTO counter ${numbers(COUNTERS)} SELECT i, 0, ${hash(`CONCAT('counter:', i, ':0')`)} FROM n`,
  `INSERT INTO account_a ${numbers(ACCOUNTS)} SELECT i, 0, ${hash(`CONCAT('a:', i)`)}, 1000, NULL FROM n`,
  `INSERT INTO account_b ${numbers(ACCOUNTS)} SELECT i, 0, ${hash(`CONCAT('b:', i)`)}, 1000, NULL FROM n`,
  `INSERT INTO pulse VALUES (1, 0, ${hash(`'pulse:0'`)}, 0)`,
  `INSERT INTO churn VALUES (0, 0, ${hash(`'churn:0'`)}, NULL, NULL)`,
  ...['counter', 'account_a', 'account_b', 'pulse', 'churn'].map((table) => noted(table, 'TRUE')),
];

export async function createMysqlTables(server: LocalServer): Promise<void> {
  const sql = await sqlClient(server);
  await sql.run(...TABLES);
  sql.close();
}

/** Another text each time: a statement that changes nothing is not logged. */
const BIG = `REPEAT(${hash(`CONCAT(RAND(), UUID())`)}, 200)`;

/** Assignments are done from left to right: the hash first, with the version to come. */
export class MysqlWriter implements WriterSession {
  private readonly sql: SqlClient;

  private constructor(sql: SqlClient) {
    this.sql = sql;
  }

  /** READ COMMITTED: no locks between rows, or writers of neighbouring keys would meet in deadlocks. */
  static async open(server: LocalServer): Promise<MysqlWriter> {
    const sql = await sqlClient(server);
    const [limit] = await sql.run(
      `SHOW VARIABLES WHERE Variable_name IN ('cte_max_recursion_depth', 'max_recursive_iterations')`,
    );
    await sql.run(
      'SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED',
      'SET SESSION lock_wait_timeout = 2, innodb_lock_wait_timeout = 5',
      `SET SESSION ${limit?.['Variable_name'] as string} = ${BULK_ROWS * 2}`,
    );
    return new MysqlWriter(sql);
  }

  run(statement: string): Promise<unknown> {
    return this.sql.run(statement);
  }

  bump(keys: readonly number[]): Promise<unknown> {
    const where = `k IN (${keys.join(', ')})`;
    return this.sql.run(
      `UPDATE counter SET h = ${hash(`CONCAT('counter:', k, ':', v + 1)`)}, v = v + 1 WHERE ${where}`,
      noted('counter', where),
    );
  }

  async nextTransfer(): Promise<string> {
    const [row] = await this.sql.run(
      'INSERT INTO transfers VALUES ()',
      'SELECT LAST_INSERT_ID() AS id',
    );
    return row?.['id'] as string;
  }

  pay(table: string, key: number, amount: number, transfer: string): Promise<unknown> {
    return this.sql.run(
      `UPDATE ${table} SET h = ${hash(`CONCAT_WS(':', '${table}', k, v + 1, balance + ${amount}, ${transfer})`)},
         v = v + 1, balance = balance + ${amount}, transfer = ${transfer} WHERE k = ${key}`,
      noted(table, `k = ${key}`),
    );
  }

  pulse(atMs: number): Promise<unknown> {
    return this.sql.run(
      `UPDATE pulse SET h = ${hash(`CONCAT('pulse:', v + 1)`)}, v = v + 1, at_ms = ${atMs}`,
      noted('pulse', 'TRUE'),
    );
  }

  insert(key: string): Promise<boolean> {
    return this.changes(
      `INSERT IGNORE INTO churn (k, v, h, note, big) VALUES (${key}, 0, '', 'a''\\\\ü€😀', ${BIG})`,
    );
  }

  setNote(key: string, note: string): Promise<boolean> {
    return this.changes(`UPDATE churn SET note = '${note}' WHERE k = ${key}`);
  }

  setBig(key: string): Promise<boolean> {
    return this.changes(`UPDATE churn SET big = ${BIG} WHERE k = ${key}`);
  }

  /** Nobody else uses these keys, so that what is looked at stays so. */
  async move(from: string, to: string): Promise<boolean> {
    const [row] = await this.sql.run(`SELECT COUNT(*) AS n FROM churn WHERE k = ${to}`);
    if (row?.['n'] !== '0') return false;
    return this.changes(`UPDATE churn SET k = ${to} WHERE k = ${from}`);
  }

  remove(key: string): Promise<unknown> {
    return this.sql.run(noted('churn', `k = ${key}`, 'd'), `DELETE FROM churn WHERE k = ${key}`);
  }

  noteGone(key: string): Promise<unknown> {
    return this.sql.run(`INSERT INTO truth (tbl, k, op) VALUES ('churn', '${key}', 'd')`);
  }

  note(key: string): Promise<unknown> {
    return this.sql.run(noted('churn', `k = ${key}`));
  }

  rehash(key: string): Promise<unknown> {
    return this.sql.run(
      `UPDATE churn SET h = ${hash(`CONCAT_WS(':', 'churn', k, v + 1, note, ${hash(`big`)})`)}, v = v + 1 WHERE k = ${key}`,
      noted('churn', `k = ${key}`),
    );
  }

  async removeBulk(): Promise<boolean> {
    await this.sql.run(noted('churn', `k >= ${BULK_FROM}`, 'd'));
    return this.changes(`DELETE FROM churn WHERE k >= ${BULK_FROM}`);
  }

  insertBulk(stamp: string): Promise<unknown> {
    return this.sql.run(
      `INSERT INTO churn (k, v, h, note) ${numbers(BULK_ROWS)}
         SELECT ${BULK_FROM} + i, 0, ${hash(`CONCAT('bulk:', i, ':${stamp}')`)}, 'bulk' FROM n`,
      noted('churn', `k >= ${BULK_FROM}`),
    );
  }

  /** The statement commits by itself; what it did to the rows no event tells, nor needs to. */
  addColumn(name: string, value: string): Promise<unknown> {
    return this.sql
      .run(`ALTER TABLE churn ADD COLUMN ${name} varchar(40)`, 'BEGIN')
      .then(() => this.sql.run(`UPDATE churn SET ${name} = '${value}' WHERE k = 0`))
      .then(() => this.note('0'))
      .then(() => this.rehash('0'))
      .then(() => this.sql.run('COMMIT'));
  }

  async close(): Promise<void> {
    this.sql.close();
  }

  private async changes(statement: string): Promise<boolean> {
    const [row] = await this.sql.run(statement, 'SELECT ROW_COUNT() AS n');
    return Number(row?.['n']) > 0;
  }
}
