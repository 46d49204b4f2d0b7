import { CreateMultipartUploadCommand, UploadPartCommand } from '@aws-sdk/client-s3';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { PipelineError } from '../../../../core/errors/pipeline-error.ts';
import type { S3Writer } from '../../../../connectors/destinations/s3/writer.ts';
import { streamLabel } from '../../../../schemas/catalog/stream-id.ts';
import { until } from '../../../support/rig.ts';
import { FaultyStore, type Moment, type Step } from './faulty-store.ts';
import { BUCKET } from './buckets.ts';
import { column, MemoryTopic, range } from './memory-topic.ts';
import { Lake } from './s3-fixture.ts';

/** Invariant 6: a kill at any instant costs nothing in the destination. */

const ID = column('id', 'int64', {}, true);
const TEXT = column('text', 'string');
const MORE = column('more', 'int32');

function topicOf(count: number): MemoryTopic {
  const topic = new MemoryTopic();
  topic.register(1, [ID, TEXT]);
  for (const i of range(0, count)) topic.append(1, { after: { id: BigInt(i), text: `t${i}` } });
  return topic;
}

/** Reads the topic from where the writer says, to its end, and makes it durable. */
async function deliver(writer: S3Writer, topic: MemoryTopic): Promise<number | null> {
  const from = await writer.open(topic.target);
  await writer.write([topic.batch(from ?? 0, topic.end)]);
  await writer.flush();
  expect(writer.durableOffset(topic.target)).toBe(topic.end);
  return from;
}

/** Ends a writer whose store is cut off: its last flush cannot work. */
async function abandon(writer: S3Writer): Promise<void> {
  await writer.close().catch(() => {});
}

const MOMENTS: [Step, Moment, number][] = [
  ['claim', 'before', 20],
  ['claim', 'after', 20],
  ['file', 'before', 20],
  ['file', 'after', 40],
  ['head', 'before', 40],
  ['head', 'after', 40],
];

