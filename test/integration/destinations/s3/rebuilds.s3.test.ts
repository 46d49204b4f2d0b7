import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { DuckDBInstance, type DuckDBConnection } from '@duckdb/node-api';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Replay } from '../../../../connectors/spi/destination.ts';
import type { S3Writer } from '../../../../connectors/destinations/s3/writer.ts';
import { until } from '../../../support/rig.ts';
import { AppendedMirror } from './appended-mirror.ts';
import { readAppended } from './appended-reader.ts';
import { deliverInSteps, type DeliverySteps } from './delivery-steps.ts';
import { runInterrupted } from './interrupted-program.ts';
import type { RebuilderOrder } from './interrupted-rebuilder.ts';
import { randomOf } from './key-workload.ts';
import { column, MemoryTopic, range, topicOfIds } from './memory-topic.ts';
import { Lake } from './s3-fixture.ts';

/** Appended streams are delivered again from their topic, beside what is there. */

const PROGRAM = fileURLToPath(new URL('./interrupted-rebuilder.ts', import.meta.url));
const SOON = { generation_retention_seconds: 4 };
const JOINED = { ...SOON, join_small_files: true, join_from_files: 4 };

let database: DuckDBConnection;
beforeAll(async () => {
  database = await (await DuckDBInstance.create()).connect();
});
afterAll(() => database.closeSync());

const PLACES = [
  's3.before_claim=2*kill',
  's3.after_claim=2*kill',
  's3.after_upload=2*kill',
  's3.claim_closed=6*kill',
  'before putIfAbsent /rebuilds/',
  'after putIfAbsent /rebuilds/',
  // The end of the chain before.
  'before putIfAbsent /00000000000000000030.json',
  'after putIfAbsent /00000000000000000030.json',
  'before copy /staged/',
  'after copy /staged/',
  'before putIfAbsent /_rebuilds/',
  'after putIfAbsent /_rebuilds/',
  'after delete /staged/',
];

/** A folder is another store in how it copies and makes what nobody else has made: the rest is said by
 * one of both. */
function placesFor(kind: 'minio' | 'folder'): readonly string[] {
  return kind === 'minio' ? PLACES : PLACES.filter((place) => /copy|_rebuilds/.test(place));
}

