import { Kafka, logLevel, CompressionTypes, type Admin } from 'kafkajs';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { TopicAdmin } from '../../../topics/admin/topic-admin.ts';
import { TopicReader, type FetchedBatch } from '../../../topics/consume/topic-reader.ts';
import { TransactionWriter } from '../../../topics/produce/transaction-writer.ts';
import { KafkaCluster } from '../../../topics/wire/kafka-cluster.ts';
import { kafkaContext, type ServerContext } from '../../support/contexts.ts';
import { arenaOf, recordsOf } from '../../support/record-arenas.ts';

let broker: ServerContext;
let cluster: KafkaCluster;
let admin: TopicAdmin;
let writer: TransactionWriter;
let stock: Kafka;
let stockAdmin: Admin;

beforeAll(async () => {
  broker = await kafkaContext();
  cluster = new KafkaCluster({ brokers: [broker.url] });
  admin = new TopicAdmin({ cluster });
  writer = new TransactionWriter({ cluster, transactionalId: 'reader-test' });
  await writer.open({ timeoutMs: 60_000 });
  stock = new Kafka({ brokers: [broker.url], logLevel: logLevel.NOTHING });
  stockAdmin = stock.admin();
  await stockAdmin.connect();
});

afterAll(async () => {
  await stockAdmin.disconnect();
  await writer.close();
  await admin.close();
  cluster.close();
  await broker[Symbol.asyncDispose]();
});

async function newTopic(topic: string, partitions = 1): Promise<string> {
  await admin.ensure([{ topic, partitions, configs: {} }]);
  return topic;
}

async function write(topic: string, value: string, partition = 0): Promise<void> {
  await writer.commit([{ topic, partition, arena: arenaOf([['k', value]]) }]);
}

/** The next batch that `wanted` says yes to; others are passed over. */
async function until(
  reader: TopicReader,
  wanted: (batch: FetchedBatch) => boolean,
): Promise<FetchedBatch> {
  for (;;) {
    const found = (await reader.next()).find(wanted);
    if (found !== undefined) return found;
  }
}

test('a position goes past control records', async () => {
  const topic = await newTopic('control');
  await write(topic, 'one');
  const reader = new TopicReader({ cluster });
  await reader.assign({ topic, partition: 0, offset: 1 });
  const batch = await until(reader, () => true);
  expect(batch.records.count).toBe(0);
  expect(batch).toMatchObject({ firstOffset: 1, nextOffset: 2 });
  expect(reader.progress(topic, 0)).toMatchObject({ nextOffset: 2 });
  await reader.close();
});

test('KA-05: removed records are a gap with its size, never a reset; other partitions go on', async () => {
  const topic = await newTopic('gap', 2);
  for (let i = 0; i < 5; i++) await write(topic, `${i}`);
  await stockAdmin.fetchTopicOffsets(topic);
  await stockAdmin.deleteTopicRecords({ topic, partitions: [{ partition: 0, offset: '6' }] });
  const reader = new TopicReader({ cluster });
  await reader.assign({ topic, partition: 0, offset: 2 });
  await reader.assign({ topic, partition: 1, offset: 'beginning' });
  const { error } = await until(reader, (batch) => batch.error !== undefined);
  expect(error).toMatchObject({ code: 'KAFKA_GAP', details: { missing: 4, partition: 0 } });
  await write(topic, 'still here', 1);
  const other = await until(reader, (batch) => batch.records.count > 0);
  expect(other.partition).toBe(1);
  await reader.close();
});

test('a position behind the end is another log', async () => {
  const topic = await newTopic('short');
  const reader = new TopicReader({ cluster });
  await reader.assign({ topic, partition: 0, offset: 100 });
  const { error } = await until(reader, (batch) => batch.error !== undefined);
  expect(error).toMatchObject({ code: 'KAFKA_IDENTITY_CHANGED', details: { high: 0 } });
  await reader.close();
});

