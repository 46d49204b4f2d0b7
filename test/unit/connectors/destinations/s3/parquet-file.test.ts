import { mkdtempSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { asyncBufferFromFile, parquetMetadataAsync } from 'hyparquet';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { CODECS } from '../../../../../connectors/destinations/s3/codecs.ts';
import type {
  FileColumn,
  FileForm,
} from '../../../../../connectors/destinations/s3/file-columns.ts';
import { cellsOf, type FileValue } from '../../../../../connectors/destinations/s3/file-values.ts';
import { ParquetFile } from '../../../../../connectors/destinations/s3/parquet-file.ts';
import { randomOf } from '../../../../integration/destinations/s3/key-workload.ts';
import { DuckDbReader, readByHyparquet, shown } from './parquet-readers.ts';

type Random = () => number;
type Draw = (random: Random) => NonNullable<FileValue>;

const MAX = 2n ** 63n - 1n;

function long(random: Random): bigint {
  const bits = BigInt(Math.floor(random() * 64));
  const value =
    (BigInt(Math.floor(random() * 2 ** 32)) << 32n) | BigInt(Math.floor(random() * 2 ** 32));
  return BigInt.asIntN(64, value >> bits) * (random() < 0.5 ? 1n : -1n);
}

function among<T>(random: Random, values: readonly T[]): T {
  return values[Math.floor(random() * values.length)]!;
}

function moment(random: Random): bigint {
  return (long(random) % 200_000_000_000_000_000n) as bigint;
}

const SPECIAL = [
  0,
  -0,
  Number.NaN,
  Number.POSITIVE_INFINITY,
  Number.NEGATIVE_INFINITY,
  5e-324,
  1.5,
];
const LETTERS = ['a', 'Z', ' ', 'é', '漢', '🏔', '\u0000', '\uffff', '\u{10ffff}'];

function text(random: Random): string {
  const length = among(random, [0, 1, 5, 15, 16, 17, 60, 300]);
  return Array.from({ length }, () => among(random, LETTERS)).join('');
}

const DRAWS: Record<FileForm, Draw> = {
  boolean: (random) => random() < 0.5,
  int64: (random) => (random() < 0.1 ? among(random, [MAX, -MAX - 1n, 0n, -1n]) : long(random)),
  double: (random) => (random() < 0.2 ? among(random, SPECIAL) : (random() - 0.5) * 1e9),
  decimal: (random) => {
    const most = 10n ** 38n - 1n;
    if (random() < 0.1) return among(random, [most, -most, 0n, -1n]);
    return (long(random) * long(random)) % most;
  },
  text: (random) => new Uint8Array(Buffer.from(text(random))),
  bytes: (random) => {
    const length = among(random, [0, 1, 16, 17, 50]);
    return Uint8Array.from({ length }, () => among(random, [0, 127, 128, 254, 255, 255, 255]));
  },
  date: (random) => Math.floor((random() - 0.5) * 2 * 2_000_000_000),
  time: (random) => BigInt(Math.floor(random() * 86_400_000_000)),
  timestamp: moment,
  timestamptz: moment,
  'timestamptz-millis': (random) => moment(random) / 1000n,
};
const COLUMNS = (Object.keys(DRAWS) as FileForm[]).map((form): FileColumn => {
  const scale = form === 'decimal' ? { scale: 10 } : {};
  return { source: form, name: form.replace('-', '_'), form, ...scale };
});

/** How often a column repeats its values, and has null. */
interface Shape {
  readonly distinct: number;
  readonly nulls: number;
}

function columnOf(form: FileForm, rows: number, { distinct, nulls }: Shape, random: Random) {
  const few = Array.from({ length: distinct }, () => DRAWS[form](random));
  let last: FileValue = null;
  return Array.from({ length: rows }, (): FileValue => {
    // Runs of equal values are encoded in another way than single ones.
    if (random() < 0.3) return last;
    if (random() < nulls) last = null;
    else last = distinct === 0 ? DRAWS[form](random) : among(random, few);
    return last;
  });
}

let folder: string;
const duckdb = new DuckDbReader();
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'headrace-parquet-'));
});
afterAll(() => rmSync(folder, { recursive: true }));

