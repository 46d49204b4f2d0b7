import { parquetReadObjects, parquetMetadata } from 'hyparquet';
import { gunzipSync, zstdDecompressSync } from 'node:zlib';
import snappy from 'snappy';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { column, MemoryTopic, range, type Row } from './memory-topic.ts';
import { Lake } from './s3-fixture.ts';

let lake: Lake;
beforeAll(async () => {
  lake = await Lake.start();
});
afterAll(async () => {
  await lake[Symbol.asyncDispose]();
});

const MAX = 2n ** 63n - 1n;
const COLUMNS = [
  column('id', 'int64', {}, true),
  column('flag', 'boolean'),
  column('small', 'int16'),
  column('number', 'int32'),
  column('single', 'float32'),
  column('double', 'float64'),
  column('price', 'decimal', { precision: 12, scale: 2, native: 'numeric(12,2)' }),
  column('exact', 'decimal', { precision: 38, scale: 10 }),
  column('any', 'decimal', { native: 'numeric' }),
  column('name', 'string'),
  column('raw', 'bytes'),
  column('day', 'date'),
  column('at', 'time'),
  column('local', 'timestamp'),
  column('moment', 'timestamptz'),
  column('doc', 'json'),
  column('tags', 'array', { native: 'text[]' }),
  column('Über größe', 'uuid'),
] as const;
const FIELDS = COLUMNS.map(({ name }) => name.replace(/[^A-Za-z0-9_]/g, '_'));

const FULL: Row = {
  id: MAX,
  flag: true,
  small: -32768,
  number: 2147483647,
  single: 0.1,
  double: 1.7976931348623157e308,
  price: '-1234567890.05',
  exact: '9999999999999999999999999999.9999999999',
  any: '123456789012345678901234567890123456789012345.6789',
  name: 'Zürich 🏔 \u0000',
  raw: Buffer.from([0, 255, 128]),
  day: -719162,
  at: 86399999999n,
  local: -62135596800000000n,
  moment: '2024-03-31T02:30:00.123456Z',
  doc: 'null',
  tags: '{a,NULL,"b c"}',
  _ber_gr__e: 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11',
};
const EMPTY: Row = { ...Object.fromEntries(FIELDS.map((name) => [name, null])), id: -(2n ** 63n) };
const STRANGE: Row = {
  ...EMPTY,
  id: 2n ** 53n + 1n,
  price: 'NaN',
  exact: 'Infinity',
  any: '-Infinity',
  double: Number.NaN,
  single: Number.NEGATIVE_INFINITY,
  day: 2147483647,
  at: 86400000000n,
  local: -(2n ** 63n),
  moment: 'infinity',
};

async function written(rows: Row[], extra: Record<string, unknown> = {}): Promise<string> {
  const topic = new MemoryTopic();
  topic.register(3, COLUMNS);
  for (const after of rows) topic.append(3, { after });
  const connection = lake.newConnection();
  const writer = await lake.open(topic, connection, extra);
  expect(await writer.open(topic.target)).toBeNull();
  await writer.write([topic.batch(0, topic.end)]);
  await writer.close();
  return connection;
}

