import pg from 'pg';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { LocalServer } from '../../deploy/local/local-server.ts';
import {
  cdcSourceConfig,
  connectTo,
  createConnection,
  createDestination,
  createSource,
  parquetConfig,
  postgresConfig,
  startRig,
  sync,
  until,
  statusOf,
  type Rig,
} from '../support/rig.ts';
import { withParquet } from '../support/parquet-events.ts';
import { ZOO, ZOO_TYPES, zooRows, zooTable } from './type-zoo.ts';

/** Defaults that break whoever relies on them; both servers' databases get them. */
const HOSTILE = [
  `datestyle = 'German'`,
  `timezone = 'Asia/Kolkata'`,
  `intervalstyle = 'sql_standard'`,
  `bytea_output = 'escape'`,
  `extra_float_digits = 0`,
  `array_nulls = off`,
  `client_encoding = 'LATIN1'`,
  `search_path = nowhere`,
];

async function makeHostile(server: LocalServer): Promise<void> {
  const client = await connectTo(server);
  for (const setting of HOSTILE) await client.query(`alter database postgres set ${setting}`);
  await client.end();
}

/** A session that prints every value in full and in one way. */
async function plainSession(server: LocalServer): Promise<pg.Client> {
  const settings = {
    datestyle: 'ISO',
    timezone: 'UTC',
    intervalstyle: 'iso_8601',
    bytea_output: 'hex',
    extra_float_digits: '1',
    array_nulls: 'on',
    client_encoding: 'UTF8',
    search_path: 'public',
  };
  const options = Object.entries(settings).map(([name, value]) => `-c ${name}=${value}`);
  const client = new pg.Client({
    host: server.host,
    port: server.port,
    user: 'postgres',
    database: 'postgres',
    options: options.join(' '),
  });
  // The server is killed at the end of a test that failed with the session open.
  client.on('error', () => undefined);
  await client.connect();
  return client;
}

async function texts(server: LocalServer): Promise<Record<string, string | null>[]> {
  const client = await plainSession(server);
  const columns = ZOO.map(({ name }) => {
    const quoted = `"${name.replaceAll('"', '""')}"`;
    return `${quoted}::text as ${quoted}`;
  });
  const { rows } = await client.query<Record<string, string | null>>(
    `select id::text, ${columns.join(', ')} from public.zoo order by id`,
  );
  await client.end();
  return rows;
}

/** How a cell's text at the source reads in Parquet, by the type's name; the others are text there too. */
const IN_PARQUET: Readonly<Record<string, (text: string) => string>> = {
  real: (text) => String(Math.fround(Number(text))),
  'double precision': (text) => String(Number(text)),
  bytea: (text) => text.slice(2).toUpperCase(),
  money: (text) => text.replace(/[$,]/g, ''),
  // A cast to text drops the padding that a value of char(n) has.
  'char(5)': (text) => text.padEnd(5),
  // It also adds the prefix length that inet leaves out for a single host.
  inet: (text) => text.replace(/\/(32|128)$/, ''),
};

/** DuckDB's text of a cell, as far as its own way of printing differs from what it holds. */
const FROM_DUCKDB: Readonly<Record<string, string>> = {
  bytea: 'hex(#)',
  real: 'cast(# as double)',
};

/** Types whose text Parquet keeps otherwise: instants and dates by number, arrays as JSON. */
const BY_NUMBER = /^(date|time|timestamp|timestamptz)$|^timestamp\(/;

/** The newest row of each key in the lake holds the source's values; one that Parquet cannot hold is
 * null there and listed with its text. */
async function expectInParquet(
  rig: Rig,
  expected: readonly Record<string, string | null>[],
): Promise<void> {
  const columns = ZOO.filter(({ type }) => !BY_NUMBER.test(type) && !type.endsWith('[]'));
  const field = (name: string): string => name.replace(/[^A-Za-z0-9_]/g, '_');
  const list = columns.map(({ name, type }) => {
    const cell = (FROM_DUCKDB[type] ?? '#').replace('#', `"${field(name)}"`);
    return `cast(${cell} as varchar)`;
  });
  const rows = await withParquet(rig.minio as LocalServer, 'data', (_streams, read, folder) =>
    read(
      `select id::varchar, _headrace_unrepresentable, ${list.join(', ')}
       from read_parquet('${folder}/zoo-*.parquet', union_by_name = true)
       qualify row_number() over (partition by id
         order by _headrace_epoch desc, _ab_cdc_lsn desc, _headrace_seq desc) = 1
       order by id::varchar`,
    ),
  );
  expect(rows.length).toBe(expected.length);
  rows.forEach(([id, unheld, ...cells], i) => {
    const texts = expected[i] as Record<string, string | null>;
    const lost = JSON.parse((unheld as string | null) ?? '{}') as Record<string, string>;
    columns.forEach(({ name, type }, c) => {
      const text = texts[name] ?? null;
      const where = `row ${String(id)}, ${name}`;
      if (text === null) expect(cells[c], where).toBeNull();
      else if (cells[c] === null) expect(lost[field(name)] ?? lost[name], where).toBe(text);
      else expect(inParquet(type, cells[c]), where).toBe((IN_PARQUET[type] ?? String)(text));
    });
  });
}

function inParquet(type: string, cell: unknown): string {
  const text = String(cell);
  if (type !== 'real' && type !== 'double precision') return text;
  return String(Number(text.replace('inf', 'Infinity').replace('nan', 'NaN')));
}

describe('a table of every type under hostile defaults', () => {
  let rig: Rig;
  beforeAll(async () => {
    rig = await startRig({ withMinio: true, environment: { TZ: 'America/New_York' } });
  });
  afterAll(() => rig[Symbol.asyncDispose]());

  it('has at least 60 columns', () => {
    expect(ZOO.length).toBeGreaterThanOrEqual(60);
  });

  it('arrives with the same text in every cell, by snapshot and by log', async () => {
    await makeHostile(rig.source);
    await makeHostile(rig.target);
    const writer = await plainSession(rig.source);
    for (const statement of [...ZOO_TYPES, zooTable(), ...zooRows(0)])
      await writer.query(statement);
    const sourceId = await createSource(rig, cdcSourceConfig(rig.source));
    const destinationId = await createDestination(rig, 'postgres', postgresConfig(rig.target));
    const connectionId = await createConnection(rig, sourceId, destinationId, () => 'append_dedup');
    const lakeId = await createDestination(rig, 's3', parquetConfig(rig.minio as LocalServer));
    const lake = await createConnection(rig, sourceId, lakeId, () => 'append');
    await until('the snapshot', async () => {
      const { sourceReport } = await statusOf(rig, connectionId);
      return sourceReport?.streams.every((stream) => stream.phase === 'streaming') === true;
    });
    for (const statement of zooRows(1000)) await writer.query(statement);
    await writer.query('update zoo set c_boolean = not c_boolean where id % 2 = 0');
    await writer.end();
    expect(await sync(rig, connectionId)).toMatchObject({ job: { status: 'succeeded' } });

    const expected = await texts(rig.source);
    const found = await texts(rig.target);
    expect(found.length).toBe(expected.length);
    expected.forEach((row, i) => expect(found[i], `row ${row['id']}`).toEqual(row));

    expect(await sync(rig, lake)).toMatchObject({ job: { status: 'succeeded' } });
    await expectInParquet(rig, expected);
  });
});