describe.each(['minio', 'folder'] as const)('appended files are rebuilt: %s', (kind) => {
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
  ): Promise<number | null> => deliverInSteps(writer, topic, replay, { step: 5, ...steps });

  /** A reader of a store by the documented way in: the names of rebuilds first, then the files. */
  class Reader {
    reads = 0;
    besides = 0;
    private readonly mirror: AppendedMirror;

    constructor(connection: string) {
      this.mirror = new AppendedMirror(lake, connection);
    }

    async rows(sql: string): Promise<unknown[][]> {
      const { folder, keys } = await this.mirror.take();
      this.reads++;
      if (new Set(keys.map((key) => /-r\d+-/.exec(key)?.[0])).size > 1) this.besides++;
      return readAppended(database, folder, sql);
    }

    /** First id and end of the ids; each between must be there once. */
    async span(): Promise<{ first: number; end: number }> {
      const [row] = await this.rows(
        'select count(*), count(distinct id), min(id), max(id) + 1 from ROWS',
      );
      const [rows, distinct, first, end] = (row as bigint[]).map(Number) as [
        number,
        number,
        number,
        number,
      ];
      expect([rows, distinct]).toEqual([end - first, end - first]);
      return { first, end };
    }
  }

  test('lost and spoilt files are mended; nobody sees it before it is whole', async () => {
    const topic = topicOfIds(90);
    const connection = lake.newConnection();
    const reader = new Reader(connection);
    let writer = await lake.open(topic, connection, SOON);
    await deliver(writer, topic, null, { to: 60 });
    const [lost] = await lake.files(connection);
    await lake.remove(lost as string);
    const old = (await lake.files(connection)).toSorted();
    const replay = { id: 'first', from: 0, until: 60, rebuild: true };
    const durable: number[] = [];
    const unseen = async (): Promise<void> => {
      durable.push(writer.durableOffset(topic.target));
      expect(await reader.span()).toEqual({ first: 5, end: 60 });
      const there = (await lake.files(connection)).filter((key) => !key.includes('/staged/'));
      expect(there.toSorted()).toEqual(old);
    };
    expect(await deliver(writer, topic, replay, { to: 40, seen: unseen })).toBe(0);
    expect(new Set(durable)).toEqual(new Set([0]));
    await writer.close();

    // What is in the bucket is not read again.
    writer = await lake.open(topic, connection, SOON);
    expect(await deliver(writer, topic, replay, { to: 60 })).toBe(40);
    expect(writer.durableOffset(topic.target)).toBe(60);
    expect(await reader.span()).toEqual({ first: 0, end: 60 });
    // The order is carried out: the next start goes on behind it.
    expect(await deliver(writer, topic, replay)).toBe(60);
    expect(await reader.span()).toEqual({ first: 0, end: 90 });
    await until('the files before to be gone', async () =>
      (await lake.files(connection)).every((key) => key.includes('-r1-')),
    );
    expect(await lake.offsets(connection)).toEqual(range(0, 90));
    await writer.close();
  }, 240_000);

  test('from an offset, from the end, and one order after the other', async () => {
    const topic = topicOfIds(40);
    const connection = lake.newConnection();
    const reader = new Reader(connection);
    const writer = await lake.open(topic, connection, SOON);
    await deliver(writer, topic, null, { to: 30 });
    const order = (id: string, from: number): Replay => ({ id, from, until: 30, rebuild: true });
    // Given up half-way for another one.
    expect(await deliver(writer, topic, order('a', 0), { to: 20 })).toBe(0);
    expect(await deliver(writer, topic, order('b', 10), { to: 30 })).toBe(10);
    expect(await reader.span()).toEqual({ first: 10, end: 30 });
    expect(await deliver(writer, topic, order('c', 30), { to: 30 })).toBe(30);
    expect(writer.durableOffset(topic.target)).toBe(30);
    expect(await deliver(writer, topic, order('c', 30))).toBe(30);
    expect(await reader.span()).toEqual({ first: 30, end: 40 });
    await until('what was there before to be gone', async () =>
      (await lake.files(connection)).every((key) => key.includes('-r3-')),
    );
    expect(await lake.offsets(connection)).toEqual(range(30, 40));
    await writer.close();
  }, 120_000);

  test('without the claims a rebuild is the way back', async () => {
    const topic = topicOfIds(40);
    const connection = lake.newConnection();
    const config = { ...SOON, generation_retention_seconds: 600 };
    let writer = await lake.open(topic, connection, config);
    const order = (id: string): Replay => ({ id, from: 0, until: 20, rebuild: true });
    await deliver(writer, topic, null, { to: 20 });
    await deliver(writer, topic, order('a'), { to: 20 });
    await writer.close();
    for (const key of await lake.keys(`${connection}/_headrace/`)) await lake.remove(key);
    writer = await lake.open(topic, connection, config);
    await expect(writer.open(topic.target)).rejects.toMatchObject({ code: 'DST_STATE_LOST' });
    expect(await deliver(writer, topic, order('b'))).toBe(0);
    expect(await new Reader(connection).span()).toEqual({ first: 0, end: 40 });
    await writer.close();
  }, 120_000);

  test('date folders and the fields of documents', async () => {
    const topic = new MemoryTopic();
    topic.register(1, [column('id', 'int64', {}, true), column('doc', 'json')]);
    for (const id of range(0, 40)) {
      const tsUs = 1_700_000_000_000_000n + BigInt(id) * 7_200_000_000n;
      topic.append(1, { after: { id: BigInt(id), doc: `{"k${id % 4}": ${id}}` }, tsUs });
    }
    const connection = lake.newConnection();
    const writer = await lake.open(topic, connection, { ...JOINED, partition_by: 'day' });
    await deliver(writer, topic, null);
    const all = 'select id, doc, doc_k0, doc_k1, doc_k2, doc_k3 from FILES order by id';
    await until('small files to be joined', async () => {
      const { length } = await lake.offsets(connection).catch(() => []);
      return length === 40;
    });
    const before = await lake.query(connection, all);
    await deliver(writer, topic, { id: 'again', from: 0, until: 40, rebuild: true });
    await until('what was there before to be gone', async () => {
      const files = await lake.files(connection);
      return files.every((key) => /\/dt=2023-11-\d\d\/[^/]*-r1-/.test(key));
    });
    await until('small files to be joined', async () => {
      const { length } = await lake.offsets(connection).catch(() => []);
      return length === 40;
    });
    expect(await lake.query(connection, all)).toEqual(before);
    await writer.close();
  }, 240_000);

  const order = (connection: string): RebuilderOrder => ({
    config: lake.connectionConfig(connection, SOON),
    connectionId: connection,
    scratchFolder: mkdtempSync(join(lake.scratch, 'rebuilder-')),
    count: 30,
    step: 5,
    rebuild: null,
    signal: 'SIGKILL',
    atRequest: 0,
    failpoints: null,
    moment: null,
  });

  test.each(placesFor(kind))(
    'killed: %s',
    async (place) => {
      const connection = lake.newConnection();
      const reader = new Reader(connection);
      expect(await run(order(connection), [])).toBe(0);
      const rebuild = { number: 1, from: 3, until: 30 };
      const again = { ...order(connection), count: 40, rebuild };
      const [when, method, key] = place.split(' ') as ['before' | 'after', string, string];
      const moment = key === undefined ? {} : { moment: { when, method, key } };
      const failpoints = key === undefined ? place : null;
      expect(await run({ ...again, failpoints, ...moment }, [])).toBeNull();
      const isShown = place.includes('delete') || place === 'after putIfAbsent /_rebuilds/';
      const seen = await reader.span();
      expect(seen.first).toBe(isShown ? 3 : 0);
      expect(seen.end).toBeGreaterThanOrEqual(isShown ? 33 : 30);
      expect(seen.end).toBeLessThanOrEqual(isShown ? 40 : 30);
      expect(await run({ ...again, ...scratch() }, [])).toBe(0);
      expect(await reader.span()).toEqual({ first: 3, end: 40 });
      expect(await lake.offsets(connection)).toEqual(range(3, 40));
    },
    120_000,
  );

  const scratch = (): { scratchFolder: string } => ({
    scratchFolder: mkdtempSync(join(lake.scratch, 'rebuilder-')),
  });

  test('a reader sees the old or the new while rebuilders are killed, and stopped to go on later', async () => {
    const seed = Math.floor(Math.random() * 1_000_000);
    console.log(`rebuilds: seed ${seed}`);
    const random = randomOf(seed);
    const connection = lake.newConnection();
    const reader = new Reader(connection);
    const first = { ...order(connection), config: lake.connectionConfig(connection, JOINED) };
    expect(await run(first, [])).toBe(0);
    let done = false;
    let last = { first: 0, end: 30 };
    const reading = (async () => {
      while (!done) {
        const now = await reader.span();
        const why = `seed ${seed}: ${JSON.stringify([last, now])}`;
        expect(now.first, why).toBeGreaterThanOrEqual(last.first);
        expect(now.end, why).toBeGreaterThanOrEqual(last.end);
        last = now;
        await delay(20);
      }
    })();
    reading.catch(() => undefined);
    const zombies: ChildProcess[] = [];
    try {
      for (const number of range(1, 6)) {
        const count = 30 + 10 * number;
        const rebuild = { number, from: number, until: count - 10 };
        for (let n = 0; ; n++) {
          const signal = n % 2 === 1 ? 'SIGSTOP' : 'SIGKILL';
          const atRequest = n < 3 ? 4 + Math.floor(random() * 60) : 0;
          const next = { ...first, ...scratch(), count, rebuild, signal, atRequest } as const;
          if ((await run(next, zombies)) === 0) break;
          if (zombies.length > 1) zombies.shift()?.kill('SIGCONT');
        }
        await reader.span().then((span) => expect(span).toEqual({ first: number, end: count }));
      }
      for (const zombie of zombies.splice(0)) {
        const gone = once(zombie, 'exit');
        zombie.kill('SIGCONT');
        await gone;
      }
      done = true;
      await reading;
      console.log(`${reader.reads} reads, ${reader.besides} beside files of another rebuild`);
      expect(reader.besides).toBeGreaterThan(0);
      const rebuild = { number: 5, from: 5, until: 70 };
      expect(await run({ ...first, ...scratch(), count: 84, rebuild }, zombies)).toBe(0);
      expect(await reader.span()).toEqual({ first: 5, end: 84 });
    } finally {
      done = true;
      for (const zombie of zombies) zombie.kill('SIGKILL');
    }
  }, 480_000);
});

function run(order: RebuilderOrder, zombies: ChildProcess[]): Promise<number | null> {
  return runInterrupted(PROGRAM, order, zombies);
}
