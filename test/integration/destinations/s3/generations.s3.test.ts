import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { S3Writer } from '../../../../connectors/destinations/s3/writer.ts';
import type { Generation } from '../../../../connectors/destinations/s3/generation-chain.ts';
import { FaultyStore } from './faulty-store.ts';
import { randomChanges, randomOf, type Workload } from './key-workload.ts';
import { column, MemoryTopic, range } from './memory-topic.ts';
import { Lake } from './s3-fixture.ts';

/** One row per key, and copies that are swapped whole, as plain Parquet. */

const ID = column('id', 'int64', {}, true);
const TEXT = column('text', 'string');
const PRICE = column('price', 'decimal', { precision: 30, scale: 3 });

function dedupedTopic(): MemoryTopic {
  const topic = new MemoryTopic({ mode: 'append_dedup' });
  topic.register(1, [ID, TEXT, PRICE]);
  return topic;
}

async function deliver(writer: S3Writer, topic: MemoryTopic, end = topic.end): Promise<void> {
  const from = (await writer.open(topic.target)) ?? 0;
  await writer.write([topic.batch(from, end)]);
  await writer.flush();
  expect(writer.durableOffset(topic.target)).toBe(end);
}

describe.each(['minio', 'folder'] as const)('generations: %s', (kind) => {
  let lake: Lake;
  beforeAll(async () => {
    lake = await Lake.start(kind);
  });
  afterAll(async () => {
    await lake[Symbol.asyncDispose]();
  });

  test('one row per key: changes, deletes, a key that changes, cells that were not sent', async () => {
    const topic = dedupedTopic();
    const row = (id: number, text: string | null, price: string | null) => ({
      id: BigInt(id),
      text,
      price,
    });
    for (const id of range(0, 5)) topic.append(1, { after: row(id, `first ${id}`, `${id}.125`) });
    const connection = lake.newConnection();
    const writer = await lake.open(topic, connection);
    await deliver(writer, topic);
    topic.append(1, { op: 'u', after: row(0, null, '7'), unchanged: ['text'] });
    topic.append(1, { op: 'd', before: row(1, null, null) });
    topic.appendTombstone(row(1, null, null));
    topic.append(1, { op: 'd', before: row(2, null, null) });
    topic.append(1, { after: row(22, 'was 2', '99999999999999999999999999.999') });
    topic.append(1, { op: 'd', before: row(3, null, null) });
    topic.append(1, { after: row(3, 'again', null) });
    topic.append(1, { op: 'u', after: row(3, null, '-1.5'), unchanged: ['text'] });
    topic.append(1, { op: 'u', after: row(4, null, '5'), unchanged: ['text'] });
    topic.append(1, { op: 'u', after: row(4, 'second 4', null), unchanged: ['price'] });
    await deliver(writer, topic);
    const sql = 'select id, text, price::text, _headrace_unchanged from ROWS order by id';
    const expected = [
      [0n, 'first 0', '7.000', null],
      [3n, 'again', '-1.500', null],
      [4n, 'second 4', '5.000', null],
      [22n, 'was 2', '99999999999999999999999999.999', null],
    ];
    expect(await lake.published(connection, sql)).toEqual(expected);
    expect(await lake.inFolder(connection, sql)).toEqual(expected);
    await writer.close();
  });

  test('overwrite: a copy is seen when it is whole, and not before', async () => {
    const topic = new MemoryTopic({ mode: 'overwrite', primaryKey: [] });
    topic.register(1, [column('id', 'int64'), TEXT]);
    topic.offersLatest = true;
    const connection = lake.newConnection();
    const ids = 'select id from ROWS order by id';
    const seen = async (): Promise<unknown[][]> => {
      const rows = await lake.published(connection, ids);
      expect(await lake.inFolder(connection, ids)).toEqual(rows);
      return rows;
    };
    const begin = (epoch: number): number => topic.append(1, { op: 't', epoch });
    const end = (epoch: number): number => topic.append(1, { op: 'm', epoch });
    const row = (id: number, epoch: number): number =>
      topic.append(1, { op: 'r', epoch, after: { id: BigInt(id), text: 'x' } });
    let writer = await lake.open(topic, connection);
    expect(await writer.open(topic.target)).toBe(null);
    expect(await seen()).toEqual([]);

    begin(1);
    for (const id of range(0, 3)) row(id, 1);
    await writer.write([topic.batch(0, topic.end)]);
    await writer.flush();
    expect(writer.durableOffset(topic.target)).toBe(0);
    expect(await seen()).toEqual([]);
    end(1);
    await writer.write([topic.batch(4, topic.end)]);
    expect(writer.durableOffset(topic.target)).toBe(5);
    expect(await seen()).toEqual([[0n], [1n], [2n]]);

    // A copy without an end, whose instance is gone, is replaced by the next one.
    begin(2);
    row(100, 2);
    await writer.write([topic.batch(5, topic.end)]);
    const zombie = writer;
    writer = await lake.open(topic, connection);
    expect(await writer.open(topic.target)).toBe(5);
    begin(3);
    row(7, 3);
    end(3);
    await writer.write([topic.batch(5, topic.end)]);
    expect(await seen()).toEqual([[7n]]);
    const late = zombie.write([topic.batch(7, topic.end)]);
    await expect(late).rejects.toMatchObject({ code: 'SNK_FENCED' });
    expect(await seen()).toEqual([[7n]]);

    begin(4);
    end(4);
    await writer.write([topic.batch(10, topic.end)]);
    expect(await seen()).toEqual([]);
    expect(await writer.open(topic.target)).toBe(topic.end);
    await zombie.close();
    await writer.close();
  });

  /** What the newest manifest promises is what is read. */
  async function expectWhole(
    connection: string,
    workload: Workload,
    seed: number,
  ): Promise<number> {
    const keys = (await lake.keys(`${connection}/`)).filter((key) => key.endsWith('.json')).sort();
    const manifest = JSON.parse(
      Buffer.from(await lake.object(keys.at(-1) as string)).toString(),
    ) as Generation;
    const next = manifest.offsets.next ?? 0;
    const has = manifest.columns.some(({ name }) => name === 'added');
    const columns = `id, text, body, amount::text${has ? ', added' : ''}`;
    const rows = await lake.published(connection, `select ${columns} from ROWS order by id`);
    const expected = [...workload.rowsAt(next)]
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([id, row]) => (has ? [id, ...row] : [id, ...row.slice(0, 3)]));
    expect(rows, `seed ${seed}, offset ${next}`).toEqual(expected);
    return next;
  }

  test('random changes, cut off anywhere, several instances at once', async () => {
    const seed = Math.floor(Math.random() * 1_000_000);
    console.log(`random changes: seed ${seed}`);
    for (let round = 0; round < (kind === 'minio' ? 2 : 1); round++) {
      await randomSchedule(seed + round);
    }
  }, 240_000);

  async function randomSchedule(seed: number): Promise<void> {
    const random = randomOf(seed);
    const workload = randomChanges(seed, 600, 60);
    const { topic } = workload;
    const connection = lake.newConnection();
    // Files of few rows: a generation has many, and most changes touch some of them.
    const config = { format: { format_type: 'Parquet', block_size_mb: 0.002 } };
    const running: { writer: S3Writer; at: number }[] = [];
    const gone: S3Writer[] = [];
    const start = async (): Promise<void> => {
      const risk = random() * 0.03;
      const writer = await lake.open(topic, connection, config, (store) => {
        return new FaultyStore(store, () => random() < risk);
      });
      try {
        running.push({ writer, at: (await writer.open(topic.target)) ?? 0 });
      } catch {
        gone.push(writer);
      }
    };
    for (let turn = 0; turn < 40; turn++) {
      if (running.length === 0 || (running.length < 3 && random() < 0.1)) await start();
      const index = Math.floor(random() * running.length);
      const instance = running[index];
      if (instance === undefined) continue;
      const next = Math.min(topic.end, instance.at + 1 + Math.floor(random() * 60));
      try {
        if (next > instance.at) await instance.writer.write([topic.batch(instance.at, next)]);
        instance.at = next;
        if (random() < 0.5) await instance.writer.flush();
      } catch {
        gone.push(...running.splice(index, 1).map(({ writer }) => writer));
      }
      if (turn % 10 === 9) await expectWhole(connection, workload, seed);
    }
    const last = await lake.open(topic, connection, config);
    await deliver(last, topic);
    expect(await expectWhole(connection, workload, seed)).toBe(topic.end);
    for (const writer of [...gone, ...running.map((instance) => instance.writer)]) {
      await writer.close().catch(() => {});
    }
    // What the forgotten ones still tried at their end has changed nothing.
    expect(await expectWhole(connection, workload, seed)).toBe(topic.end);
    const count = 'select count(*), count(distinct id) from ROWS';
    const rows = BigInt(workload.rowsAt(topic.end).size);
    expect(await lake.inFolder(connection, count), `seed ${seed}`).toEqual([[rows, rows]]);
    await last.close();
  }
});
