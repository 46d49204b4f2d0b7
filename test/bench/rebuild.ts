import { randomUUID } from 'node:crypto';
import { loadavg } from 'node:os';
import type { ChangeBatch, Replay } from '../../connectors/spi/destination.ts';
import type { ObjectStore } from '../../connectors/destinations/s3/object-store.ts';
import { column, MemoryTopic, range } from '../integration/destinations/s3/memory-topic.ts';
import { Lake } from '../integration/destinations/s3/s3-fixture.ts';

const EVENTS = 1_000_000;
const BATCH = 5_000;

interface Counted {
  readonly requests: Record<string, number>;
  uploaded: number;
  firstCopy: number;
  shown: number;
}

/** What an append stream of 1,000,000 events costs, and what its rebuild costs, on a MinIO. */
export async function rebuild(): Promise<Record<string, unknown>> {
  await using lake = await Lake.start('minio');
  const topic = events();
  await topic.load(1);
  const connection = lake.newConnection();
  const config = { format: { format_type: 'Parquet', block_size_mb: 1 } };
  const phase = async (replay: Replay | null): Promise<Record<string, unknown>> => {
    const counted: Counted = { requests: {}, uploaded: 0, firstCopy: 0, shown: 0 };
    const wrap = (store: ObjectStore): ObjectStore => countRequests(store, counted);
    const writer = await lake.open(topic, connection, config, wrap);
    const target = replay === null ? topic.target : { ...topic.target, replay };
    const cpu = process.cpuUsage();
    const started = performance.now();
    await writer.open(target);
    for (let at = 0; at < EVENTS; at += BATCH) {
      await writer.write([{ ...shifted(topic, at), target }]);
    }
    await writer.flush();
    const { user, system } = process.cpuUsage(cpu);
    const seconds = (performance.now() - started) / 1000;
    if (writer.durableOffset(target) !== EVENTS) throw new Error('not all is durable');
    await writer.close();
    const switchMs = counted.firstCopy === 0 ? null : Math.round(counted.shown - counted.firstCopy);
    return {
      seconds: Math.round(seconds),
      microsCpuPerEvent: Math.round(((user + system) / EVENTS) * 10) / 10,
      uploadedMb: Math.round(counted.uploaded / 1e5) / 10,
      switchMs,
      requests: counted.requests,
    };
  };
  const delivered = await phase(null);
  const files = (await lake.files(connection)).length;
  const id = randomUUID();
  const rebuilt = await phase({ id, from: 0, until: EVENTS, rebuild: true });
  return { events: EVENTS, files, delivered, rebuilt, load: loadavg()[0]?.toFixed(1) };
}

function countRequests(store: ObjectStore, counted: Counted): ObjectStore {
  return new Proxy(store, {
    get(target, name: keyof ObjectStore) {
      const method = target[name] as (...args: unknown[]) => unknown;
      return (...args: unknown[]): unknown => {
        counted.requests[name] = (counted.requests[name] ?? 0) + 1;
        if (name === 'uploadIfAbsent') counted.uploaded += args[2] as number;
        if (name === 'copy' && counted.firstCopy === 0) counted.firstCopy = performance.now();
        if (String(args[0]).includes('/_rebuilds/') && name === 'putIfAbsent') {
          counted.shown = performance.now();
        }
        return method.apply(target, args);
      };
    },
  });
}

/** One batch of different rows, which is sent again and again. */
function events(): MemoryTopic {
  const topic = new MemoryTopic();
  topic.register(1, [
    column('id', 'int64', {}, true),
    column('customer_id', 'int64'),
    column('status', 'string'),
    column('amount', 'decimal', { precision: 12, scale: 2 }),
    column('note', 'string'),
  ]);
  for (const i of range(0, BATCH)) {
    const after = {
      id: BigInt(i * 7919),
      customer_id: BigInt(i % 997),
      status: ['new', 'paid', 'shipped', 'done'][i % 4],
      amount: `${i % 10_000}.${String(i % 100).padStart(2, '0')}`,
      note: `note number ${i * 17} with some words behind`,
    };
    topic.append(1, { after });
  }
  return topic;
}

function shifted(topic: MemoryTopic, first: number): ChangeBatch {
  const batch = topic.batch(0, BATCH);
  const { records } = batch;
  return {
    ...batch,
    firstOffset: first,
    nextOffset: first + BATCH,
    records: { ...records, offsets: records.offsets.map((offset) => offset + first) },
  };
}
