import { setTimeout as delay } from 'node:timers/promises';
import type pg from 'pg';
import type { LocalServer } from '../../deploy/local/local-server.ts';
import { connectTo } from '../support/rig.ts';
import { randomOf } from './fault-schedule.ts';

/**
 * What an application does to the source while it is tortured. Every transaction also writes what it
 * did into `truth`, so that the truth needs nothing from the product and a commit of unknown outcome
 * is settled by itself: a change and its line in `truth` are there together or not at all.
 */
export const STREAMS = ['counter', 'account_a', 'account_b', 'churn', 'pulse'] as const;

const COUNTERS = 400;
const ACCOUNTS = 60;
const WRITERS = 4;
const CHURN_KEYS = 60;
/** Keys that a key change moves to and back from. */
const ELSEWHERE = 1_000_000;
const BULK_ROWS = 5_000;
const BULK_FROM = 10_000_000;

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

export async function createTables(source: LocalServer): Promise<void> {
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
const TRANSFER = (table: string): string =>
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
/** Rows get their hash from what is stored, so each change is two statements. */
const CHURN = {
  insert: `insert into churn (k, v, h, note, big) values ($1, 0, '', 'a''\\ü€😀', ${BIG}) on conflict do nothing`,
  note: `update churn set note = $2 where k = $1`,
  big: `update churn set big = ${BIG} where k = $1`,
  move: `update churn set k = $2 where k = $1 and not exists (select from churn where k = $2)`,
} as const;

/** Over every column that a row of churn always has, as the change before has left them. */
const REHASH = noted(
  `update churn set v = v + 1, h = md5(concat_ws(':', 'churn', k, v + 1, note, md5(big))) where k = $1
   returning k, h`,
  'churn',
);

export interface WorkloadFigures {
  transactions: number;
  rolledBack: number;
  failed: number;
}

/** Writers that go on until they are ended and rest while they are paused. */
export class Workload {
  readonly figures: WorkloadFigures = { transactions: 0, rolledBack: 0, failed: 0 };
  private readonly source: LocalServer;
  private readonly seed: number;
  private readonly running: Promise<void>[] = [];
  private ended = false;
  private gate: Promise<void> = Promise.resolve();
  private openGate: () => void = () => undefined;
  private busy = 0;
  private added = 0;

  constructor(source: LocalServer, seed: number) {
    this.source = source;
    this.seed = seed;
  }

  start(): void {
    for (let writer = 0; writer < WRITERS; writer++) {
      const random = randomOf(this.seed * 31 + writer);
      this.run((client) => this.shortTransaction(client, writer, random), 4);
    }
    const random = randomOf(this.seed * 31 + 17);
    this.run((client) => this.longTransaction(client, random), 200);
    this.run((client) => this.bulk(client), 12_000);
    this.run((client) => this.addColumn(client, random), 20_000);
    this.run((client) => client.query(PULSE, [Date.now()]), 150);
  }

  /** Resolves when nothing is in flight. */
  async pause(): Promise<void> {
    this.gate = new Promise((resolve) => (this.openGate = resolve));
    while (this.busy > 0) await delay(20);
  }

  resume(): void {
    this.openGate();
  }

  async end(): Promise<void> {
    this.ended = true;
    this.openGate();
    await Promise.all(this.running);
  }

  private run(transaction: (client: pg.Client) => Promise<unknown>, restMs: number): void {
    this.running.push(this.loop(transaction, restMs));
  }

  private async loop(
    transaction: (client: pg.Client) => Promise<unknown>,
    restMs: number,
  ): Promise<void> {
    let client: pg.Client | null = null;
    while (!this.ended) {
      await this.gate;
      if (this.ended) break;
      this.busy++;
      try {
        client ??= await connectTo(this.source);
        await transaction(client);
        this.figures.transactions++;
      } catch {
        // The server was killed, or two transactions met in a deadlock: truth knows what happened.
        this.figures.failed++;
        await client?.end().catch(() => undefined);
        client = null;
        await delay(100);
      } finally {
        this.busy--;
      }
      await this.rest(restMs);
    }
    await client?.end().catch(() => undefined);
  }

  private async rest(ms: number): Promise<void> {
    const until = Date.now() + ms;
    while (!this.ended && Date.now() < until) await delay(Math.min(ms, 100));
  }

  private async shortTransaction(
    client: pg.Client,
    writer: number,
    random: () => number,
  ): Promise<void> {
    const dice = random();
    if (dice < 0.4) {
      const keys = [0, 0, 0].map(() => owned(writer, random, COUNTERS));
      await client.query(BUMP, [keys]);
    } else if (dice < 0.65) await transfer(client, random);
    else await churn(client, writer, random);
  }

  /** Open for seconds while others commit; now and then a part of it, or all of it, is taken back. */
  private async longTransaction(client: pg.Client, random: () => number): Promise<void> {
    await client.query('begin');
    const keys = (): number[] => [COUNTERS - Math.floor(random() * 8) * WRITERS];
    for (let i = 0; i < 4 && !this.ended; i++) {
      await client.query(BUMP, [keys()]);
      await client.query('savepoint part');
      await client.query(BUMP, [keys()]);
      if (random() < 0.4) await client.query('rollback to savepoint part');
      await this.rest(random() * 1_500);
    }
    const back = random() < 0.2;
    if (back) this.figures.rolledBack++;
    await client.query(back ? 'rollback' : 'commit');
  }

  /** One large transaction: inserts what is not there, deletes what is. */
  private async bulk(client: pg.Client): Promise<void> {
    const removed = await client.query(
      noted(`delete from churn where k >= ${BULK_FROM} returning k`, 'churn', 'd'),
    );
    if ((removed.rowCount ?? 0) > 0) return;
    await client.query(
      noted(
        `insert into churn select ${BULK_FROM} + i, 0, md5('bulk:' || i || ':' || $1::text), 'bulk', null
         from generate_series(1, ${BULK_ROWS}) i returning k, h`,
        'churn',
      ),
      [String(Date.now())],
    );
  }

  private async addColumn(client: pg.Client, random: () => number): Promise<void> {
    const name = `extra_${++this.added}`;
    await client.query('begin');
    await client.query(`set local lock_timeout = '2s'`);
    await client.query(`alter table churn add column if not exists ${name} text`);
    await client.query(`update churn set ${name} = $1 where k = 0`, [String(random())]);
    await note(client, '0');
    await rehash(client, '0');
    await client.query('commit');
  }
}

function owned(writer: number, random: () => number, keys: number): number {
  return Math.floor((random() * (keys - 40)) / WRITERS) * WRITERS + writer + 1;
}

async function transfer(client: pg.Client, random: () => number): Promise<void> {
  const amount = 1 + Math.floor(random() * 50);
  const pick = (): number => 1 + Math.floor(random() * ACCOUNTS);
  await client.query('begin');
  const { rows } = await client.query<{ id: string }>(`select nextval('transfers') as id`);
  const id = rows[0]?.id;
  await client.query(TRANSFER('account_a'), [pick(), -amount, id]);
  await client.query(TRANSFER('account_b'), [pick(), amount, id]);
  await client.query('commit');
}

async function churn(client: pg.Client, writer: number, random: () => number): Promise<void> {
  const key = String(WRITERS * (1 + Math.floor(random() * CHURN_KEYS)) + writer);
  const other = String(Number(key) + ELSEWHERE);
  const dice = random();
  await client.query('begin');
  if (dice < 0.3) await change(client, key, CHURN.insert, [key]);
  else if (dice < 0.55) await change(client, key, CHURN.note, [key, `note ${random()}`]);
  else if (dice < 0.65) await change(client, key, CHURN.big, [key]);
  else if (dice < 0.75) await remove(client, key);
  else if (dice < 0.85) {
    await remove(client, key);
    await change(client, key, CHURN.insert, [key]);
  } else if (dice < 0.9) await move(client, key, other);
  else if (dice < 0.95) await move(client, other, key);
  else await swap(client, key, other);
  await client.query('commit');
}

/** A change of a row, then its new hash: two events of one row in one transaction, both true. */
async function change(
  client: pg.Client,
  key: string,
  sql: string,
  values: unknown[],
): Promise<void> {
  const { rowCount } = await client.query(sql, values);
  if ((rowCount ?? 0) === 0) return;
  await note(client, key);
  await rehash(client, key);
}

/** The row as the last statement left it. */
async function note(client: pg.Client, key: string): Promise<void> {
  await client.query(
    `insert into truth (tbl, k, op, h) select 'churn', k::text, 'w', h from churn where k = $1`,
    [key],
  );
}

async function rehash(client: pg.Client, key: string): Promise<void> {
  await client.query(REHASH, [key]);
}

async function remove(client: pg.Client, key: string): Promise<void> {
  await client.query(noted(`delete from churn where k = $1 returning k`, 'churn', 'd'), [key]);
}

async function move(client: pg.Client, from: string, to: string): Promise<void> {
  const { rowCount } = await client.query(CHURN.move, [from, to]);
  if ((rowCount ?? 0) === 0) return;
  await client.query(`insert into truth (tbl, k, op) values ('churn', $1::text, 'd')`, [from]);
  await note(client, to);
  await rehash(client, to);
}

/** Both keys trade places by way of a third one. */
async function swap(client: pg.Client, one: string, other: string): Promise<void> {
  await move(client, one, `-${one}`);
  await move(client, other, one);
  await move(client, `-${one}`, other);
}