describe('what DuckDB reads', () => {
  test('every type, its extremes and its nulls', async () => {
    const connection = await written([FULL, EMPTY, STRANGE]);
    const cells = FIELDS.map((name) => `"${name}"::varchar`).join(', ');
    const [full, empty, strange] = await lake.query(
      connection,
      `set timezone = 'UTC'; select ${cells}, _headrace_unrepresentable from FILES order by _headrace_seq`,
    );
    expect(full).toEqual([
      '9223372036854775807',
      'true',
      '-32768',
      '2147483647',
      '0.10000000149011612',
      '1.7976931348623157e+308',
      '-1234567890.05',
      '9999999999999999999999999999.9999999999',
      '123456789012345678901234567890123456789012345.6789',
      'Zürich 🏔 \u0000',
      '\\x00\\xFF\\x80',
      '0001-01-01',
      '23:59:59.999999',
      '0001-01-01 00:00:00',
      '2024-03-31 02:30:00.123456+00',
      'null',
      '["a",null,"b c"]',
      'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11',
      null,
    ]);
    expect(empty).toEqual(['-9223372036854775808', ...Array(FIELDS.length).fill(null)]);
    expect(strange?.slice(0, -1)).toEqual([
      '9007199254740993',
      null,
      null,
      null,
      '-inf',
      'nan',
      null,
      null,
      '-Infinity',
      ...Array(9).fill(null),
    ]);
    expect(JSON.parse(strange?.at(-1) as string)).toEqual({
      price: 'NaN',
      exact: 'Infinity',
      day: 'infinity',
      at: '24:00:00',
      local: '-infinity',
      moment: 'infinity',
    });
  });

  test('the types of the columns', async () => {
    const connection = await written([FULL]);
    const described = await lake.query(connection, 'describe select * from FILES');
    expect(described.map(([name, type]) => [name, type])).toEqual([
      ['id', 'BIGINT'],
      ['flag', 'BOOLEAN'],
      ['small', 'BIGINT'],
      ['number', 'BIGINT'],
      ['single', 'DOUBLE'],
      ['double', 'DOUBLE'],
      ['price', 'DECIMAL(38,2)'],
      ['exact', 'DECIMAL(38,10)'],
      ['any', 'VARCHAR'],
      ['name', 'VARCHAR'],
      ['raw', 'BLOB'],
      ['day', 'DATE'],
      ['at', 'TIME'],
      ['local', 'TIMESTAMP'],
      ['moment', 'TIMESTAMP WITH TIME ZONE'],
      ['doc', 'VARCHAR'],
      ['tags', 'VARCHAR'],
      ['_ber_gr__e', 'VARCHAR'],
      ['_airbyte_ab_id', 'VARCHAR'],
      ['_airbyte_emitted_at', 'TIMESTAMP WITH TIME ZONE'],
      ['_ab_cdc_lsn', 'BIGINT'],
      ['_ab_cdc_updated_at', 'TIMESTAMP WITH TIME ZONE'],
      ['_ab_cdc_deleted_at', 'TIMESTAMP WITH TIME ZONE'],
      ['_headrace_epoch', 'BIGINT'],
      ['_headrace_seq', 'BIGINT'],
      ['_headrace_unchanged', 'VARCHAR'],
      ['_headrace_unrepresentable', 'VARCHAR'],
    ]);
  });

  test('deletes, tombstones, truncates and unchanged cells', async () => {
    const topic = new MemoryTopic();
    topic.register(1, [column('id', 'int64', {}, true), column('text', 'string')]);
    const at = 1_700_000_000_123_456n;
    topic.append(1, { op: 'c', after: { id: 1n, text: 'a' }, tsUs: at, lsn: 2n ** 60n + 1n });
    topic.append(1, { op: 'u', after: { id: 1n, text: null }, unchanged: ['text'] });
    topic.append(1, { op: 'd', before: { id: 1n, text: null }, tsUs: at + 1n });
    topic.appendTombstone();
    topic.append(1, { op: 't' });
    const connection = lake.newConnection();
    const writer = await lake.open(topic, connection);
    await writer.open(topic.target);
    await writer.write([topic.batch(0, topic.end)]);
    await writer.close();
    const rows = await lake.query(
      connection,
      `select id, text, _headrace_unchanged, epoch_us(_ab_cdc_deleted_at), epoch_us(_ab_cdc_updated_at),
         epoch_ms(_airbyte_emitted_at), _ab_cdc_lsn, _headrace_epoch, _headrace_seq
       from FILES order by _headrace_seq`,
    );
    const later = (offset: bigint): bigint => 1_700_000_000_000_000n + offset;
    expect(rows).toEqual([
      [1n, 'a', null, null, at, at / 1000n, 2n ** 60n + 1n, 1n, 1n],
      [1n, null, '["text"]', null, later(1n), later(1n) / 1000n, 16n, 1n, 2n],
      [1n, null, null, at + 1n, at + 1n, at / 1000n, 32n, 1n, 3n],
    ]);
  });
});

const DECOMPRESS = {
  UNCOMPRESSED: (bytes: Uint8Array) => bytes,
  GZIP: (bytes: Uint8Array) => gunzipSync(bytes),
  ZSTD: (bytes: Uint8Array) => zstdDecompressSync(bytes),
  SNAPPY: (bytes: Uint8Array) =>
    snappy.uncompressSync(Buffer.from(bytes), { asBuffer: true }) as Buffer,
};