describe.each(['minio', 'folder'] as const)('exactly once: %s', (kind) => {
  let lake: Lake;
  beforeAll(async () => {
    lake = await Lake.start(kind);
  });
  afterAll(async () => {
    await lake[Symbol.asyncDispose]();
  });

  test.each(MOMENTS)('a crash at the second %s, %s', async (step, moment, resumesAt) => {
    const topic = topicOf(60);
    const connection = lake.newConnection();
    let seen = 0;
    const faulty = await lake.open(topic, connection, {}, (store) => {
      return new FaultyStore(store, (s, m) => s === step && m === moment && ++seen === 2);
    });
    await faulty.open(topic.target);
    await faulty.write([topic.batch(0, 20)]);
    await faulty.flush();
    await faulty.write([topic.batch(20, 40)]);
    await expect(faulty.flush()).rejects.toThrow('cut off');
    const writer = await lake.open(topic, connection);
    expect(await deliver(writer, topic)).toBe(resumesAt);
    expect(await lake.offsets(connection)).toEqual(range(0, 60));
    await abandon(faulty);
    await writer.close();
  });

  test.runIf(kind === 'minio')(
    'a crash in the middle of an upload leaves no parts behind',
    async () => {
      const topic = topicOf(10);
      const connection = lake.newConnection();
      const faulty = await lake.open(topic, connection, {}, (store) => {
        return new FaultyStore(store, (step) => step === 'file');
      });
      await faulty.open(topic.target);
      await faulty.write([topic.batch(0, 10)]);
      await expect(faulty.flush()).rejects.toThrow('cut off');
      const claimKey = (await lake.keys(`${connection}/_headrace/`))[0] as string;
      const claim = JSON.parse(Buffer.from(await lake.object(claimKey)).toString()) as {
        files: { key: string }[];
      };
      const Key = claim.files[0]?.key as string;
      const upload = { Bucket: BUCKET, Key };
      const { UploadId } = await lake.client.send(new CreateMultipartUploadCommand(upload));
      await lake.client.send(
        new UploadPartCommand({ ...upload, UploadId, PartNumber: 1, Body: Buffer.alloc(100) }),
      );
      expect(await lake.openUploads(Key)).toBe(1);
      const writer = await lake.open(topic, connection);
      await deliver(writer, topic);
      expect(await lake.openUploads(Key)).toBe(0);
      expect(await lake.files(connection)).toEqual([Key]);
      expect(await lake.offsets(connection)).toEqual(range(0, 10));
      await abandon(faulty);
      await writer.close();
    },
  );

  describe('two instances', () => {
    test('the one that is behind is fenced and has written nothing', async () => {
      const topic = topicOf(50);
      const connection = lake.newConnection();
      const zombie = await lake.open(topic, connection);
      await zombie.open(topic.target);
      await zombie.write([topic.batch(0, 30)]);
      const owner = await lake.open(topic, connection);
      await deliver(owner, topic);
      await expect(zombie.flush()).rejects.toMatchObject({ code: 'SNK_FENCED' });
      expect(await lake.offsets(connection)).toEqual(range(0, 50));
      await abandon(zombie);
      await owner.close();
    });

    test('one that gets no further records tells that it is fenced', async () => {
      const topic = topicOf(50);
      const connection = lake.newConnection();
      const zombie = await lake.open(topic, connection, { rotation_seconds: 1 });
      await zombie.open(topic.target);
      const owner = await lake.open(topic, connection);
      await deliver(owner, topic);
      await zombie.write([topic.batch(0, 30)]);
      const stream = streamLabel(topic.target.stream.stream);
      const failure = await until('the rotation to be refused', async () => zombie.failure());
      expect(failure).toMatchObject({ code: 'SNK_FENCED', details: { stream } });
      expect(zombie.failure()).toBe(null);
      await abandon(zombie);
      await owner.close();
    });

    test('one that starts elsewhere in an empty partition is fenced too', async () => {
      const topic = topicOf(50);
      const connection = lake.newConnection();
      const one = await lake.open(topic, connection);
      const two = await lake.open(topic, connection);
      await one.open(topic.target);
      await two.open(topic.target);
      await one.write([topic.batch(17, 30)]);
      await two.write([topic.batch(0, 50)]);
      await one.flush();
      await expect(two.flush()).rejects.toMatchObject({ code: 'SNK_FENCED' });
      expect(await lake.offsets(connection)).toEqual(range(17, 30));
      await abandon(two);
      await one.close();
    });

    test('both finish one claim: one file, and the older one goes no further', async () => {
      const topic = topicOf(50);
      const connection = lake.newConnection();
      let held: (() => void) | undefined;
      const slow = await lake.open(topic, connection, {}, (store) => {
        const upload = store.uploadIfAbsent.bind(store);
        store.uploadIfAbsent = async (...args) => {
          await new Promise<void>((resolve) => (held = resolve));
          return upload(...args);
        };
        return store;
      });
      await slow.open(topic.target);
      await slow.write([topic.batch(0, 30)]);
      const flushed = slow.flush();
      await expect.poll(() => held !== undefined, { timeout: 30_000 }).toBe(true);
      const owner = await lake.open(topic, connection);
      expect(await deliver(owner, topic)).toBe(0);
      held?.();
      await flushed; // the same file was there already
      await slow.write([topic.batch(30, 50)]);
      await expect(slow.flush()).rejects.toMatchObject({ code: 'SNK_FENCED' });
      expect(await lake.offsets(connection)).toEqual(range(0, 50));
      await abandon(slow);
      await owner.close();
    });
  });

  test('a batch that overlaps is applied once; one that leaves a gap is refused', async () => {
    const topic = topicOf(30);
    const connection = lake.newConnection();
    const writer = await lake.open(topic, connection);
    await writer.open(topic.target);
    await writer.write([topic.batch(0, 10)]);
    await writer.write([topic.batch(0, 20)]);
    await expect(writer.write([topic.batch(21, 30)])).rejects.toMatchObject({ code: 'SNK_FENCED' });
    await writer.write([topic.batch(20, 30)]);
    await writer.close();
    expect(await lake.offsets(connection)).toEqual(range(0, 30));
  });

  test('files without claims are not written again from the start', async () => {
    const topic = topicOf(5);
    const connection = lake.newConnection();
    const writer = await lake.open(topic, connection);
    await deliver(writer, topic);
    await writer.close();
    for (const key of await lake.keys(`${connection}/_headrace/`)) await lake.remove(key);
    const again = await lake.open(topic, connection);
    await expect(again.open(topic.target)).rejects.toMatchObject({ code: 'DST_STATE_LOST' });
    await again.close();
  });

  /** A small repeatable generator (mulberry32). */
  function randomOf(seed: number): () => number {
    let state = seed;
    return () => {
      state = (state + 0x6d2b79f5) | 0;
      let t = Math.imul(state ^ (state >>> 15), 1 | state);
      t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
      return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
    };
  }

  interface Instance {
    readonly writer: S3Writer;
    at: number | null;
  }

  /** Up to three instances at once; each reads from where it was told to, flushes when it likes, and
   * is cut off at a random request. */
  async function randomSchedule(seed: number): Promise<void> {
    const random = randomOf(seed);
    const topic = topicOf(150);
    topic.register(2, [ID, TEXT, MORE]);
    for (const i of range(150, 300)) {
      const wide = random() < 0.5;
      topic.append(wide ? 2 : 1, {
        after: { id: BigInt(i), text: 'x', ...(wide ? { more: i } : {}) },
      });
    }
    const connection = lake.newConnection();
    const running: Instance[] = [];
    const gone: S3Writer[] = [];
    const start = async (): Promise<void> => {
      const risk = random() * 0.2;
      const writer = await lake.open(topic, connection, { rotation_rows: 20 }, (store) => {
        return new FaultyStore(store, () => random() < risk);
      });
      try {
        running.push({ writer, at: await writer.open(topic.target) });
      } catch {
        gone.push(writer);
      }
    };
    for (let turn = 0; turn < 40; turn++) {
      if (running.length === 0 || (running.length < 3 && random() < 0.1)) await start();
      const index = Math.floor(random() * running.length);
      const instance = running[index];
      if (instance === undefined) continue;
      const first = instance.at ?? 0;
      const next = Math.min(topic.end, first + 1 + Math.floor(random() * 30));
      try {
        if (next > first) await instance.writer.write([topic.batch(first, next)]);
        instance.at = next;
        if (random() < 0.3) await instance.writer.flush();
      } catch {
        gone.push(...running.splice(index, 1).map(({ writer }) => writer));
      }
    }
    // The others still run in the background, so the last one may be fenced; then it begins anew.
    for (let attempt = 0, done = false; !done; attempt++) {
      const last = await lake.open(topic, connection);
      done = await deliver(last, topic).then(
        () => true,
        (error: unknown) => {
          if ((error as PipelineError).code !== 'SNK_FENCED' || attempt === 9) throw error;
          return false;
        },
      );
      await abandon(last);
    }
    expect(await lake.offsets(connection), `seed ${seed}`).toEqual(range(0, topic.end));
    for (const writer of [...gone, ...running.map((instance) => instance.writer)])
      await abandon(writer);
    // What the forgotten ones still tried at their end has changed nothing.
    expect(await lake.offsets(connection), `seed ${seed}`).toEqual(range(0, topic.end));
  }

  test('random schedules', async () => {
    const seed = Math.floor(Math.random() * 1_000_000);
    console.log(`random schedules: seed ${seed}`);
    for (let i = 0; i < (kind === 'minio' ? 10 : 4); i++) await randomSchedule(seed + i);
  }, 180_000);
});
