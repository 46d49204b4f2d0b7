import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { openAppendedFiles } from '../../../../connectors/destinations/s3/appended-files.ts';
import { column, MemoryTopic, type Row } from './memory-topic.ts';
import { Lake } from './s3-fixture.ts';

let lake: Lake;
beforeAll(async () => {
  lake = await Lake.start();
});
afterAll(async () => {
  await lake[Symbol.asyncDispose]();
});

async function repeatedKeys(topic: MemoryTopic, connectionId: string): Promise<number | undefined> {
  const copy = await openAppendedFiles({
    config: lake.connectionConfig(connectionId),
    connectionId,
    topic: topic.target.topic,
    partitions: [0],
    stream: topic.target.stream,
    scratchFolder: lake.scratch,
  });
  try {
    return await copy.look(async (view) => view.repeatedKeys?.());
  } finally {
    await copy.close();
  }
}

async function write(topic: MemoryTopic, connectionId: string, from = 0): Promise<void> {
  const writer = await lake.open(topic, connectionId);
  await writer.open(topic.target);
  await writer.write([topic.batch(from, topic.end)]);
  await writer.close();
}

describe('keys that appended files have more than once', () => {
  test('are counted over all files, to the last digit and byte', async () => {
    const topic = new MemoryTopic({ primaryKey: ['größe', 'price', 'raw', 'at'] });
    topic.register(3, [
      column('größe', 'string', {}, true),
      column('price', 'decimal', { precision: 38, scale: 10 }, true),
      column('raw', 'bytes', {}, true),
      column('at', 'timestamp', {}, true),
      column('n', 'int32'),
    ]);
    const key = (change: Row = {}): Row => ({
      gr__e: 'a',
      price: '9999999999999999999999999999.0000000001',
      raw: Buffer.from([255, 0]),
      at: 1_700_000_000_000_001n,
      n: 1,
      ...change,
    });
    const others = [
      key({ price: '9999999999999999999999999999.0000000002' }),
      key({ raw: Buffer.from([254, 0]) }),
      key({ at: 1_700_000_000_000_002n }),
      key({ gr__e: 'b' }),
    ];
    for (const after of [key(), ...others]) topic.append(3, { after });
    const connection = lake.newConnection();
    expect(await repeatedKeys(topic, connection)).toBe(0);
    await write(topic, connection);
    expect(await repeatedKeys(topic, connection)).toBe(0);
    const from = topic.end;
    topic.append(3, { after: key({ n: 2 }) });
    topic.append(3, { op: 'u', after: { ...others[1], n: 3 } });
    topic.append(3, { op: 'd', before: others[3] as Row });
    await write(topic, connection, from);
    expect(await repeatedKeys(topic, connection)).toBe(2);
  });

  test('are not asked for where there is no key, or one row of each', async () => {
    for (const stream of [{ primaryKey: [] }, { mode: 'append_dedup' as const }]) {
      const topic = new MemoryTopic(stream);
      topic.register(3, [column('id', 'int32', {}, stream.primaryKey === undefined)]);
      topic.append(3, { after: { id: 1 } });
      const connection = lake.newConnection();
      await write(topic, connection);
      expect(await repeatedKeys(topic, connection)).toBeUndefined();
    }
  });
});