test.each(['UNCOMPRESSED', 'GZIP', 'SNAPPY', 'ZSTD'] as const)('codec %s', async (codec) => {
  const rows = range(0, 500).map((i) => ({ ...FULL, id: BigInt(i), name: `name ${i % 7}` }));
  const connection = await written(rows, {
    format: { format_type: 'Parquet', compression_codec: codec },
  });
  const [key] = await lake.files(connection);
  const bytes = await lake.object(key as string);
  const file = bytes.buffer.slice(
    bytes.byteOffset,
    bytes.byteOffset + bytes.byteLength,
  ) as ArrayBuffer;
  const metadata = parquetMetadata(file);
  const codecs = metadata.row_groups.flatMap(({ columns }) =>
    columns.map((c) => c.meta_data?.codec),
  );
  expect(new Set(codecs)).toEqual(new Set([codec]));
  const read = await parquetReadObjects({ file, compressors: DECOMPRESS });
  expect(read.map(({ id, name }) => [id, name])).toEqual(rows.map(({ id, name }) => [id, name]));
  const [counted] = await lake.query(
    connection,
    'select count(*), sum(id), count(distinct name) from FILES',
  );
  expect(counted).toEqual([500n, (499n * 500n) / 2n, 7n]);
});

test('keys: the stream has one folder and files lie directly in it', async () => {
  const connection = await written([FULL]);
  const keys = await lake.keys(`${connection}/`);
  expect(keys.filter((key) => key.endsWith('.parquet'))).toEqual([
    expect.stringMatching(
      new RegExp(
        `^${connection}/production_public/customers/\\d{4}_\\d\\d_\\d\\d_\\d+_[0-9a-f]{8}-0-0{20}-0{19}1\\.parquet$`,
      ),
    ),
  ]);
  const others = keys.filter((key) => !key.endsWith('.parquet'));
  expect(others.length).toBeGreaterThan(0);
  expect(others.every((key) => key.startsWith(`${connection}/_headrace/`))).toBe(true);
});

test('date folders by commit time', async () => {
  const topic = new MemoryTopic();
  topic.register(1, [column('id', 'int64', {}, true)]);
  const hour = 3_600_000_000n;
  const noon = 1_700_000_000_000_000n;
  for (const i of range(0, 60))
    topic.append(1, { after: { id: BigInt(i) }, tsUs: noon + BigInt(i % 3) * 24n * hour });
  const connection = lake.newConnection();
  const writer = await lake.open(topic, connection, { partition_by: 'day' });
  await writer.open(topic.target);
  await writer.write([topic.batch(0, 60)]);
  await writer.close();
  const folders = (await lake.files(connection)).map((key) => key.split('/').at(-2));
  expect(folders).toEqual(['dt=2023-11-14', 'dt=2023-11-15', 'dt=2023-11-16']);
  expect(await lake.offsets(connection)).toEqual(range(0, 60));
});

test('40 MB go up in parts, and no part stays behind', async () => {
  const topic = new MemoryTopic();
  topic.register(1, [column('id', 'int64', {}, true), column('noise', 'bytes')]);
  const { randomBytes } = await import('node:crypto');
  for (const i of range(0, 400))
    topic.append(1, { after: { id: BigInt(i), noise: randomBytes(100_000) } });
  const connection = lake.newConnection();
  const writer = await lake.open(topic, connection);
  await writer.open(topic.target);
  for (let i = 0; i < 400; i += 50) await writer.write([topic.batch(i, i + 50)]);
  await writer.flush();
  expect(writer.durableOffset(topic.target)).toBe(400);
  const files = await lake.files(connection);
  expect(files).toHaveLength(1);
  expect((await lake.object(files[0] as string)).length).toBeGreaterThan(40_000_000);
  expect(await lake.openUploads(files[0] as string)).toBe(0);
  const [sum] = await lake.query(connection, 'select sum(octet_length(noise)) from FILES');
  expect(Number(sum?.[0])).toBe(40_000_000);
  await writer.close();
});

test('a file is the same to the byte however its records came in', async () => {
  const topic = new MemoryTopic();
  topic.register(1, [column('id', 'int64', {}, true), column('name', 'string')]);
  for (const i of range(0, 45_000))
    topic.append(1, { after: { id: BigInt(i), name: `n${i % 999}` } });
  const contents: Buffer[] = [];
  for (const step of [45_000, 777]) {
    const connection = lake.newConnection();
    const writer = await lake.open(topic, connection);
    await writer.open(topic.target);
    for (let i = 0; i < topic.end; i += step) {
      await writer.write([topic.batch(i, Math.min(topic.end, i + step))]);
    }
    await writer.close();
    const [key] = await lake.files(connection);
    contents.push(Buffer.from(await lake.object(key as string)));
  }
  expect(contents[1]?.equals(contents[0] as Buffer)).toBe(true);
});
