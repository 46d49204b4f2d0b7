import { performance } from 'node:perf_hooks';
import { setTimeout as delay } from 'node:timers/promises';
import type { Client } from 'pg';

/** Statements of the demo's application, each with the table it changes. */
const STATEMENTS: readonly { table: string; sql: string }[] = [
  {
    table: 'customers',
    sql: `insert into customers (name, contact, addresses)
      select 'Customer ' || n, jsonb_build_object('email', 'c' || n || '@example.com'),
             jsonb_build_array(jsonb_build_object('type', 'billing', 'city', 'City ' || n % 97))
      from (select (random() * 1e9)::bigint n) r`,
  },
  {
    table: 'customers',
    sql: `update customers set contact = contact || '{"verified": true}', updated_at = now()
      where id = (select id from customers order by random() limit 1)`,
  },
  {
    table: 'flights',
    sql: `with picked as (select (random() * 199990)::int as low)
      update flights set delay = delay + 1 from picked where id between low and low + 9`,
  },
  {
    table: 'flights',
    sql: `delete from flights where id = (select (random() * 200000)::int)`,
  },
  {
    table: 'birdstrikes',
    sql: `insert into birdstrikes ("Airport Name", "Flight Date", "Cost Total $")
      values ('NEWARK LIBERTY INTL ARPT', current_date, (random() * 100000)::numeric(12,2))`,
  },
  {
    table: 'earthquakes',
    sql: `with picked as (select id from earthquakes order by random() limit 1)
      update earthquakes e set properties = properties || '{"reviewed": true}' from picked where e.id = picked.id`,
  },
  {
    table: 'airports',
    sql: `update airports set name = name || '*' where iata = (select iata from airports order by random() limit 1)`,
  },
];

export interface WorkloadResult {
  readonly transactions: number;
  /** Rows changed, per table. */
  readonly changes: ReadonlyMap<string, number>;
}

/** Runs small transactions until the signal aborts, and counts every row that they change. */
export async function runWorkload(source: Client, signal: AbortSignal): Promise<WorkloadResult> {
  const changes = new Map<string, number>();
  let transactions = 0;
  while (!signal.aborted) {
    const statement = STATEMENTS[transactions % STATEMENTS.length] as (typeof STATEMENTS)[number];
    const { rowCount } = await source.query(statement.sql);
    changes.set(statement.table, (changes.get(statement.table) ?? 0) + (rowCount ?? 0));
    transactions++;
  }
  return { transactions, changes };
}

/** Inserts single customers and watches the target until each is there: milliseconds from the
 * commit's answer to visible. Each sample is one inserted row. */
export async function probeLatency(
  source: Client,
  target: Client,
  signal: AbortSignal,
): Promise<number[]> {
  const samples: number[] = [];
  while (!signal.aborted) {
    const inserted = await source.query<{ id: string }>(
      `insert into customers (name) values ('probe') returning id`,
    );
    const committed = performance.now();
    await visible(target, (inserted.rows[0] as { id: string }).id);
    samples.push(performance.now() - committed);
    await delay(20);
  }
  return samples;
}

async function visible(target: Client, id: string): Promise<void> {
  for (;;) {
    const found = await target.query('select 1 from customers where id = $1', [id]);
    if (found.rowCount === 1) return;
    await delay(1);
  }
}

export function percentile(samples: readonly number[], share: number): number {
  const sorted = samples.toSorted((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? Number.NaN;
}
