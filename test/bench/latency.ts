import { performance } from 'node:perf_hooks';
import { setTimeout as delay } from 'node:timers/promises';
import pg from 'pg';
import {
  cdcSourceConfig,
  connectTo,
  createConnection,
  createDestination,
  createSource,
  postgresConfig,
  query,
  startRig,
  sync,
  type Rig,
} from '../support/rig.ts';
import { KafkaClient } from '../../topics/kafka-client.ts';
import type { TopicReader } from '../../topics/consume/topic-reader.ts';
import { WIRE_HEADER_BYTES } from '../../schemas/envelope/record-view.ts';
import { watchDelays } from './delay-stages.ts';
import {
  cpuSeconds,
  loadAverage,
  peakMegabytes,
  percentile,
  treeCpuSeconds,
} from './process-figures.ts';
import { watchStages } from './stage-shares.ts';

const RATE = 1_000;
const SECONDS = Number(process.env['BENCH_SECONDS'] ?? 60);
const WARM_UP_SECONDS = 10;
const WRITERS = 4;

const TOPIC = 'headrace.shop.public.events';

/**
 * RATE single-row transactions a second: from the moment a commit is answered at the source to the
 * moment a reader of committed records has it from the topic, and to the moment a poller of the
 * target sees the row. The poller reads every new row every 2 ms.
 */
export async function latency(): Promise<Record<string, unknown>> {
  await using rig = await startRig();
  await query(
    rig.source,
    'create table events (id bigint primary key, payload text, at timestamptz default now())',
  );
  const sourceId = await createSource(rig, cdcSourceConfig(rig.source));
  const destinationId = await createDestination(rig, 'postgres', postgresConfig(rig.target));
  const connectionId = await createConnection(rig, sourceId, destinationId, () => 'append_dedup');
  await sync(rig, connectionId);

  const committed = new Float64Array(RATE * (SECONDS + WARM_UP_SECONDS + 5));
  const samples: number[] = [];
  const inTopic: number[] = [];
  const stop = new AbortController();
  const target = await connectTo(rig.target);
  const kafka = new KafkaClient({
    kafka: { brokers: [`127.0.0.1:${rig.kafka.port}`], tls: null, sasl: null },
    topicPrefix: 'headrace',
    schemaRegistryUrl: null,
  });
  const reader = await readerOf(kafka);
  const watching = Promise.all([
    watch(target, committed, samples, stop.signal),
    listen(reader, committed, inTopic, stop.signal),
  ]);
  await write(rig.source, committed, WARM_UP_SECONDS, 0);
  const first = RATE * WARM_UP_SECONDS;
  const headrace = rig.processes.get('up')?.pid as number;
  const stages = await watchStages(rig, { sink: connectionId });
  const delays = await watchDelays(rig);
  const cpu = watchCpu(rig, headrace);
  await write(rig.source, committed, SECONDS, first);
  const cpuSecondsPerMinute = cpu();
  const delayStages = await delays();
  await sync(rig, connectionId);
  await delay(200);
  stop.abort();
  await watching;
  await target.end();
  await reader.close();
  await kafka.close();
  const measured = sorted(samples, first);
  const read = sorted(inTopic, first);
  return {
    transactions: RATE * SECONDS,
    seen: measured.length,
    perSecond: RATE,
    topicP50ms: round(percentile(read, 0.5)),
    topicP99ms: round(percentile(read, 0.99)),
    p50ms: round(percentile(measured, 0.5)),
    p95ms: round(percentile(measured, 0.95)),
    p99ms: round(percentile(measured, 0.99)),
    maxMs: round(measured.at(-1) ?? Number.NaN),
    delayStages,
    stages: await stages(),
    cpuSecondsPerMinute,
    headracePeakMB: Math.round(peakMegabytes(headrace)),
    load: loadAverage(),
  };
}

/** CPU of everybody on the machine who has a part in it, this program and its load included. */
function watchCpu(rig: Rig, headrace: number): () => Record<string, number> {
  const used = (): Record<string, number> => ({
    headrace: cpuSeconds(headrace),
    kafka: treeCpuSeconds(rig.kafka.pid),
    source: treeCpuSeconds(rig.source.pid),
    target: treeCpuSeconds(rig.target.pid),
    bench: cpuSeconds(process.pid),
  });
  const before = used();
  return () =>
    Object.fromEntries(
      Object.entries(used()).map(([name, seconds]) => [
        name,
        round(((seconds - (before[name] as number)) * 60) / SECONDS),
      ]),
    );
}

const round = (value: number): number => Math.round(value * 10) / 10;

function sorted(samples: readonly (number | undefined)[], first: number): number[] {
  return samples
    .slice(first)
    .filter((sample) => sample !== undefined)
    .toSorted((a, b) => a - b);
}

async function readerOf(kafka: KafkaClient): Promise<TopicReader> {
  const reader = kafka.topicReader();
  for (const { partition, high } of await kafka.admin.bounds(TOPIC)) {
    await reader.assign({ topic: TOPIC, partition, offset: high });
  }
  return reader;
}

async function listen(
  reader: TopicReader,
  committed: Float64Array,
  samples: number[],
  signal: AbortSignal,
): Promise<void> {
  while (!signal.aborted) {
    for (const { records } of await reader.next()) {
      const now = performance.now();
      for (let i = 0; i < records.count; i++) {
        const id = idOfKey(records.bytes, (records.keyStarts[i] as number) + WIRE_HEADER_BYTES);
        const at = committed[id] as number;
        samples[id] = at === 0 ? 0 : Math.max(0, now - at);
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

async function write(
  source: { host: string; port: number; name: string },
  committed: Float64Array,
  seconds: number,
  firstId: number,
): Promise<void> {
  const started = performance.now();
  const total = RATE * seconds;
  await Promise.all(
    Array.from({ length: WRITERS }, async (_, writer) => {
      const client = new pg.Client({
        host: source.host,
        port: source.port,
        user: 'postgres',
        database: 'postgres',
      });
      await client.connect();
      for (let n = writer; n < total; n += WRITERS) {
        const due = started + (n * 1000) / RATE;
        if (due > performance.now()) await delay(due - performance.now());
        await client.query({
          name: 'insert',
          text: 'insert into events values ($1, $2)',
          values: [firstId + n, 'x'.repeat(100)],
        });
        committed[firstId + n] = performance.now();
      }
      await client.end();
    }),
  );
}

async function watch(
  target: pg.Client,
  committed: Float64Array,
  samples: number[],
  signal: AbortSignal,
): Promise<void> {
  let low = 0;
  while (!signal.aborted) {
    // Four writers: ids become visible slightly out of order, so a window behind is looked at again.
    const { rows } = await target.query<{ id: string }>({
      name: 'poll',
      text: 'select id from events where id >= $1',
      values: [Math.max(0, low)],
    });
    const now = performance.now();
    for (const row of rows) {
      const id = Number(row.id);
      if (samples[id] !== undefined) continue;
      const at = committed[id] as number;
      // Visible before the writer heard of its commit: no time at all.
      samples[id] = at === 0 ? 0 : Math.max(0, now - at);
    }
    while (samples[low] !== undefined) low++;
    await delay(2);
  }
}
