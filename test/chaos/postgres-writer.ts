import type pg from 'pg';
import type { LocalServer } from '../../deploy/local/local-server.ts';
import { connectTo } from '../support/rig.ts';
import { ACCOUNTS, BULK_FROM, BULK_ROWS, COUNTERS, type WriterSession } from './workload.ts';

const TABLES = `
  create table truth (n bigserial primary key, tbl text not null, k text not null, op text not null, h text);
  create table counter (k int primary key, v bigint not null, h text not null);
  create table account_a (k int primary key, v bigint not null, h text not null, balance bigint not null, transfer bigint);
  create table account_b (like account_a including all);
  create table churn (k bigint primary key, v bigint not null, h text not null, note text, big text);
  create table pulse (k int primary key, v bigint not null, h text not null, at_ms bigint not null);
  create sequence transfers;
  insert into counter select k, 0, md5('counter:' || k || ':0') from generate_series(1, ${COUNTERS}) k;
  insert into account_a select k, 0, md5('a:' || k), 1000, null from generate_series(1, ${ACCOUNTS}) k;
  insert into account_b select k, 0, md5('b:' || k), 1000, null from generate_series(1, ${ACCOUNTS}) k;
  insert into pulse values (1, 0, md5('pulse:0'), 0);
  insert into churn values (0, 0, md5('churn:0'), null, null);
  insert into truth (tbl, k, op, h) select 'counter', k::text, 'w', h from counter;
  insert into truth (tbl, k, op, h) select 'account_a', k::text, 'w', h from account_a;
  insert into truth (tbl, k, op, h) select 'account_b', k::text, 'w', h from account_b;
  insert into truth (tbl, k, op, h) select 'pulse', k::text, 'w', h from pulse;
  insert into truth (tbl, k, op, h) select 'churn', k::text, 'w', h from churn;`;

export async function createPostgresTables(source: LocalServer): Promise<void> {
  const client = await connectTo(source);
  try {
    await client.query(TABLES);
  } finally {
    await client.end();
  }
}

/** A statement and, in the same one, its lines of truth. */
function noted(change: string, table: string, op = 'w'): string {
  const hash = op === 'd' ? 'null' : 'h';
  return `with changed as (${change})
    insert into truth (tbl, k, op, h) select '${table}', k::text, '${op}', ${hash} from changed`;
}

const BUMP = noted(
  `update counter set v = v + 1, h = md5('counter:' || k || ':' || (v + 1)) where k = any($1::int[]) returning k, h`,
  'counter',
);
const PAY = (table: string): string =>
  noted(
    `update ${table} set v = v + 1, balance = balance + $2::bigint, transfer = $3::bigint,
       h = md5(concat_ws(':', '${table}', k, v + 1, balance + $2::bigint, $3::bigint)) where k = $1 returning k, h`,
    table,
  );
const PULSE = noted(
  `update pulse set v = v + 1, at_ms = $1::bigint, h = md5('pulse:' || (v + 1)) returning k, h`,
  'pulse',
);
const BIG = `(select string_agg(md5(random()::text), '') from generate_series(1, 200))`;
const INSERT = `insert into churn (k, v, h, note, big) values ($1, 0, '', 'a''\\ü€😀', ${BIG}) on conflict do nothing`;
const MOVE = `update churn set k = $2 where k = $1 and not exists (select from churn where k = $2)`;
const NOTE = `insert into truth (tbl, k, op, h) select 'churn', k::text, 'w', h from churn where k = $1`;
/** Over every column that a row of churn always has, as the change before has left them. */
const REHASH = noted(
  `update churn set v = v + 1, h = md5(concat_ws(':', 'churn', k, v + 1, note, md5(big))) where k = $1
   returning k, h`,
  'churn',
);
const INSERT_BULK = noted(
  `insert into churn select ${BULK_FROM} + i, 0, md5('bulk:' || i || ':' || $1::text), 'bulk', null
   from generate_series(1, ${BULK_ROWS}) i returning k, h`,
  'churn',
);

export class PostgresWriter implements WriterSession {
  private readonly client: pg.Client;

  private constructor(client: pg.Client) {
    this.client = client;
  }

  static async open(source: LocalServer): Promise<PostgresWriter> {
    return new PostgresWriter(await connectTo(source));
  }

  run(statement: string): Promise<unknown> {
    return this.client.query(statement);
  }

  bump(keys: readonly number[]): Promise<unknown> {
    return this.client.query(BUMP, [keys]);
  }

  async nextTransfer(): Promise<string> {
    const { rows } = await this.client.query<{ id: string }>(`select nextval('transfers') as id`);
    return rows[0]?.id as string;
  }

  pay(table: string, key: number, amount: number, transfer: string): Promise<unknown> {
    return this.client.query(PAY(table), [key, amount, transfer]);
  }

  pulse(atMs: number): Promise<unknown> {
    return this.client.query(PULSE, [atMs]);
  }

  insert(key: string): Promise<boolean> {
    return this.changes(INSERT, [key]);
  }

  setNote(key: string, note: string): Promise<boolean> {
    return this.changes('update churn set note = $2 where k = $1', [key, note]);
  }

  setBig(key: string): Promise<boolean> {
    return this.changes(`update churn set big = ${BIG} where k = $1`, [key]);
  }

  move(from: string, to: string): Promise<boolean> {
    return this.changes(MOVE, [from, to]);
  }

  remove(key: string): Promise<unknown> {
    return this.client.query(noted(`delete from churn where k = $1 returning k`, 'churn', 'd'), [
      key,
    ]);
  }

  noteGone(key: string): Promise<unknown> {
    return this.client.query(`insert into truth (tbl, k, op) values ('churn', $1::text, 'd')`, [
      key,
    ]);
  }

  note(key: string): Promise<unknown> {
    return this.client.query(NOTE, [key]);
  }

  rehash(key: string): Promise<unknown> {
    return this.client.query(REHASH, [key]);
  }

  removeBulk(): Promise<boolean> {
    return this.changes(
      noted(`delete from churn where k >= ${BULK_FROM} returning k`, 'churn', 'd'),
      [],
    );
  }

  insertBulk(stamp: string): Promise<unknown> {
    return this.client.query(INSERT_BULK, [stamp]);
  }

  async addColumn(name: string, value: string): Promise<void> {
    const { client } = this;
    await client.query('begin');
    await client.query(`set local lock_timeout = '2s'`);
    await client.query(`alter table churn add column if not exists ${name} text`);
    await client.query(`update churn set ${name} = $1 where k = 0`, [value]);
    await this.note('0');
    await this.rehash('0');
    await client.query('commit');
  }

  close(): Promise<unknown> {
    return this.client.end();
  }

  private async changes(sql: string, values: unknown[]): Promise<boolean> {
    return ((await this.client.query(sql, values)).rowCount ?? 0) > 0;
  }
}