test('a deleted topic and a re-created one are told apart; others go on', async () => {
  const [gone, again, stays] = await Promise.all(
    ['gone', 'again', 'stays'].map((t) => newTopic(t)),
  );
  const reader = new TopicReader({ cluster });
  for (const topic of [gone!, again!, stays!]) {
    await write(topic, 'before');
    await reader.assign({ topic, partition: 0, offset: 'beginning' });
    await until(reader, (batch) => batch.topic === topic && batch.records.count > 0);
  }
  await admin.remove([gone!, again!]);
  await newTopic(again!);
  const codes = new Map<string, string | undefined>();
  while (codes.size < 2) {
    const { topic, error } = await until(reader, (batch) => batch.error !== undefined);
    codes.set(topic, error?.code);
  }
  expect(Object.fromEntries(codes)).toEqual({
    gone: 'KAFKA_TOPIC_GONE',
    again: 'KAFKA_IDENTITY_CHANGED',
  });
  await write(stays!, 'after');
  const batch = await until(reader, ({ records }) => records.count > 0);
  expect(batch.topic).toBe(stays);
  await reader.close();
});

test('a paused partition is held back and comes at once when resumed', async () => {
  const topic = await newTopic('paused', 2);
  const reader = new TopicReader({ cluster, maxWaitMs: 10_000 });
  await reader.assign({ topic, partition: 0, offset: 'beginning' });
  await reader.assign({ topic, partition: 1, offset: 'beginning' });
  await write(topic, 'a');
  await until(reader, (batch) => batch.records.count > 0);
  reader.pause(topic, 0);
  await write(topic, 'held');
  await write(topic, 'other', 1);
  const other = await until(reader, (batch) => batch.records.count > 0);
  expect(other.partition).toBe(1);
  // The long poll of ten seconds is under way without partition 0; resuming must not wait for it.
  const started = performance.now();
  reader.resume(topic, 0);
  const held = await until(reader, (batch) => batch.records.count > 0);
  expect(recordsOf(held.records).map(({ value }) => value)).toEqual(['held']);
  expect(performance.now() - started).toBeLessThan(5_000);
  await reader.close();
});

test('what stock producers write, with headers and gzip, is read', async () => {
  const topic = await newTopic('stock');
  const producer = stock.producer();
  await producer.connect();
  const messages = Array.from({ length: 300 }, (_, i) => ({
    key: `k${i}`,
    value: i % 7 === 0 ? null : `value ${i}`,
    headers: { trace: `${i}` },
  }));
  await producer.send({ topic, messages, compression: CompressionTypes.GZIP });
  await producer.send({ topic, messages });
  await producer.disconnect();
  const reader = new TopicReader({ cluster });
  await reader.assign({ topic, partition: 0, offset: 150 });
  const values: (string | null)[] = [];
  while (values.length < 450) {
    for (const { records } of await reader.next()) {
      values.push(...recordsOf(records).map(({ value }) => value));
    }
  }
  expect(values).toEqual([...messages.slice(150), ...messages].map(({ value }) => value));
  await reader.close();
});

test('closing ends a waiting next', async () => {
  const topic = await newTopic('closing');
  const reader = new TopicReader({ cluster, maxWaitMs: 60_000 });
  await reader.assign({ topic, partition: 0, offset: 'beginning' });
  const waiting = reader.next();
  await reader.close();
  expect(await waiting).toEqual([]);
});

test('group offsets are stored for display, and limits are told', async () => {
  const topic = await newTopic('group', 2);
  const offsets = [
    { topic, partition: 0, offset: 12 },
    { topic, partition: 1, offset: 3 },
  ];
  await admin.commitGroupOffsets('display', offsets);
  expect(await admin.groupOffsets('display')).toEqual(offsets);
  expect(await admin.maxTransactionMs()).toBe(900_000);
  expect(await admin.maxMessageBytes([topic])).toEqual(new Map([[topic, 1_048_588]]));
  expect(await admin.find('nowhere')).toBeNull();
  await expect(admin.ensure([{ topic, partitions: 3, configs: {} }])).rejects.toMatchObject({
    code: 'KAFKA_PARTITIONS_CHANGED',
  });
});