let files = 0;

function written(groups: readonly FileValue[][][], columns: readonly FileColumn[], more = {}) {
  const path = join(folder, `${++files}.parquet`);
  const { codec, pageBytes } = { codec: 'SNAPPY', pageBytes: 1024 * 1024, ...more } as const;
  const file = new ParquetFile(path, columns, codec, pageBytes);
  for (const group of groups) file.writeRowGroup(cellsOf(group, columns));
  expect(file.finish()).toBe(statSync(path).size);
  return path;
}

async function footer(path: string) {
  return parquetMetadataAsync(await asyncBufferFromFile(path));
}

const shape = fc.record({
  distinct: fc.constantFrom(0, 0, 1, 3, 40),
  nulls: fc.constantFrom(0, 0.2, 1),
});

test('two other readers find what was written, by its values and by its bounds', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.record({
        seed: fc.nat(),
        groups: fc.array(fc.constantFrom(1, 7, 8, 9, 300, 2_500), { minLength: 1, maxLength: 3 }),
        shapes: fc.tuple(...COLUMNS.map(() => shape)),
        codec: fc.constantFrom(...CODECS),
        pageBytes: fc.constantFrom(1, 64, 1_000, 1024 * 1024),
      }),
      async ({ seed, groups, shapes, ...format }) => {
        const random = randomOf(seed);
        const values = groups.map((rows) =>
          COLUMNS.map(({ form }, index) => columnOf(form, rows, shapes[index]!, random)),
        );
        const path = written(values, COLUMNS, format);
        const expected = COLUMNS.map((_, i) => values.flatMap((group) => group[i]!).map(shown));
        const { groups: found, columns } = await readByHyparquet(path, COLUMNS);
        expect(found).toBe(groups.length);
        expect(columns.map((column) => column.map(shown))).toEqual(expected);
        const read = await duckdb.read(path, COLUMNS);
        expect(read.map((column) => column.map(shown))).toEqual(expected);
        await expectFoundByBounds(path, seed);
      },
    ),
    { numRuns: 15 },
  );
}, 120_000);

/** Of each column a value and how often it is there, told without the footer's bounds and with them:
 * readers pass over row groups whose bounds leave a value out. */
async function expectFoundByBounds(path: string, seed: number) {
  for (const { name } of COLUMNS) {
    const file = `read_parquet('${path}')`;
    const sql = `with one as (select ${name} as v from ${file} where ${name} is not null
      order by hash(${seed}, ${name}) limit 1)
      select count(*) filter (${name} = v), (select v from one) is null from ${file}, one`;
    const [all] = await duckdb.query(sql);
    if (all === undefined || all[1] === true) continue;
    await duckdb.query(`set variable v = (select ${name} from ${file} where ${name} is not null
      order by hash(${seed}, ${name}) limit 1)`);
    const [some] = await duckdb.query(
      `select count(*) from ${file} where ${name} = getvariable('v')`,
    );
    expect({ name, count: some?.[0] }).toEqual({ name, count: all[0] });
  }
}

function bytes(value: string | readonly number[]): Uint8Array {
  return new Uint8Array(Buffer.from(value as string));
}

