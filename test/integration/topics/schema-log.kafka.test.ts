import type { Type } from 'avsc';
import { Kafka, logLevel } from 'kafkajs';
import { afterAll, beforeAll, expect, test } from 'vitest';
import {
  keyAvroSchema,
  subjectsOf,
  valueAvroSchema,
  type AvroRecord,
} from '../../../schemas/envelope/avro-schema.ts';
import { writeWireHeader } from '../../../schemas/envelope/record-view.ts';
import { RecordArena } from '../../../schemas/envelope/record-arena.ts';
import type { StreamSchema } from '../../../schemas/envelope/stream-schema.ts';
import type { ColumnKind } from '../../../schemas/values/column-type.ts';
import { KafkaClient } from '../../../topics/kafka-client.ts';
import { truncateSubject } from '../../../topics/naming.ts';
import { tail, type TailedRecord, type TailStart } from '../../../topics/replay/tail.ts';
import { avroOracle } from '../../support/avro-oracle.ts';
import { kafkaContext, type ServerContext } from '../../support/contexts.ts';

let broker: ServerContext;
let kafka: KafkaClient;
let other: KafkaClient;

const TOPIC = 'test.shop.public.orders';

beforeAll(async () => {
  broker = await kafkaContext();
  kafka = client();
  other = client();
});

afterAll(async () => {
  await kafka.close();
  await other.close();
  await broker[Symbol.asyncDispose]();
});

function client(): KafkaClient {
  return new KafkaClient({
    kafka: { brokers: [broker.url] },
    topicPrefix: 'test',
    schemaRegistryUrl: null,
  });
}

function orders(columns: Record<string, ColumnKind>): StreamSchema {
  return {
    stream: { namespace: 'public', name: 'orders' },
    columns: Object.entries(columns).map(([name, kind]) => ({
      name,
      type: { kind },
      inKey: name === 'id',
    })),
    key: ['id'],
  };
}

const valueSchema = (columns: Record<string, ColumnKind>): AvroRecord =>
  valueAvroSchema(TOPIC, orders(columns));

test('two writers that race get one id for one schema, and different ones for different schemas', async () => {
  const raced = await Promise.all(
    Array.from({ length: 20 }, (_, i) =>
      (i % 2 === 0 ? kafka : other).registry.register(
        `race-${i >> 2}`,
        valueSchema({ id: 'int64', [`c${i >> 2}`]: 'string' }),
      ),
    ),
  );
  for (let subject = 0; subject < 5; subject++) {
    const ids = raced.slice(subject * 4, subject * 4 + 4);
    expect(new Set(ids).size).toBe(1);
    expect(await other.registry.schemaOf(ids[0]!)).toContain(`"c${subject}"`);
  }
  expect(new Set(raced).size).toBe(5);
});

test('SR-02: of two incompatible changes that race, the log takes one and both clients know which', async () => {
  await kafka.registry.register('both', valueSchema({ id: 'int64' }));
  const outcomes = await Promise.allSettled([
    kafka.registry.register('both', valueSchema({ id: 'int64', c: 'int32' })),
    other.registry.register('both', valueSchema({ id: 'int64', c: 'string' })),
  ]);
  const taken = outcomes.filter((outcome) => outcome.status === 'fulfilled');
  const refused = outcomes.filter((outcome) => outcome.status === 'rejected');
  expect(taken).toHaveLength(1);
  expect(refused[0]!.reason).toMatchObject({
    code: 'SCH_INCOMPATIBLE',
    message: expect.stringContaining('column c changed') as string,
  });
  const latest = await kafka.registry.latest('both');
  expect(latest).toEqual(await other.registry.latest('both'));
  expect(latest).toMatchObject({ id: taken[0]!.value, version: 2 });
  expect(kafka.schemaLog?.versions('both').map(({ version }) => version)).toEqual([1, 2]);
});

test('ids last: a new client reads them all back', async () => {
  const before = await kafka.registry.register('last', valueSchema({ id: 'int64' }));
  const fresh = client();
  expect(await fresh.registry.register('last', valueSchema({ id: 'int64' }))).toBe(before);
  expect(fresh.schemaLog?.subjects()).toContain('last');
  await expect(fresh.registry.schemaOf(999_999)).rejects.toMatchObject({ code: 'SCH_UNKNOWN_ID' });
  await fresh.close();
});

