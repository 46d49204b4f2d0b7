import { randomBytes } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { destination } from '../../../../connectors/destinations/s3/destination.ts';
import type { Encoder } from '../../../../connectors/destinations/s3/encoder.ts';
import { column, MemoryTopic, range, topicOfIds } from './memory-topic.ts';
import { Lake } from './s3-fixture.ts';
import { buffersOf } from '../../../support/buffers.ts';

let lake: Lake;
beforeAll(async () => {
  lake = await Lake.start();
});
afterAll(async () => {
  await lake[Symbol.asyncDispose]();
});

const ID = column('id', 'int64', {}, true);

describe('rotation', () => {
  test('an idle partition becomes a file by age', async () => {
    const topic = topicOfIds(3);
    const connection = lake.newConnection();
    const writer = await lake.open(topic, connection, { rotation_seconds: 0.2 });
    await writer.open(topic.target);
    await writer.write([topic.batch(0, 3)]);
    await expect.poll(() => writer.durableOffset(topic.target), { timeout: 10_000 }).toBe(3);
    expect(await lake.offsets(connection)).toEqual([0, 1, 2]);
    await writer.close();
  });

  test('by rows', async () => {
    const topic = topicOfIds(100);
    const connection = lake.newConnection();
    const writer = await lake.open(topic, connection, { rotation_rows: 10 });
    await writer.open(topic.target);
    for (let i = 0; i < 100; i += 10) await writer.write([topic.batch(i, i + 10)]);
    await writer.close();
    expect(await lake.files(connection)).toHaveLength(10);
    expect(await lake.offsets(connection)).toEqual(range(0, 100));
  });

  test('by bytes of the finished file', async () => {
    const topic = new MemoryTopic();
    topic.register(1, [ID, column('noise', 'bytes')]);
    for (const i of range(0, 60)) {
      topic.append(1, { after: { id: BigInt(i), noise: randomBytes(512 * 1024) } });
    }
    const connection = lake.newConnection();
    const format = { format_type: 'Parquet', block_size_mb: 8 };
    const writer = await lake.open(topic, connection, { format });
    await writer.open(topic.target);
    for (const i of range(0, 60)) await writer.write([topic.batch(i, i + 1)]);
    await writer.close();
    // 30 MB of noise in files of at least 8 MB: some records are on their way when one is full.
    const files = await lake.files(connection);
    expect(files.length).toBeGreaterThanOrEqual(2);
    expect(files.length).toBeLessThanOrEqual(4);
    expect(await lake.offsets(connection)).toEqual(range(0, 60));
  });

  test('the largest partitions give way when all together hold too much', async () => {
    const topics = range(0, 8).map((i) => {
      const topic = new MemoryTopic({ name: `stream${i}` }, `topic${i}`);
      topic.register(1, [ID, column('noise', 'bytes')]);
      topic.append(1, { after: { id: 0n, noise: randomBytes(512 * 1024) } });
      return topic;
    });
    const connection = lake.newConnection();
    const first = topics[0] as MemoryTopic;
    const options = { buffers: buffersOf(2 * 1024 * 1024) };
    const writer = await lake.open(first, connection, {}, undefined, options);
    for (const topic of topics) await writer.open(topic.target);
    await writer.write(topics.map((topic) => topic.batch(0, 1)));
    await expect
      .poll(async () => (await lake.files(connection)).length, { timeout: 20_000 })
      .toBeGreaterThanOrEqual(4);
    await writer.close();
    expect(await lake.files(connection)).toHaveLength(8);
  });

  test('tombstones alone move the durable offset and leave no file', async () => {
    const topic = topicOfIds(0);
    topic.appendTombstone();
    topic.appendTombstone();
    const connection = lake.newConnection();
    const writer = await lake.open(topic, connection);
    await writer.open(topic.target);
    await writer.write([topic.batch(0, 2)]);
    await writer.flush();
    expect(writer.durableOffset(topic.target)).toBe(2);
    await writer.close();
    expect(await lake.files(connection)).toEqual([]);
    const again = await lake.open(topic, connection);
    expect(await again.open(topic.target)).toBe(2);
    await again.close();
  });
});

