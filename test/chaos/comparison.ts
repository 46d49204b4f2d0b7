import type pg from 'pg';
import type { LocalServer } from '../../deploy/local/local-server.ts';
import { KafkaClient } from '../../topics/kafka-client.ts';
import { tail } from '../../topics/replay/tail.ts';
import { columnsOf } from '../support/digest.ts';
import { withParquet } from '../support/parquet-events.ts';
import { connectTo, query, type Rig } from '../support/rig.ts';
import { postgresHashOf, type TextRow, type TorturedSource } from './tortured-source.ts';
import { STREAMS } from './workload.ts';

/** Per row, `table/key`, what happened to it in order: the hash it got, or `d` for a delete. */
export type Histories = Map<string, string[]>;

export interface Differences {
  lost: number;
  duplicated: number;
  reordered: number;
  /** Values or rows that nobody wrote. */
  wrong: number;
  /** Transfers of which a copy has one half only. */
  torn: number;
}

export function noDifferences(): Differences {
  return { lost: 0, duplicated: 0, reordered: 0, wrong: 0, torn: 0 };
}

/** What a copy of all changes lacks or has too much, measured against the truth. */
export function differences(
  truth: Histories,
  copy: Histories,
  found = noDifferences(),
): Differences {
  for (const key of new Set([...truth.keys(), ...copy.keys()])) {
    const wanted = truth.get(key) ?? [];
    const had = copy.get(key) ?? [];
    if (wanted.length === had.length && wanted.every((entry, i) => entry === had[i])) continue;
    const left = new Map<string, number>();
    for (const entry of wanted) left.set(entry, (left.get(entry) ?? 0) + 1);
    let same = true;
    for (const entry of had) {
      const count = left.get(entry);
      if (count === undefined) found.wrong++;
      else if (count === 0) found.duplicated++;
      else left.set(entry, count - 1);
      same &&= count !== undefined && count > 0;
    }
    const missing = [...left.values()].reduce((sum, count) => sum + count, 0);
    found.lost += missing;
    if (same && missing === 0) found.reordered++;
  }
  return found;
}

function add(histories: Histories, table: string, key: unknown, entry: string): void {
  const name = `${table}/${String(key)}`;
  const history = histories.get(name);
  if (history === undefined) histories.set(name, [entry]);
  else history.push(entry);
}

export async function truthOf(source: TorturedSource): Promise<Histories> {
  const histories: Histories = new Map();
  const rows = await source.ask('select tbl, k, op, h from truth order by n');
  for (const { tbl, k, op, h } of rows)
    add(histories, String(tbl), k, op === 'd' ? 'd' : String(h));
  return histories;
}

/** From tables with one row per change. */
export async function appendedHistories(target: LocalServer, schema: string): Promise<Histories> {
  const histories: Histories = new Map();
  for (const table of STREAMS) {
    const rows = await query<{ k: string; entry: string }>(
      target,
      `select k::text as k, case when _ab_cdc_deleted_at is null then h else 'd' end as entry
       from ${schema}.${table} order by _headrace_epoch, _ab_cdc_lsn, _headrace_seq`,
    );
    for (const { k, entry } of rows) add(histories, table, k, entry);
  }
  return histories;
}

export async function parquetHistories(minio: LocalServer, prefix: string): Promise<Histories> {
  const histories: Histories = new Map();
  await withParquet(minio, prefix, async (streams, rows, folder) => {
    for (const table of streams) {
      const found = await rows(
        `select k::varchar, case when _ab_cdc_deleted_at is null then h else 'd' end
         from read_parquet('${folder}/${table}-*.parquet', union_by_name = true)
         order by _headrace_epoch, _ab_cdc_lsn, _headrace_seq`,
      );
      for (const [k, entry] of found) add(histories, table, k, String(entry));
    }
  });
  return histories;
}

interface TopicEvent {
  readonly before: { readonly k: number } | null;
  readonly after: { readonly k: number; readonly h: string } | null;
  readonly source: { readonly epoch: number; readonly lsn: number; readonly seq: number };
}

export interface TopicFindings {
  readonly histories: Histories;
  readonly events: number;
  /** Events whose identity is not greater than that of the one before in their partition. */
  readonly notRising: number;
}

