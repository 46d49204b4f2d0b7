import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { DuckDBInstance, type DuckDBConnection } from '@duckdb/node-api';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import {
  fileRange,
  sortFiles,
  type SortedFiles,
} from '../../../../connectors/destinations/s3/file-ranges.ts';
import { AppendedMirror } from './appended-mirror.ts';
import { readAppended } from './appended-reader.ts';
import { runInterrupted } from './interrupted-program.ts';
import type { JoinerOrder } from './interrupted-joiner.ts';
import { randomOf } from './key-workload.ts';
import { column, MemoryTopic, range, topicOfIds } from './memory-topic.ts';
import { Lake } from './s3-fixture.ts';

const PROGRAM = fileURLToPath(new URL('./interrupted-joiner.ts', import.meta.url));
const SMALL = { join_small_files: true, join_from_files: 4, generation_retention_seconds: 5 };

let database: DuckDBConnection;
beforeAll(async () => {
  database = await (await DuckDBInstance.create()).connect();
});
afterAll(() => database.closeSync());

describe.each(['minio', 'folder'] as const)('small files are joined: %s', (kind) => {
  let lake: Lake;
  beforeAll(async () => {
    lake = await Lake.start(kind);
  });
  afterAll(async () => {
    await lake[Symbol.asyncDispose]();
  });

  /** A reader of a store: lists, takes what the list names, and sorts it out by the way in. */
  class Reader {
    sawReplaced = 0;
    reads = 0;
    private readonly connection: string;
    private readonly mirror: AppendedMirror;

    constructor(connection: string) {
      this.connection = connection;
      this.mirror = new AppendedMirror(lake, connection);
    }

    async rows(sql: string): Promise<unknown[][]> {
      const { folder, keys } = await this.mirror.take();
      const ranges = keys
        .map((key) => fileRange({ key, bytes: 0 }))
        .filter((file) => file !== null);
      if (sortFiles(ranges).replaced.length > 0) this.sawReplaced++;
      this.reads++;
      return readAppended(database, folder, sql);
    }

    /** End of the offsets that are read; each must be there once. */
    async end(): Promise<number> {
      if ((await lake.files(this.connection)).length === 0) return 0;
      const [row] = await this.rows('select count(*), count(distinct id), max(id) from ROWS');
      const [rows, distinct, last] = row as [bigint, bigint, bigint];
      expect([rows, distinct]).toEqual([last + 1n, last + 1n]);
      return Number(rows);
    }
  }

  test('each row stays as it was, whichever schema it was written with', async () => {
    const topic = new MemoryTopic();
    const columns = [
      column('id', 'int64', {}, true),
      column('price', 'decimal', { precision: 20, scale: 4 }),
      column('day', 'date'),
      column('raw', 'bytes'),
      column('doc', 'json'),
    ];
    topic.register(1, columns);
    topic.register(2, [...columns, column('flag', 'boolean'), column('moment', 'timestamptz')]);
    for (const id of range(0, 60)) {
      const after = {
        id: BigInt(id),
        price: id % 7 === 0 ? 'NaN' : `${id}.0001`,
        day: id,
        raw: Buffer.from([id, 0, 255]),
        doc: `{"n": ${id}, "k${id % 3}": "x"}`,
        ...(id < 30 ? {} : { flag: id % 2 === 0, moment: '2024-03-31T02:30:00.123456Z' }),
      };
      topic.append(id < 30 ? 1 : 2, { after });
    }
    const connection = lake.newConnection();
    const writer = await lake.open(topic, connection, {
      ...SMALL,
      generation_retention_seconds: 600,
    });
    await writer.open(topic.target);
    const deliver = async (first: number): Promise<void> => {
      await writer.write([topic.batch(first, first + 3)]);
      await writer.flush();
    };
    const all =
      'id, price, day, raw, doc, flag, moment, doc_n, doc_k0, doc_k1, doc_k2, _airbyte_ab_id, _airbyte_emitted_at, _ab_cdc_lsn, _headrace_unrepresentable';
    const sql = `select ${all} from ROWS order by id`;
    for (let first = 0; first < 57; first += 3) await deliver(first);
    const reader = new Reader(connection);
    const inPieces = await lake.query(connection, `select distinct ${all} from FILES order by id`);
    while ((await sorted(connection)).current.length > 9) await delay(50);
    await deliver(57);
    const joined = await reader.rows(sql);
    expect(joined.slice(0, 57)).toEqual(inPieces);
    expect(joined.length).toBe(60);
    expect(await lake.keys(`${connection}/_headrace`)).not.toEqual([]);
    await writer.close();
  }, 240_000);

  async function sorted(connection: string): Promise<SortedFiles> {
    const files = (await lake.files(connection)).map((key) => fileRange({ key, bytes: 0 }));
    return sortFiles(files.filter((file) => file !== null));
  }

  test('date folders are joined by themselves', async () => {
    const topic = topicOfIds(40);
    const connection = lake.newConnection();
    const writer = await lake.open(topic, connection, { ...SMALL, partition_by: 'day' });
    await writer.open(topic.target);
    for (const first of range(0, 40)) {
      await writer.write([topic.batch(first, first + 1)]);
      await writer.flush();
    }
    const isAtRest = async (): Promise<boolean> => {
      const { current, replaced } = await sorted(connection);
      return current.length <= 7 && replaced.length === 0;
    };
    while (!(await isAtRest())) await delay(50);
    const keys = await lake.files(connection);
    expect(keys.every((key) => key.includes('/dt=2023-11-14/'))).toBe(true);
    expect(await lake.offsets(connection)).toEqual(range(0, 40));
    await writer.close();
  }, 240_000);

  test('a reader sees each offset once while joiners are killed, and stopped to go on later', async () => {
    const seed = Math.floor(Math.random() * 1_000_000);
    console.log(`joins: seed ${seed}`);
    const random = randomOf(seed);
    const connection = lake.newConnection();
    const reader = new Reader(connection);
    const order = {
      config: lake.connectionConfig(connection, SMALL),
      connectionId: connection,
      count: 240,
      step: 4,
    };
    let done = false;
    let end = 0;
    const reading = (async () => {
      while (!done) {
        const next = await reader.end();
        expect(next, `seed ${seed}`).toBeGreaterThanOrEqual(end);
        end = next;
        await delay(20);
      }
    })();
    reading.catch(() => undefined);
    const zombies: ChildProcess[] = [];
    try {
      const interruptions = kind === 'minio' ? 9 : 12;
      for (let n = 0; ; n++) {
        const scratchFolder = mkdtempSync(join(lake.scratch, 'joiner-'));
        const signal = n % 3 === 2 ? 'SIGSTOP' : 'SIGKILL';
        const atRequest = n < interruptions ? 8 + Math.floor(random() * 90) : 0;
        if ((await run({ ...order, scratchFolder, signal, atRequest }, zombies)) === 0) break;
        if (zombies.length > 1) zombies.shift()?.kill('SIGCONT');
      }
      for (const zombie of zombies.splice(0)) {
        const gone = once(zombie, 'exit');
        zombie.kill('SIGCONT');
        await gone;
      }
      done = true;
      await reading;
      expect(await reader.end(), `seed ${seed}`).toBe(240);
      expect(reader.sawReplaced).toBeGreaterThan(0);
      console.log(`${reader.reads} reads, ${reader.sawReplaced} beside replaced files`);
      // At rest, once a last instance has looked, the folder has each offset once without any rule.
      const scratchFolder = mkdtempSync(join(lake.scratch, 'joiner-'));
      const more = {
        ...order,
        count: 244,
        scratchFolder,
        signal: 'SIGKILL' as const,
        atRequest: 0,
      };
      expect(await run(more, zombies)).toBe(0);
      expect(await lake.offsets(connection)).toEqual(range(0, 244));
      expect((await lake.files(connection)).length).toBeLessThan(30);
    } finally {
      done = true;
      for (const zombie of zombies) zombie.kill('SIGKILL');
    }
  }, 480_000);
});

function run(order: JoinerOrder, zombies: ChildProcess[]): Promise<number | null> {
  mkdirSync(order.scratchFolder, { recursive: true });
  return runInterrupted(PROGRAM, order, zombies);
}
