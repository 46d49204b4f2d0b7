import { Kafka, logLevel } from 'kafkajs';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { TopicAdmin } from '../../../topics/admin/topic-admin.ts';
import type { Codec } from '../../../topics/wire/codec.ts';
import { TopicReader } from '../../../topics/consume/topic-reader.ts';
import { TransactionWriter } from '../../../topics/produce/transaction-writer.ts';
import { KafkaCluster } from '../../../topics/wire/kafka-cluster.ts';
import { kafkaContext, type ServerContext } from '../../support/contexts.ts';
import { arenaOf, recordsOf, type KeyValue } from '../../support/record-arenas.ts';

let broker: ServerContext;
let cluster: KafkaCluster;
let admin: TopicAdmin;
let topics = 0;

beforeAll(async () => {
  broker = await kafkaContext();
  cluster = new KafkaCluster({ brokers: [broker.url] });
  admin = new TopicAdmin({ cluster });
});

afterAll(async () => {
  await admin.close();
  cluster.close();
  await broker[Symbol.asyncDispose]();
});

async function newTopic(partitions = 1, configs: Record<string, string> = {}): Promise<string> {
  const topic = `topic-${topics++}`;
  await admin.ensure([{ topic, partitions, configs }]);
  return topic;
}

async function openWriter(
  transactionalId: string,
  options: { timeoutMs?: number; protocol?: 1 | 2; compression?: Codec } = {},
): Promise<TransactionWriter> {
  const { timeoutMs = 60_000, ...rest } = options;
  const writer = new TransactionWriter({
    cluster,
    transactionalId,
    maxMessageBytes: (topics) => admin.maxMessageBytes(topics),
    ...rest,
  });
  await writer.open({ timeoutMs });
  return writer;
}

function part(topic: string, records: readonly KeyValue[], partition = 0) {
  return { topic, partition, arena: arenaOf(records) };
}

/** Everything committed, up to the end as it is now. */
async function readAll(topic: string): Promise<string[]> {
  const reader = new TopicReader({ cluster });
  const values: string[] = [];
  for (const { partition, low, high } of await admin.bounds(topic)) {
    if (low === high) continue;
    await reader.assign({ topic, partition, offset: 'beginning' });
    for (let at = low; at < high;) {
      for (const batch of await reader.next()) {
        if (batch.error !== undefined) throw batch.error;
        values.push(...recordsOf(batch.records).map(({ value }) => value ?? 'tombstone'));
        at = batch.nextOffset;
      }
    }
    reader.unassign(topic, partition);
  }
  await reader.close();
  return values;
}