const COLUMNS: Record<string, ColumnKind> = { id: 'int64', note: 'string', raw: 'bytes' };
const BIG = 9_007_199_254_740_993n;
/** Three inserts and a tombstone, encoded by avsc. */
async function writeOrders(): Promise<{ key: number; value: number }> {
  await kafka.admin.ensure([{ topic: TOPIC, partitions: 1, configs: {} }]);
  const schema = orders(COLUMNS);
  const subjects = subjectsOf(TOPIC);
  const keySchema = keyAvroSchema(TOPIC, schema);
  const ids = {
    key: await kafka.registry.register(subjects.key, keySchema),
    value: await kafka.registry.register(subjects.value, valueAvroSchema(TOPIC, schema)),
  };
  const arena = new RecordArena();
  const put = (id: number, type: Type, value: unknown): void => {
    const body = type.toBuffer(value);
    const bytes = Buffer.concat([Buffer.alloc(5), body]);
    writeWireHeader(bytes, 0, id);
    arena.out.ensure(bytes.length);
    arena.out.copyRaw(bytes, 0, bytes.length);
  };
  for (let i = 0n; i < 3n; i++) {
    put(ids.key, avroOracle(keySchema), { id: BIG + i });
    arena.endKey();
    put(ids.value, avroOracle(valueAvroSchema(TOPIC, schema)), envelope(BIG + i));
    arena.endValue();
  }
  put(ids.key, avroOracle(keySchema), { id: BIG });
  arena.endKey();
  arena.endValue();
  const writer = kafka.transactionWriter('orders');
  await writer.open({ timeoutMs: 60_000 });
  await writer.commit([{ topic: TOPIC, partition: 0, arena }]);
  await writer.close();
  return ids;
}

function envelope(id: bigint) {
  const row = { id, note: 'größer', raw: Buffer.from([0, 255]) };
  return {
    before: null,
    after: row,
    source: {
      connector: 'postgres',
      name: 'test.shop',
      db: 'shop',
      schema: 'public',
      table: 'orders',
      snapshot: 'false',
      ts_ms: 1n,
      ts_us: 1000n,
      txId: 7n,
      lsn: 99n,
      seq: 0,
      epoch: 1,
    },
    op: 'c',
    ts_ms: null,
    unchanged: null,
  };
}

async function tailAll(from: TailStart, limit?: number): Promise<TailedRecord[]> {
  const records: TailedRecord[] = [];
  const options = { from, topic: TOPIC, follow: false, signal: new AbortController().signal };
  const { admin, registry } = kafka;
  const reader = kafka.topicReader();
  const all = tail({
    ...options,
    admin,
    registry,
    reader,
    ...(limit === undefined ? {} : { limit }),
  });
  for await (const record of all) records.push(record);
  return records;
}

test('a topic is decoded exactly by tail, by the lookup and by stock clients', async () => {
  const started = Date.now();
  const ids = await writeOrders();

  const tailed = await tailAll('beginning');
  expect(tailed.map(({ offset, key }) => [offset, key])).toEqual([
    [0, { id: String(BIG) }],
    [1, { id: String(BIG + 1n) }],
    [2, { id: String(BIG + 2n) }],
    [3, { id: String(BIG) }],
  ]);
  expect(tailed[0]!.value).toMatchObject({
    op: 'c',
    after: { id: String(BIG), note: 'größer', raw: 'AP8=' },
  });
  expect(tailed[3]!.value).toBeNull();
  expect(await tailAll({ offset: 1 }, 2)).toEqual(tailed.slice(1, 3));
  expect(await tailAll({ timeMs: started })).toEqual(tailed);
  expect(await tailAll({ timeMs: Date.now() + 60_000 })).toEqual([]);
  expect(await tailAll('end')).toEqual([]);

  await kafka.schemas.load(ids.value);
  await kafka.schemas.load(ids.key);
  expect(kafka.schemas.value(ids.value)?.columns.map(({ name }) => name)).toEqual([
    'id',
    'note',
    'raw',
  ]);
  expect(kafka.schemas.key(ids.key)?.columns).toHaveLength(1);
  expect(await kafka.schemas.latest(TOPIC)).toMatchObject({ value: { id: ids.value } });
  expect(await kafka.schemas.latest('test.shop.public.nothing')).toBeNull();

  expect(await readAsAStranger()).toEqual([BIG, BIG + 1n, BIG + 2n]);
});

test('the empty record of a truncate key is a key schema without columns', async () => {
  const schema = { type: 'record', name: 'Truncate', namespace: 'a.b', fields: [] } as const;
  const id = await kafka.registry.register(truncateSubject(TOPIC), schema);
  await kafka.schemas.load(id);
  expect(kafka.schemas.key(id)?.columns).toEqual([]);
});

/** kafkajs for the records and avsc for their values; the schemas by the ids in the headers. */
async function readAsAStranger(): Promise<bigint[]> {
  const stock = new Kafka({ brokers: [broker.url], logLevel: logLevel.NOTHING });
  const consumer = stock.consumer({ groupId: 'stranger' });
  await consumer.connect();
  await consumer.subscribe({ topic: TOPIC, fromBeginning: true });
  const values: (Buffer | null)[] = [];
  await new Promise<void>((resolve, reject) => {
    const eachMessage = async ({ message }: { message: { value: Buffer | null } }) => {
      if (values.push(message.value) === 4) resolve();
    };
    consumer.run({ eachMessage }).catch(reject);
  });
  await consumer.disconnect();
  const ids: bigint[] = [];
  for (const value of values) {
    if (value === null) continue;
    const schema = JSON.parse(await kafka.registry.schemaOf(value.readInt32BE(1))) as unknown;
    const { after } = avroOracle(schema).fromBuffer(value.subarray(5)) as { after: { id: bigint } };
    ids.push(after.id);
  }
  return ids;
}