/** In the order of offsets, as a committed reader sees them. */
export async function topicHistories(rig: Rig, namespace: string): Promise<TopicFindings> {
  const kafka = new KafkaClient({
    kafka: { brokers: [`127.0.0.1:${rig.kafka.port}`], tls: null, sasl: null },
    topicPrefix: 'headrace',
    schemaRegistryUrl: null,
  });
  const histories: Histories = new Map();
  let events = 0;
  let notRising = 0;
  try {
    for (const table of STREAMS) {
      const last = new Map<number, TopicEvent['source']>();
      const records = tail({
        admin: kafka.admin,
        reader: kafka.topicReader(),
        registry: kafka.registry,
        topic: `headrace.shop.${namespace}.${table}`,
        from: 'beginning',
        follow: false,
        signal: new AbortController().signal,
      });
      for await (const { partition, value } of records) {
        if (value === null) continue;
        const event = value as TopicEvent;
        events++;
        if (!rises(last.get(partition), event.source)) notRising++;
        last.set(partition, event.source);
        add(histories, table, (event.after ?? event.before)?.k, event.after?.h ?? 'd');
      }
    }
  } finally {
    await kafka.close();
  }
  return { histories, events, notRising };
}

/** Rows of a first copy share one identity. */
function rises(before: TopicEvent['source'] | undefined, now: TopicEvent['source']): boolean {
  if (before === undefined || (now.seq === 0 && before.seq === 0)) return true;
  if (now.epoch !== before.epoch) return now.epoch > before.epoch;
  return now.lsn !== before.lsn ? now.lsn > before.lsn : now.seq > before.seq;
}

/** Names of the tables that differ between the source and the deduped copy. */
export async function unequalTables(
  rig: Rig,
  source: TorturedSource,
  schema: string,
): Promise<string[]> {
  const unequal: string[] = [];
  for (const table of STREAMS) {
    const columns = await source.columnsOf(table);
    const copied = await columnsOf(rig.target, `${schema}.${table}`);
    const lacking = columns.filter((name) => !copied.includes(name));
    if (lacking.length > 0) {
      unequal.push(`${table}: the copy has no column ${lacking.join(', ')}`);
      continue;
    }
    const select = (hashOf: (column: string) => string, from: string): string =>
      `select ${hashOf('k')} as k_, ${columns.map((name) => `${hashOf(name)} as ${name}`).join(', ')} from ${from}`;
    const there = byKey(await source.ask(select(source.hashOf, table)));
    const mirrored = select(postgresHashOf, `${schema}.${table}`);
    const here = byKey(await query<Record<string, string | null>>(rig.target, mirrored));
    const cells = differingCells(there, here, columns);
    if (cells.length === 0) continue;
    const first = cells.slice(0, 8).join(', ');
    unequal.push(`${table}: ${there.size} rows at the source, ${here.size} in the copy: ${first}`);
  }
  return unequal;
}

function byKey(rows: readonly TextRow[]): Map<string, TextRow> {
  return new Map(rows.map((row) => [String(row['k_']), row]));
}

/** As `key.column`, or the key alone of a row that one side lacks; keys are hashes. */
function differingCells(
  there: ReadonlyMap<string, TextRow>,
  here: ReadonlyMap<string, TextRow>,
  columns: readonly string[],
): string[] {
  const differing: string[] = [];
  for (const key of new Set([...there.keys(), ...here.keys()])) {
    const [one, other] = [there.get(key), here.get(key)];
    if (one === undefined || other === undefined) differing.push(key);
    else {
      const names = columns.filter((column) => one[column] !== other[column]);
      differing.push(...names.map((column) => `${key}.${column}`));
    }
  }
  return differing;
}

/** Transfers of which only one half is in the appended tables. */
export async function tornTransfers(target: LocalServer, schema: string): Promise<number> {
  const client: pg.Client = await connectTo(target);
  try {
    const { rows } = await client.query<{ torn: number }>(
      `select count(*)::int as torn from
         (select transfer from ${schema}.account_a where transfer is not null) a
         full join (select transfer from ${schema}.account_b where transfer is not null) b
           using (transfer) where a is null or b is null`,
    );
    return rows[0]?.torn ?? 0;
  } finally {
    await client.end();
  }
}

/** Rows per table that an appended copy must have by now: one per change. */
export async function unequalCounts(
  rig: Rig,
  source: TorturedSource,
  schema: string,
): Promise<string[]> {
  const unequal: string[] = [];
  for (const { tbl, n } of await source.ask('select tbl, count(*) as n from truth group by tbl')) {
    const [row] = await query<{ n: string }>(
      rig.target,
      `select count(*) as n from ${schema}.${String(tbl)}`,
    );
    if (row?.n !== n) unequal.push(`${tbl}: ${n} changes, ${row?.n ?? 0} rows`);
  }
  return unequal;
}
