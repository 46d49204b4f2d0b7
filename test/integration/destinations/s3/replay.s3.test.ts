import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Replay } from '../../../../connectors/spi/destination.ts';
import type { Generation } from '../../../../connectors/destinations/s3/generation-chain.ts';
import type { S3Writer } from '../../../../connectors/destinations/s3/writer.ts';
import { deliverInSteps, type DeliverySteps } from './delivery-steps.ts';
import { randomChanges, type Workload } from './key-workload.ts';
import { column, MemoryTopic, range } from './memory-topic.ts';
import { Lake } from './s3-fixture.ts';

/** Streams kept as generations are delivered again from their topic. */

const CONFIG = { format: { format_type: 'Parquet', block_size_mb: 0.002 } };

describe.each(['minio', 'folder'] as const)('replay: %s', (kind) => {
  let lake: Lake;
  beforeAll(async () => {
    lake = await Lake.start(kind);
  });
  afterAll(async () => {
    await lake[Symbol.asyncDispose]();
  });

  const deliver = (
    writer: S3Writer,
    topic: MemoryTopic,
    replay: Replay | null,
    steps: Partial<DeliverySteps> = {},
  ): Promise<number | null> => deliverInSteps(writer, topic, replay, { step: 50, ...steps });

  async function newest(connection: string): Promise<Generation> {
    const keys = (await lake.keys(`${connection}/production_public`)).filter((key) =>
      key.endsWith('.json'),
    );
    const text = Buffer.from(await lake.object(keys.toSorted().at(-1) as string)).toString();
    return JSON.parse(text) as Generation;
  }

  async function expectRows(connection: string, { rowsAt }: Workload, end: number, why: string) {
    const sql = 'select id, text, body, amount::text, added from ROWS order by id';
    const expected = [...rowsAt(end)]
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([id, row]) => [id, ...row]);
    expect(await lake.published(connection, sql), why).toEqual(expected);
    expect(await lake.inFolder(connection, sql), why).toEqual(expected);
  }

  test.each([true, false])(
    'one row per key, rebuild %s',
    async (rebuild) => {
      const seed = Math.floor(Math.random() * 1_000_000);
      console.log(`replayed changes: seed ${seed}`);
      const why = `seed ${seed}`;
      const workload = randomChanges(seed, 400, 40);
      const { topic } = workload;
      const connection = lake.newConnection();
      const replay = { id: 'first', from: 0, until: 300, rebuild };
      let writer = await lake.open(topic, connection, CONFIG);
      await deliver(writer, topic, null, { to: 300 });
      const { generation } = await newest(connection);

      // Cut off half-way: nobody has seen anything of it.
      const durable: number[] = [];
      const unseen = async (): Promise<void> => {
        durable.push(writer.durableOffset(topic.target));
        await expectRows(connection, workload, 300, why);
      };
      expect(await deliver(writer, topic, replay, { to: 200, seen: unseen })).toBe(0);
      expect(durable).toEqual([0, 0, 0, 0]);
      expect((await newest(connection)).generation).toBe(generation + 1);
      await writer.close();

      // A lost file of the old copy does no harm to a rebuild.
      const lost = (await newest(connection)).files[0]?.key as string;
      writer = await lake.open(topic, connection, CONFIG);
      if (rebuild) await lake.remove(lost);
      expect(await deliver(writer, topic, replay, { to: 300 })).toBe(0);
      expect(writer.durableOffset(topic.target)).toBe(300);
      expect(await newest(connection)).toMatchObject({
        replay: 'first',
        offsets: { first: 0, next: 300 },
      });
      await expectRows(connection, workload, 300, why);

      // The order is carried out: the next start and what comes then have nothing to do with it.
      expect(await deliver(writer, topic, replay)).toBe(300);
      await expectRows(connection, workload, topic.end, why);
      expect((await newest(connection)).replay).toBe('first');
      await writer.close();
    },
    240_000,
  );

  test('from the middle: a rebuild is what the rest says, in place nothing is lost', async () => {
    const topic = new MemoryTopic({ mode: 'append_dedup' });
    topic.register(1, [column('id', 'int64', {}, true)]);
    topic.offersLatest = true;
    for (const id of range(0, 20)) topic.append(1, { after: { id: BigInt(id) } });
    const connection = lake.newConnection();
    const writer = await lake.open(topic, connection, CONFIG);
    await deliver(writer, topic, null);
    const ids = async (): Promise<unknown> =>
      (await lake.published(connection, 'select id::int from ROWS order by id')).flat();
    await deliver(writer, topic, { id: 'a', from: 15, until: 20, rebuild: false });
    expect(await ids()).toEqual(range(0, 20));
    await deliver(writer, topic, { id: 'b', from: 15, until: 20, rebuild: true });
    expect(await ids()).toEqual(range(15, 20));
    // Behind the end there is nothing: a rebuild from there is over at once.
    await deliver(writer, topic, { id: 'c', from: 20, until: 20, rebuild: true });
    await writer.flush();
    expect(writer.durableOffset(topic.target)).toBe(20);
    expect(await ids()).toEqual([]);
    await writer.close();
  }, 120_000);

  test('overwrite: the last copy is made anew, an older one is never shown', async () => {
    const topic = new MemoryTopic({ mode: 'overwrite', primaryKey: [] });
    topic.register(1, [column('id', 'int64')]);
    const copy = (epoch: number, rows: readonly number[]): void => {
      topic.append(1, { op: 't', epoch });
      for (const id of rows) topic.append(1, { op: 'r', epoch, after: { id: BigInt(id) } });
      topic.append(1, { op: 'm', epoch });
    };
    copy(1, [1, 2, 3]);
    copy(2, [4, 5]);
    const connection = lake.newConnection();
    const writer = await lake.open(topic, connection);
    await deliver(writer, topic, null);
    const ids = async (): Promise<unknown> =>
      (await lake.published(connection, 'select id::int from ROWS order by id')).flat();
    const replay = { id: 'x', from: 0, until: topic.end, rebuild: true };
    const seen = async (): Promise<void> => expect(await ids()).toEqual([4, 5]);
    expect(await deliver(writer, topic, replay, { step: 1, seen })).toBe(0);
    expect(await newest(connection)).toMatchObject({ replay: 'x', rows: 2 });
    expect(writer.durableOffset(topic.target)).toBe(topic.end);
    copy(3, [6]);
    expect(await deliver(writer, topic, replay)).toBe(9);
    expect(await ids()).toEqual([6]);
    await writer.close();
  }, 120_000);
});
