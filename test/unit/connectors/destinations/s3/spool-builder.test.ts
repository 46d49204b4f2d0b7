import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { CODECS } from '../../../../../connectors/destinations/s3/codecs.ts';
import {
  CHANGE_COLUMNS,
  withColumns,
  withFields,
  type FileColumn,
} from '../../../../../connectors/destinations/s3/file-columns.ts';
import { packChunk } from '../../../../../connectors/destinations/s3/record-run.ts';
import {
  SpoolBuilder,
  type FileLayout,
  type RecordChunk,
} from '../../../../../connectors/destinations/s3/spool-builder.ts';
import type { Column } from '../../../../../schemas/envelope/stream-schema.ts';
import {
  column,
  MemoryTopic,
  range,
} from '../../../../integration/destinations/s3/memory-topic.ts';
import { DuckDbReader, readByHyparquet, shown } from './parquet-readers.ts';
import { ID_HASH, RandomChanges, SOURCE } from './random-changes.ts';

let folder: string;
const duckdb = new DuckDbReader();
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'headrace-spool-'));
});
afterAll(() => rmSync(folder, { recursive: true }));

const LAYOUT = {
  codec: 'SNAPPY',
  pageBytes: 1024 * 1024,
  rowGroupRows: 20_000,
  rowGroupBytes: 4 * 1024 * 1024,
  partitionBy: 'none',
} as const;
let spools = 0;

async function topicOf(id: number, columns: readonly Column[]): Promise<MemoryTopic> {
  const topic = new MemoryTopic();
  topic.register(id, columns);
  await topic.load(id);
  return topic;
}

type Layout = Partial<FileLayout> & Pick<FileLayout, 'columns'>;

function builderOf(topic: MemoryTopic, ids: readonly number[], layout: Layout): SpoolBuilder {
  const schemas = new Map(ids.map((id) => [id, topic.value(id)!]));
  const spec = {
    id: 1,
    path: join(folder, `${++spools}`),
    idHash: ID_HASH,
    layout: { ...LAYOUT, ...layout },
  };
  return new SpoolBuilder(spec, schemas);
}

function chunkOf(topic: MemoryTopic, from: number, to: number): RecordChunk {
  const { records } = topic.batch(from, Math.min(to, topic.end));
  return packChunk(records, 0, records.count)!;
}

/** Records of a topic as files; `chunk` records are handed over at once. */
function built(topic: MemoryTopic, ids: readonly number[], layout: Layout, chunk = 1_000) {
  const builder = builderOf(topic, ids, layout);
  for (let at = 0; at < topic.end; at += chunk) builder.add(chunkOf(topic, at, at + chunk));
  return builder.finish();
}

function text(value: unknown): string {
  if (typeof value === 'string') return Buffer.from(value).toString('latin1');
  return shown(value as Parameters<typeof shown>[0]);
}

test('two other readers find in a file what the records say', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.record({
        seed: fc.nat(),
        rows: fc.constantFrom(1, 9, 500, 4_000),
        chunk: fc.constantFrom(3, 700, 10_000),
        codec: fc.constantFrom(...CODECS),
        pageBytes: fc.constantFrom(512, 1024 * 1024),
        rowGroupRows: fc.constantFrom(777, 20_000),
      }),
      async ({ seed, rows, chunk, ...layout }) => {
        const topic = await topicOf(1, SOURCE);
        const changes = new RandomChanges(topic, seed);
        const expected = range(0, rows).map(() => changes.append());
        const columns = withColumns([], SOURCE);
        const [file] = built(topic, [1], { columns, ...layout }, chunk);
        expect(file?.rows).toBe(rows);
        const all = [...columns, ...CHANGE_COLUMNS];
        const shownRows = all.map((_, i) => expected.map((row) => text(row[i])));
        const read = await readByHyparquet(file!.path, all);
        expect(read.groups).toBe(Math.ceil(rows / layout.rowGroupRows));
        expect(read.columns.map((column) => column.map(text))).toEqual(shownRows);
        const others = await duckdb.read(file!.path, all);
        expect(others.map((column) => column.map(text))).toEqual(shownRows);
      },
    ),
    { numRuns: 10 },
  );
}, 120_000);

async function rowsOf(path: string, columns: readonly FileColumn[]): Promise<string[][]> {
  const { columns: found } = await readByHyparquet(path, columns);
  return found[0]!.map((_, row) => found.map((cells) => shown(cells[row])));
}

