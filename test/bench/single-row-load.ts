import { performance } from 'node:perf_hooks';
import { setTimeout as delay } from 'node:timers/promises';
import type pg from 'pg';
import type { LocalServer } from '../../deploy/local/local-server.ts';
import { KafkaClient } from '../../topics/kafka-client.ts';
import type { TopicReader } from '../../topics/consume/topic-reader.ts';
import { connectTo, query, until } from '../support/rig.ts';
import { percentile } from './process-figures.ts';

export const RATE = 1_000;
const WRITERS = 4;
const PATIENCE_MS = 120_000;

export interface DelayPlan<T> {
  readonly source: LocalServer;
  readonly target: LocalServer;
  /** In the target, with its schema; the source's is `events`. */
  readonly table: string;
  readonly kafka: LocalServer;
  readonly topic: string;
  /** What stands before Avro's bytes in a key. */
  readonly keyHeaderBytes: number;
  /** Of the first row; none may be in use from here on. */
  readonly firstId: number;
  readonly warmUpSeconds: number;
  readonly seconds: number;
  /** Called when all rows of the warm-up were seen; what it answers, when all that count were. */
  begin(): Promise<() => Promise<T>>;
}

/** Milliseconds from the answer to a commit, sorted: to a reader of committed records, and to a
 * poller of the target's table. */
export interface Delays {
  readonly topic: readonly number[];
  readonly table: readonly number[];
}

export async function createEvents(source: LocalServer): Promise<void> {
  await query(
    source,
    'create table events (id bigint primary key, payload text, at timestamptz default now())',
  );
}

/**
 * RATE single-row transactions a second. Every row that is written must be seen at both places, or
 * the promise rejects. The poller reads every new row every 2 ms.
 */
export async function singleRowDelays<T>(
  plan: DelayPlan<T>,
): Promise<{ readonly delays: Delays; readonly ended: T }> {
  const { firstId, warmUpSeconds, seconds } = plan;
  const rows = RATE * (warmUpSeconds + seconds);
  const run: Watched = {
    firstId,
    committed: new Float64Array(rows),
    inTopic: new Float64Array(rows).fill(-1),
    inTable: new Float64Array(rows).fill(-1),
  };
  const stop = new AbortController();
  const target = await connectTo(plan.target);
  const kafka = new KafkaClient({
    kafka: { brokers: [plan.kafka.url] },
    topicPrefix: 'headrace',
    schemaRegistryUrl: null,
  });
  const reader = await readerOf(kafka, plan.topic);
  const watching = Promise.all([
    watch(target, plan.table, run, stop.signal),
    listen(reader, plan.keyHeaderBytes, run, stop.signal),
  ]);
  const counted = RATE * warmUpSeconds;
  let ended: T;
  try {
    await write(plan.source, run, 0, counted);
    await allSeen(run, counted);
    const end = await plan.begin();
    await write(plan.source, run, counted, rows);
    await allSeen(run, rows);
    ended = await end();
  } finally {
    stop.abort();
    await watching;
    await target.end();
    await reader.close();
    await kafka.close();
  }
  const counting = (seen: Float64Array): number[] => Array.from(seen.subarray(counted).toSorted());
  return { delays: { topic: counting(run.inTopic), table: counting(run.inTable) }, ended };
}

/** By row, from the first one on: when its commit was answered, and after how long it was seen. */
interface Watched {
  readonly firstId: number;
  readonly committed: Float64Array;
  readonly inTopic: Float64Array;
  readonly inTable: Float64Array;
}

/** Of the first rows of the run, as many as that. */
async function allSeen({ inTopic, inTable }: Watched, rows: number): Promise<void> {
  const missing = (seen: Float64Array): number =>
    seen.subarray(0, rows).filter((after) => after === -1).length;
  await until(
    'every row at both places',
    async () => {
      const [topic, table] = [missing(inTopic), missing(inTable)];
      if (topic + table === 0) return true;
      throw new Error(`missing in the topic ${topic}, in the table ${table}`);
    },
    PATIENCE_MS,
  );
}

function note(run: Watched, seen: Float64Array, id: number, now: number): void {
  const row = id - run.firstId;
  if (row < 0 || row >= seen.length || seen[row] !== -1) return;
  const at = run.committed[row] as number;
  // Visible before the writer heard of its commit: no time at all.
  seen[row] = at === 0 ? 0 : Math.max(0, now - at);
}

async function readerOf(kafka: KafkaClient, topic: string): Promise<TopicReader> {
  const reader = kafka.topicReader();
  for (const { partition, high } of await kafka.admin.bounds(topic)) {
    await reader.assign({ topic, partition, offset: high });
  }
  return reader;
}

async function listen(
  reader: TopicReader,
  keyHeaderBytes: number,
  run: Watched,
  signal: AbortSignal,
): Promise<void> {
  while (!signal.aborted) {
    for (const { records } of await reader.next()) {
      const now = performance.now();
      for (let i = 0; i < records.count; i++) {
        const id = idOfKey(records.bytes, (records.keyStarts[i] as number) + keyHeaderBytes);
        note(run, run.inTopic, id, now);
      }
    }
  }
}

/** The one column of the key: Avro's zigzag long. */
function idOfKey(bytes: Buffer, start: number): number {
  let value = 0;
  for (let shift = 0, pos = start; ; shift += 7, pos++) {
    const byte = bytes[pos] as number;
    value += (byte & 0x7f) * 2 ** shift;
    if ((byte & 0x80) === 0) return value / 2;
  }
}

/** Rows [from, to) of the run at RATE; one that is late is followed at once by the next. */
async function write(source: LocalServer, run: Watched, from: number, to: number): Promise<void> {
  const started = performance.now();
  await Promise.all(
    Array.from({ length: WRITERS }, async (_, writer) => {
      const client = await connectTo(source);
      for (let row = from + writer; row < to; row += WRITERS) {
        const due = started + ((row - from) * 1000) / RATE;
        if (due > performance.now()) await delay(due - performance.now());
        await client.query({
          name: 'insert',
          text: 'insert into events values ($1, $2)',
          values: [run.firstId + row, 'x'.repeat(100)],
        });
        run.committed[row] = performance.now();
      }
      await client.end();
    }),
  );
}

async function watch(
  target: pg.Client,
  table: string,
  run: Watched,
  signal: AbortSignal,
): Promise<void> {
  let unseen = 0;
  while (!signal.aborted) {
    // Four writers: ids become visible out of order, by as much as one of them is late.
    while (run.inTable[unseen] !== -1 && unseen < run.inTable.length) unseen++;
    const { rows } = await target.query<{ id: string }>({
      name: 'poll',
      text: `select id from ${table} where id >= $1`,
      values: [run.firstId + unseen],
    });
    const now = performance.now();
    for (const { id } of rows) note(run, run.inTable, Number(id), now);
    await delay(2);
  }
}

/** Milliseconds: median, 95th and 99th of a hundred, largest. */
export function spread(sorted: readonly number[]) {
  const at = (share: number): number => Math.round(percentile(sorted, share) * 10) / 10;
  return { p50: at(0.5), p95: at(0.95), p99: at(0.99), max: at(1) };
}