describe('schema changes', () => {
  test('interleaved versions make one more file, not one a record', async () => {
    const topic = new MemoryTopic();
    topic.register(1, [ID, column('old', 'string')]);
    topic.register(2, [ID, column('new', 'int32')]);
    for (const i of range(0, 100)) {
      const after = { id: BigInt(i), ...(i % 2 === 0 ? { old: `o${i}` } : { new: i }) };
      topic.append(1 + (i % 2), { after });
    }
    const connection = lake.newConnection();
    const writer = await lake.open(topic, connection);
    await writer.open(topic.target);
    for (let i = 0; i < 100; i += 10) await writer.write([topic.batch(i, i + 10)]);
    await writer.close();
    expect(await lake.files(connection)).toHaveLength(2);
    expect(await lake.offsets(connection)).toEqual(range(0, 100));
    const [sums] = await lake.query(
      connection,
      'select count(old), count("new"), sum("new") from FILES',
    );
    expect(sums).toEqual([50n, 50n, 2500n]);
  });

  test('columns once seen stay, also for a new instance', async () => {
    const topic = new MemoryTopic();
    topic.register(1, [ID, column('gone', 'string')]);
    topic.register(2, [ID]);
    topic.append(1, { after: { id: 0n, gone: 'x' } });
    topic.append(2, { after: { id: 1n } });
    const connection = lake.newConnection();
    for (const i of [0, 1]) {
      const writer = await lake.open(topic, connection);
      await writer.open(topic.target);
      await writer.write([topic.batch(i, i + 1)]);
      await writer.close();
    }
    const rows = await lake.query(connection, 'select id, gone from FILES order by id');
    expect(rows).toEqual([
      [0n, 'x'],
      [1n, null],
    ]);
  });

  test('integers and decimals widen; another type under the same name stops the stream alone', async () => {
    const topic = new MemoryTopic();
    const price = (precision: number) => column('price', 'decimal', { precision, scale: 2 });
    topic.register(1, [ID, column('n', 'int16'), price(8)]);
    topic.register(2, [ID, column('n', 'int64'), price(30)]);
    topic.register(3, [ID, column('n', 'string', { native: 'text' }), price(30)]);
    topic.append(1, { after: { id: 0n, n: 1, price: '1.50' } });
    topic.append(2, { after: { id: 1n, n: 2n ** 60n, price: '12345678901234567890.25' } });
    topic.append(3, { after: { id: 2n, n: 'text', price: '1' } });
    const connection = lake.newConnection();
    const writer = await lake.open(topic, connection);
    await writer.open(topic.target);
    await writer.write([topic.batch(0, 2)]);
    await expect(writer.write([topic.batch(2, 3)])).rejects.toMatchObject({
      code: 'DST_SCHEMA_INCOMPATIBLE',
      message: expect.stringContaining(
        'column n is INT64 in the files written so far and is now text',
      ),
      details: { stream: 'public.customers' },
    });
    await writer.close();
    const rows = await lake.query(connection, 'select n, price::varchar from FILES order by id');
    expect(rows).toEqual([
      [1n, '1.50'],
      [2n ** 60n, '12345678901234567890.25'],
    ]);
  });
});

test('a record that cannot be decoded holds its stream and spoils no file', async () => {
  const topic = topicOfIds(2);
  topic.appendRaw(Buffer.from([0, 0, 0, 0, 1, 7, 7]));
  const connection = lake.newConnection();
  const writer = await lake.open(topic, connection);
  await writer.open(topic.target);
  await writer.write([topic.batch(0, 3)]);
  await expect(writer.flush()).rejects.toMatchObject({
    code: 'EVT_UNDECODABLE',
    details: { stream: 'public.customers' },
  });
  expect(await lake.files(connection)).toEqual([]);
  await expect(writer.close()).rejects.toMatchObject({ code: 'EVT_UNDECODABLE' });
});