describe.each([
  ['2', {}],
  ['1 (brokers before 4.0)', { protocol: 1 as const }],
])('transactions, protocol %s', (_name, options) => {
  test('200,000 records over four partitions arrive once each, as kafkajs reads them', async () => {
    const topic = await newTopic(4);
    const writer = await openWriter(topic, options);
    const total = 200_000;
    for (let n = 0; n < total; n += 4_000) {
      const parts = [0, 1, 2, 3].map((partition) => {
        const records = Array.from({ length: 1_000 }, (_, i): KeyValue => {
          const number = n + partition * 1_000 + i;
          return [`key-${number}`, String(number)];
        });
        return part(topic, records, partition);
      });
      await writer.append(parts.slice(0, 2));
      await writer.commit(parts.slice(2));
    }
    await writer.close();
    const seen = new Uint8Array(total);
    for (const value of await readAll(topic)) seen[Number(value)]!++;
    expect(seen.every((count) => count === 1)).toBe(true);
    expect(await readWithKafkajs(topic, total)).toBe((total * (total - 1)) / 2);
  });

  test('the limits of many topics are asked for once, and their records arrive', async () => {
    const names = Array.from({ length: 40 }, () => `topic-${topics++}`);
    await admin.ensure(names.map((topic) => ({ topic, partitions: 1, configs: {} })));
    const asked: number[] = [];
    const writer = new TransactionWriter({
      cluster,
      transactionalId: names[0] as string,
      maxMessageBytes: (unknown) => {
        asked.push(unknown.length);
        return admin.maxMessageBytes(unknown);
      },
      ...options,
    });
    await writer.open({ timeoutMs: 60_000 });
    for (const value of ['a', 'b']) {
      await writer.commit(names.map((topic) => part(topic, [['k', value]])));
    }
    await writer.close();
    expect(asked).toEqual([40]);
    for (const topic of [names[0], names[39]]) {
      expect(await readAll(topic as string)).toEqual(['a', 'b']);
    }
  });

  test('aborted records are never seen, and the reader gets past them', async () => {
    const topic = await newTopic();
    const writer = await openWriter(topic, options);
    const expected: string[] = [];
    for (let i = 0; i < 30; i++) {
      const commits = i % 3 === 1;
      await writer.append([part(topic, [['k', `${i}a`]])]);
      await writer.append([part(topic, [['k', `${i}b`]])]);
      if (commits) await writer.commit([]);
      else await writer.abort();
      if (commits) expected.push(`${i}a`, `${i}b`);
    }
    expect(await readAll(topic)).toEqual(expected);
    await writer.close();
  });

  test('a second writer with the same id fences the first', async () => {
    const topic = await newTopic();
    const older = await openWriter(topic, options);
    await older.append([part(topic, [['k', 'never']])]);
    const newer = await openWriter(topic, options);
    await newer.commit([part(topic, [['k', 'kept']])]);
    await expect(older.commit([part(topic, [['k', 'nor this']])])).rejects.toMatchObject({
      code: 'KAFKA_FENCED',
    });
    await expect(older.append([part(topic, [['k', 'again']])])).rejects.toMatchObject({
      code: 'KAFKA_REOPEN',
    });
    await newer.commit([part(topic, [['k', 'too']])]);
    expect(await readAll(topic)).toEqual(['kept', 'too']);
    await Promise.all([older.close(), newer.close()]);
  });

  test('KA-07: a record above the limit is refused with the name of its topic, a batch is cut', async () => {
    const topic = await newTopic(1, { 'max.message.bytes': '100000' });
    const writer = await openWriter(topic, options);
    const records = Array.from({ length: 50 }, (_, i): KeyValue => [`${i}`, 'x'.repeat(30_000)]);
    await writer.commit([part(topic, records)]);
    expect(await readAll(topic)).toHaveLength(50);
    await expect(writer.commit([part(topic, [['k', 'x'.repeat(100_000)]])])).rejects.toMatchObject({
      code: 'EVT_TOO_LARGE',
      details: { topic },
    });
    await writer.close();
    expect(await readAll(topic)).toHaveLength(50);
  });

  test('a transaction that the broker has timed out asks for a re-open', async () => {
    const topic = await newTopic();
    const writer = await openWriter(topic, { ...options, timeoutMs: 1_000 });
    await writer.append([part(topic, [['k', 'too slow']])]);
    // The broker looks for overdue transactions every ten seconds; it is done when the end is decided.
    for (;;) {
      const [bounds] = await admin.bounds(topic);
      if (bounds?.stable === bounds?.high && bounds!.high > 1) break;
      await new Promise((resolve) => setTimeout(resolve, 200));
    }
    await expect(writer.commit([])).rejects.toMatchObject({ code: 'KAFKA_REOPEN' });
    await writer.close();
    expect(await readAll(topic)).toEqual([]);
  });
});

describe.each(['gzip', 'snappy', 'lz4', 'zstd'] as const)('records compressed with %s', (codec) => {
  // The broker's own codecs are the second opinion: it unfolds what we wrote, or folds it for us.
  test.each([
    ['by us', codec, 'producer'],
    ['by us, unfolded by the broker', codec, 'uncompressed'],
    ['by the broker', 'none', codec],
  ] as const)('%s', async (_by, compression, ofTopic) => {
    const topic = await newTopic(1, { 'compression.type': ofTopic });
    const writer = await openWriter(topic, { compression });
    const records = Array.from({ length: 20_000 }, (_, i): KeyValue => [`k${i}`, `value ${i}`]);
    await writer.commit([part(topic, records)]);
    await writer.close();
    expect(await readAll(topic)).toEqual(records.map(([, value]) => value));
  });
});

test('a topic that does not exist ends the writer with its name', async () => {
  const writer = await openWriter('nowhere');
  await expect(writer.commit([part('no-such-topic', [['k', 'v']])])).rejects.toMatchObject({
    code: 'KAFKA_TOPIC_GONE',
  });
  await writer.close();
});

/** The sum of all values, read by kafkajs's own consumer. */
async function readWithKafkajs(topic: string, total: number): Promise<number> {
  const kafka = new Kafka({ brokers: [broker.url], logLevel: logLevel.NOTHING });
  const consumer = kafka.consumer({ groupId: `stock-${topic}`, readUncommitted: false });
  await consumer.connect();
  await consumer.subscribe({ topic, fromBeginning: true });
  let count = 0;
  let sum = 0;
  await new Promise<void>((resolve, reject) => {
    consumer
      .run({
        eachBatch: async ({ batch }) => {
          for (const message of batch.messages) sum += Number(message.value);
          count += batch.messages.length;
          if (count >= total) resolve();
        },
      })
      .catch(reject);
  });
  await consumer.disconnect();
  return count === total ? sum : Number.NaN;
}