describe('a file', () => {
  test('is the same however its records come in', async () => {
    const topic = await topicOf(1, SOURCE);
    const changes = new RandomChanges(topic, 7);
    for (let i = 0; i < 3_000; i++) changes.append();
    const columns = withColumns([], SOURCE);
    const layout = { columns, rowGroupRows: 1_024, rowGroupBytes: 100_000 };
    const [one, other] = [1, 2_999].map((chunk) => built(topic, [1], layout, chunk)[0]!);
    expect(readFileSync(one!.path).equals(readFileSync(other!.path))).toBe(true);
  });

  test('has rows of several schemas, and null where a schema lacks a column', async () => {
    const topic = new MemoryTopic();
    const id = column('id', 'int64', {}, true);
    topic.register(1, [id, column('old', 'string')]);
    topic.register(2, [column('new', 'string'), id]);
    await topic.load(1);
    await topic.load(2);
    for (const i of range(0, 4)) {
      topic.append((i % 2) + 1, { after: { id: BigInt(i), old: `old ${i}`, new: `new ${i}` } });
    }
    const columns = [topic.value(1)!, topic.value(2)!].reduce(
      (known: readonly FileColumn[], schema) => withColumns(known, schema.columns),
      [],
    );
    const [file] = built(topic, [1, 2], { columns });
    expect(await rowsOf(file!.path, columns)).toEqual([
      ['0', 'old 0', 'null'],
      ['1', 'null', 'new 1'],
      ['2', 'old 2', 'null'],
      ['3', 'null', 'new 3'],
    ]);
  });

  test('has the fields of documents beside them, and no rows for marks', async () => {
    const topic = new MemoryTopic();
    topic.register(1, [column('id', 'int64', {}, true), column('doc', 'json')]);
    await topic.load(1);
    topic.append(1, { op: 't' });
    const documents = ['{"a":{"b":1.50},"c":"x"}', '{"c":[1, 2]}', 'no JSON', null];
    documents.forEach((doc, i) => topic.append(1, { after: { id: BigInt(i), doc } }));
    topic.append(1, { op: 'u', after: { id: 4n, doc: null }, unchanged: ['doc'] });
    const columns = withFields(withColumns([], topic.value(1)!.columns), [
      { source: 'doc', path: ['a', 'b'] },
      { source: 'doc', path: ['c'] },
    ]);
    const [file] = built(topic, [1], { columns });
    const unchanged = CHANGE_COLUMNS.find(({ name }) => name === '_headrace_unchanged')!;
    expect(await rowsOf(file!.path, [...columns, unchanged])).toEqual([
      ['0', documents[0], '1.50', 'x', 'null'],
      ['1', documents[1], 'null', '[1, 2]', 'null'],
      ['2', documents[2], 'null', 'null', 'null'],
      ['3', 'null', 'null', 'null', 'null'],
      ['4', 'null', 'null', 'null', '["doc","doc_a_b","doc_c"]'],
    ]);
  });

  test('takes more columns until its first row group is written', async () => {
    const topic = await topicOf(1, [column('id', 'int64', {}, true), column('name', 'string')]);
    for (const i of range(0, 3)) topic.append(1, { after: { id: BigInt(i), name: `name ${i}` } });
    const { columns: source } = topic.value(1)!;
    const columns = withColumns([], source);
    const builder = builderOf(topic, [1], { columns: columns.slice(0, 1), rowGroupRows: 2 });
    builder.add(chunkOf(topic, 0, 1));
    expect(builder.widen(columns)).toBe(true);
    builder.add(chunkOf(topic, 1, 3));
    expect(builder.widen(withColumns(columns, [column('late', 'string')]))).toBe(false);
    const [file] = builder.finish();
    expect(await rowsOf(file!.path, columns)).toEqual([
      ['0', 'name 0'],
      ['1', 'name 1'],
      ['2', 'name 2'],
    ]);
  });

  test('of its own stands in each date folder', async () => {
    const topic = new MemoryTopic();
    topic.register(1, [column('id', 'int64', {}, true)]);
    await topic.load(1);
    const day = 86_400_000_000n;
    for (const i of range(0, 6)) {
      topic.append(1, { after: { id: BigInt(i) }, tsUs: day * BigInt(19_000 + (i % 2)) });
    }
    const columns = withColumns([], topic.value(1)!.columns);
    const files = built(topic, [1], { columns, partitionBy: 'day', rowGroupRows: 2 }, 4);
    expect(files.map(({ folder: each, rows }) => [each, rows])).toEqual([
      ['dt=2022-01-08/', 3],
      ['dt=2022-01-09/', 3],
    ]);
    expect(await rowsOf(files[1]!.path, columns)).toEqual([['1'], ['3'], ['5']]);
  });
});