test('the loss of the encoding thread costs nothing: the range is read again', async () => {
  const topic = topicOfIds(20);
  const connection = lake.newConnection();
  const writer = await lake.open(topic, connection);
  await writer.open(topic.target);
  await writer.write([topic.batch(0, 10)]);
  await writer.flush();
  await writer.write([topic.batch(10, 15)]);
  const { encoder } = (writer as unknown as { context: { encoder: Encoder } }).context;
  await (encoder as unknown as { thread: { terminate(): Promise<number> } }).thread.terminate();
  await expect(writer.flush()).rejects.toMatchObject({ code: 'SNK_ENCODER_LOST' });
  expect(await writer.open(topic.target)).toBe(10);
  await writer.write([topic.batch(10, 20)]);
  await writer.close();
  expect(await lake.offsets(connection)).toEqual(range(0, 20));
});

test('the store is killed and comes back: delivery goes on by itself', async () => {
  const topic = topicOfIds(20);
  const connection = lake.newConnection();
  const writer = await lake.open(topic, connection, { rotation_seconds: 0.2 });
  await writer.open(topic.target);
  await writer.write([topic.batch(0, 10)]);
  await expect.poll(() => writer.durableOffset(topic.target), { timeout: 30_000 }).toBe(10);
  await lake.server.kill();
  await writer.write([topic.batch(10, 20)]);
  await expect(writer.flush()).rejects.toMatchObject({ code: 'DST_UNAVAILABLE' });
  await lake.server.restart();
  await expect.poll(() => writer.durableOffset(topic.target), { timeout: 60_000 }).toBe(20);
  await writer.close();
  expect(await lake.offsets(connection)).toEqual(range(0, 20));
});

test('a signal that aborts still lets the last file out', async () => {
  const topic = new MemoryTopic();
  topic.register(1, [column('id', 'int64', {}, true)]);
  topic.append(1, { after: { id: 1n } });
  const connection = lake.newConnection();
  const abort = new AbortController();
  const writer = await lake.open(topic, connection, {}, undefined, { signal: abort.signal });
  await writer.open(topic.target);
  await writer.write([topic.batch(0, 1)]);
  abort.abort();
  await writer.close();
  expect(await lake.offsets(connection)).toEqual([0]);
});

describe('check', () => {
  test('passes and leaves nothing behind', async () => {
    const result = await destination.check(lake.config({ s3_bucket_path: 'checked' }));
    expect(result).toEqual({ ok: true, message: expect.stringContaining('datalake') });
    expect(await lake.keys('checked')).toEqual([]);
  });

  test.each([
    ['bucket', { s3_bucket_name: 'no-such-bucket' }, 'there is no bucket no-such-bucket'],
    ['secret', { secret_access_key: 'wrong-secret-key' }, 'the keys are wrong'],
    ['key', { access_key_id: 'nobody' }, 'the keys are wrong'],
    ['endpoint', { s3_endpoint: 'http://127.0.0.1:1' }, 'http://127.0.0.1:1 cannot be reached'],
    [
      'codec',
      { format: { format_type: 'Parquet', compression_codec: 'LZO' } },
      'compression_codec LZO',
    ],
    ['format', { format: { format_type: 'CSV' } }, 'the only format is Parquet'],
  ])('names a wrong %s', async (_, wrong, message) => {
    const result = await destination.check(lake.config(wrong));
    expect(result.ok).toBe(false);
    expect(result.message).toContain(message);
    expect(result.message).not.toContain('wrong-secret-key');
  });

  test('a bucket that is missing at delivery', async () => {
    const topic = topicOfIds(1);
    const writer = await lake.open(topic, lake.newConnection(), {
      s3_bucket_name: 'no-such-bucket',
    });
    await expect(writer.open(topic.target)).rejects.toMatchObject({ code: 'DST_BUCKET_MISSING' });
    await writer.close();
  });
});