const EQUAL_PREFIX = 'sixteen letters!';
test.each<[string, FileForm, FileValue[], unknown, unknown]>([
  ['longs', 'int64', [5n, -MAX - 1n, MAX, null], -MAX - 1n, MAX],
  [
    'longs with equal halves',
    'int64',
    [2n ** 32n, 2n ** 33n - 1n, -1n, -(2n ** 32n)],
    -(2n ** 32n),
    2n ** 33n - 1n,
  ],
  ['no NaN', 'double', [Number.NaN, -1.5, 2, Number.NaN], -1.5, 2],
  [
    'infinities',
    'double',
    [Number.POSITIVE_INFINITY, 1, Number.NEGATIVE_INFINITY],
    Number.NEGATIVE_INFINITY,
    Number.POSITIVE_INFINITY,
  ],
  ['only NaN', 'double', [Number.NaN, null], undefined, undefined],
  ['a zero from below', 'double', [0, 1], -0, 1],
  ['a zero from above', 'double', [-1, -0], -1, 0],
  ['booleans', 'boolean', [true, true, null], true, true],
  ['only nulls', 'text', [null, null], undefined, undefined],
  ['text by its code points', 'text', [bytes('\uffff'), bytes('🏔'), bytes('z')], 'z', '🏔'],
  ['the shorter text first', 'text', [bytes('ab'), bytes('a'), bytes('')], '', 'ab'],
  [
    'long text, rounded',
    'text',
    [bytes(`${EQUAL_PREFIX}b`), bytes(`${EQUAL_PREFIX}a`)],
    EQUAL_PREFIX,
    'sixteen letters"',
  ],
])('bounds: %s', async (_name, form, values, min, max) => {
  const column = { source: 'c', name: 'c', form };
  const { row_groups } = await footer(written([[values]], [column]));
  const found = row_groups[0]?.columns[0]?.meta_data?.statistics;
  expect(found?.null_count).toBe(BigInt(values.filter((value) => value === null).length));
  expect(found?.min_value).toStrictEqual(min);
  expect(found?.max_value).toStrictEqual(max);
});

test('bounds of decimals are in the order of numbers, not of their bytes', async () => {
  const column = { source: 'c', name: 'c', form: 'decimal', scale: 0 } as const;
  const most = 10n ** 38n - 1n;
  const values = [1n, -1n, most, -most, 2n ** 64n, -(2n ** 64n)];
  const path = written([[values]], [column]);
  const [found] = await duckdb.query(
    `select stats_min_value, stats_max_value from parquet_metadata('${path}')`,
  );
  expect(found).toEqual([String(-most), String(most)]);
});

test('a dictionary is written where it halves the column, and nowhere else', async () => {
  const columns = ['few', 'many', 'ids'].map(
    (name) => ({ source: name, name, form: 'text' }) as const,
  );
  const values = [
    (i: number) => `status ${i % 4}`,
    (i: number) => `a text of its own ${i}`,
    (i: number) => `${i % 2 === 0 ? i : i - 1}`,
  ].map((value) => Array.from({ length: 4_000 }, (_, i) => bytes(value(i))));
  const { row_groups } = await footer(written([values], columns, { codec: 'UNCOMPRESSED' }));
  const chunks = row_groups[0]!.columns.map(({ meta_data }) => meta_data!);
  expect(chunks.map(({ encodings }) => encodings.includes('RLE_DICTIONARY'))).toEqual([
    true,
    false,
    false,
  ]);
  expect(Number(chunks[0]!.total_compressed_size)).toBeLessThan(1_300);
});

test('pages end before they grow beyond the limit, and the footer tells where they are', async () => {
  const column = { source: 'c', name: 'c', form: 'bytes' } as const;
  const values = Array.from({ length: 1_000 }, (_, i) => bytes(`${i}`.padStart(96, '.')));
  const path = written([[values]], [column], { pageBytes: 1_000 });
  const [chunk] = (await footer(path)).row_groups[0]!.columns;
  expect(chunk?.meta_data?.encoding_stats).toEqual([
    { page_type: 'DATA_PAGE_V2', encoding: 'PLAIN', count: 100 },
  ]);
  expect(chunk?.offset_index_length).toBeGreaterThan(100);
});

test('a huge value is written and does not stay in memory', async () => {
  const column = { source: 'c', name: 'c', form: 'bytes' } as const;
  const huge = new Uint8Array(20 * 1024 * 1024).fill(7);
  const path = written([[[huge, null, huge]], [[bytes('x')]]], [column]);
  const { columns } = await readByHyparquet(path, [column]);
  expect(columns[0]?.map((value) => (value as Uint8Array | null)?.length)).toEqual([
    huge.length,
    undefined,
    huge.length,
    1,
  ]);
});