test('offsets by time', async () => {
  const topic = await newTopic('time');
  await write(topic, 'old');
  await new Promise((resolve) => setTimeout(resolve, 5));
  const between = Date.now();
  await write(topic, 'new');
  expect((await admin.offsetsForTime(topic, between)).get(0)).toBe(2);
  expect((await admin.offsetsForTime(topic, Date.now() + 60_000)).get(0)).toBe(4);
});

/** The cluster, and the size of each fetch request that is sent. */
function measured(whole: KafkaCluster): { cluster: KafkaCluster; sizes: number[] } {
  const sizes: number[] = [];
  const connect = async (nodeId: number) => {
    const connection = await whole.connect(nodeId);
    const request = connection.request.bind(connection);
    connection.request = (wire) => {
      sizes.push(wire.body.reduce((sum, part) => sum + part.length, 0));
      return request(wire);
    };
    return connection;
  };
  return { cluster: Object.create(whole, { connect: { value: connect } }) as KafkaCluster, sizes };
}

test('of many quiet partitions requests name only what has changed', async () => {
  const topic = await newTopic('quiet', 200);
  const { cluster: watched, sizes } = measured(cluster);
  const reader = new TopicReader({ cluster: watched, maxWaitMs: 100 });
  for (let partition = 0; partition < 200; partition++) {
    await reader.assign({ topic, partition, offset: 'beginning' });
  }
  const seen = new Map<number, string[]>();
  const writeAndRead = async (partition: number, value: string): Promise<void> => {
    await write(topic, value, partition);
    const { records } = await until(
      reader,
      (b) => b.partition === partition && b.records.count > 0,
    );
    seen.set(partition, [
      ...(seen.get(partition) ?? []),
      ...recordsOf(records).map((record) => String(record.value)),
    ]);
  };
  await writeAndRead(0, 'first');
  // The poll that was under way at the last assignment is over by then.
  await reader.next();
  await writeAndRead(0, 'second');
  sizes.length = 0;
  for (const partition of [199, 0, 77, 199]) await writeAndRead(partition, `${partition}`);
  expect(Math.max(...sizes)).toBeLessThan(500);
  expect([...seen]).toEqual([
    [0, ['first', 'second', '0']],
    [199, ['199', '199']],
    [77, ['77']],
  ]);
  await reader.close();
});

test.each(['0', '8'])(
  'a broker with room for %s sessions serves a dozen readers',
  async (slots) => {
    // Eight are one in each of its shards; a session that is needed makes the one before go at once.
    await using small = await kafkaContext({
      settings: {
        'max.incremental.fetch.session.cache.slots': slots,
        'min.incremental.fetch.session.eviction.ms': '0',
      },
    });
    const other = new KafkaCluster({ brokers: [small.url] });
    const ofOther = new TopicAdmin({ cluster: other });
    await ofOther.ensure([{ topic: 'shared', partitions: 3, configs: {} }]);
    const sender = new TransactionWriter({ cluster: other, transactionalId: 'sessions' });
    await sender.open({ timeoutMs: 60_000 });
    const readers = Array.from(
      { length: 12 },
      () => new TopicReader({ cluster: other, maxWaitMs: 50 }),
    );
    for (const reader of readers) {
      for (let partition = 0; partition < 3; partition++) {
        await reader.assign({ topic: 'shared', partition, offset: 'beginning' });
      }
    }
    const written: string[] = [];
    const read = readers.map(async (reader) => {
      const values: (string | null)[] = [];
      while (values.length < 60) {
        for (const { records } of await reader.next()) {
          values.push(...recordsOf(records).map(({ value }) => value));
        }
      }
      return values;
    });
    for (let i = 0; i < 60; i++) {
      written.push(`${i}`);
      const arena = arenaOf([['k', `${i}`]]);
      await sender.commit([{ topic: 'shared', partition: i % 3, arena }]);
    }
    for (const values of await Promise.all(read)) {
      expect(values.toSorted()).toEqual(written.toSorted());
      for (let partition = 0; partition < 3; partition++) {
        const own = values.filter((value) => Number(value) % 3 === partition);
        expect(own).toEqual(written.filter((value) => Number(value) % 3 === partition));
      }
    }
    await Promise.all(readers.map((reader) => reader.close()));
    await sender.close();
    await ofOther.close();
    other.close();
  },
);
