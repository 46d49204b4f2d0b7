import type { RecordArena } from '../../schemas/envelope/record-arena.ts';
import { KafkaClient } from '../../topics/kafka-client.ts';
import { kafkaContext } from '../support/contexts.ts';
import { arenaOf, type KeyValue } from '../support/record-arenas.ts';
import { loadAverage, percentile } from './process-figures.ts';

const TOPIC = 'bench';
const PARTITIONS = 4;
const RECORDS_PER_PART = 1_000;
const TRANSACTIONS = 200;
const ROUND_TRIPS = 300;
const VALUE = 'v'.repeat(200);

/** The Kafka layer alone on a real broker: CPU of this process per record written in transactions of
 * 4,000 and per record read, and the time from a commit of one record until a reader has it. */
export async function topics(): Promise<Record<string, unknown>> {
  await using broker = await kafkaContext();
  const kafka = new KafkaClient({
    kafka: { brokers: [broker.url] },
    topicPrefix: 'bench',
    schemaRegistryUrl: null,
  });
  await kafka.admin.ensure([{ topic: TOPIC, partitions: PARTITIONS, configs: {} }]);
  const writer = kafka.transactionWriter('bench');
  await writer.open({ timeoutMs: 60_000 });
  const reader = kafka.topicReader();
  const partitions = Array.from({ length: PARTITIONS }, (_, partition) => partition);
  for (const partition of partitions) {
    await reader.assign({ topic: TOPIC, partition, offset: 'beginning' });
  }
  const readRecords = async (wanted: number): Promise<void> => {
    for (let count = 0; count < wanted;) {
      for (const batch of await reader.next()) count += batch.records.count;
    }
  };

  const one = numbered(1);
  const waits: number[] = [];
  for (let i = 0; i < ROUND_TRIPS; i++) {
    const started = performance.now();
    const committed = writer.commit([{ topic: TOPIC, partition: i % PARTITIONS, arena: one }]);
    await readRecords(1);
    waits.push(performance.now() - started);
    await committed;
  }
  waits.sort((a, b) => a - b);

  const total = TRANSACTIONS * PARTITIONS * RECORDS_PER_PART;
  const many = numbered(RECORDS_PER_PART);
  const parts = partitions.map((partition) => ({ topic: TOPIC, partition, arena: many }));
  const write = await measured(total, async () => {
    for (let i = 0; i < TRANSACTIONS; i++) await writer.commit(parts);
  });
  const read = await measured(total, () => readRecords(total));
  await reader.close();
  await writer.close();
  await kafka.close();
  return {
    records: total,
    write,
    read,
    commitToReaderMs: { p50: percentile(waits, 0.5), p99: percentile(waits, 0.99) },
    load: loadAverage(),
  };
}

function numbered(count: number): RecordArena {
  return arenaOf(Array.from({ length: count }, (_, i): KeyValue => [`key-${i}`, VALUE]));
}

async function measured(records: number, work: () => Promise<void>) {
  const cpu = process.cpuUsage();
  const started = performance.now();
  await work();
  const { user, system } = process.cpuUsage(cpu);
  const seconds = (performance.now() - started) / 1000;
  return { cpuMicros: (user + system) / records, perSecond: Math.round(records / seconds) };
}
