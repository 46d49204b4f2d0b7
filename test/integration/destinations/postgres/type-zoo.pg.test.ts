import type { Client } from 'pg';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { LocalServer } from '../../../../deploy/local/local-server.ts';
import type { ColumnKind, ColumnType } from '../../../../schemas/values/column-type.ts';
import { postgresContext, type ServerContext } from '../../../support/contexts.ts';
import { appended, deduped, EventLog, type Columns } from './event-log.ts';
import { newTarget } from './target.ts';

let server: ServerContext;
beforeAll(async () => {
  server = await postgresContext();
}, 120_000);
afterAll(() => server[Symbol.asyncDispose]());

/** Type, kind, and literals of that type at the source. */
const ZOO: readonly (readonly [string, ColumnKind, readonly string[]])[] = [
  ['boolean', 'boolean', ['true', 'false']],
  ['smallint', 'int16', ['-32768', '32767', '0']],
  ['integer', 'int32', ['-2147483648', '2147483647']],
  ['bigint', 'int64', ['-9223372036854775808', '9223372036854775807', '9007199254740993']],
  ['real', 'float32', ['1.1', 'NaN', '-Infinity', '3.4028235e38', '1e-45', '-0']],
  ['double precision', 'float64', ['0.1', 'Infinity', '5e-324', '-0', '1.7976931348623157e308']],
  [
    'numeric',
    'decimal',
    [
      ...[
        '0',
        '0.000',
        '-0.0001',
        '12345678901234567890.12345',
        '1000000',
        '10000',
        '9999',
        '0.00010',
      ],
      ...[
        'NaN',
        'Infinity',
        '-Infinity',
        '1e131000',
        '1e-16383',
        '100.10',
        '-1.5',
        '00012.5',
        '40000000',
      ],
    ],
  ],
  ['numeric(12,2)', 'decimal', ['1.50', '-9999999999.99', '0']],
  ['numeric(3,-2)', 'decimal', ['12300']],
  ['text', 'string', ['', 'Grüße', 'a"b\\c\n\t', '\u{1f600}', 'NULL']],
  ['character varying(10)', 'string', ['0123456789', ' x ', 'größe']],
  ['character(5)', 'string', ['ab', '', '12345']],
  ['"char"', 'string', ['x', '']],
  ['name', 'string', ['a_name']],
  ['bytea', 'bytes', ['\\x', '\\x00ff80', '\\xdeadbeef']],
  [
    'uuid',
    'uuid',
    ['00000000-0000-0000-0000-000000000000', 'F47AC10B-58CC-4372-A567-0E02B2C3D479'],
  ],
  [
    'date',
    'date',
    ['2024-02-29', '0001-01-01', '4713-01-01 BC', '5874897-12-31', 'infinity', '-infinity'],
  ],
  ['time without time zone', 'time', ['00:00', '24:00:00', '23:59:59.999999']],
  ['time(2) without time zone', 'time', ['12:34:56.78']],
  [
    'timestamp without time zone',
    'timestamp',
    [
      ...['1999-12-31 23:59:59.999999', '2000-01-01', '1970-01-01', '4713-01-01 BC', 'infinity'],
      ...[
        '-infinity',
        '294276-12-31 23:59:59.999999',
        '294246-12-31',
        '2285-06-05 23:47:34.740993',
      ],
    ],
  ],
  ['timestamp(3) without time zone', 'timestamp', ['2024-01-01 00:00:00.123']],
  [
    'timestamp with time zone',
    'timestamptz',
    [
      ...['2024-03-31 02:30:00.123456+02', '1999-12-31 23:59:59.999999Z', '0044-03-15 12:00:00 BC'],
      ...['4713-11-24 00:00:00+00 BC', '294276-12-31 23:59:59.999999Z', 'infinity', '-infinity'],
      ...['2285-06-05 23:47:34.740993Z', '10000-01-01 00:00:00.5Z', '1970-01-01 00:00:00.1Z'],
    ],
  ],
  ['time with time zone', 'timetz', ['12:34:56.789+05:30', '24:00:00-11', '00:00:00+15:59:59']],
  [
    'interval',
    'interval',
    ['1 year 2 mons 3 days 04:05:06.7', '-1 mons +2 days -00:00:00.000001', '0'],
  ],
  ['interval day to second(3)', 'interval', ['3 days 04:05:06.789']],
  ['json', 'json', ['{"b": 1,  "a": [1e400, "\\u0000"]}', 'null', '"x"']],
  ['jsonb', 'json', ['{"b": 1.50, "a": [null, true, "Ü"]}', 'null', '12345678901234567890.10']],
  ['xml', 'xml', ['<a>1</a>', 'just text']],
  ['bit(4)', 'bits', ['0101', '1111']],
  ['bit varying(8)', 'bits', ['', '101']],
  ['inet', 'string', ['10.0.0.1', '10.0.0.0/8', '::1/128', 'fe80::1']],
  ['cidr', 'string', ['10.0.0.0/8']],
  ['macaddr', 'string', ['08:00:2b:01:02:03']],
  ['macaddr8', 'string', ['08:00:2b:01:02:03:04:05']],
  ['oid', 'int64', ['4294967295', '0']],
  ['pg_lsn', 'string', ['16/B374D848']],
  ['point', 'string', ['(1.5,-2)']],
  ['line', 'string', ['{1,2,3}']],
  ['lseg', 'string', ['[(0,0),(1,1)]']],
  ['box', 'string', ['(1,1),(0,0)']],
  ['path', 'string', ['((0,0),(1,1))', '[(0,0),(1,1)]']],
  ['polygon', 'string', ['((0,0),(1,1),(2,0))']],
  ['circle', 'string', ['<(1,2),3>']],
  ['int4range', 'string', ['[1,5)', 'empty', '(,)']],
  ['numrange', 'string', ['[1.50,2.0]']],
  ['tstzrange', 'string', ['[2024-01-01 00:00+02,)']],
  ['daterange', 'string', ['[2024-01-01,2024-02-01)']],
  ['int4multirange', 'string', ['{[1,3),[5,7)}']],
  ['tsvector', 'string', ["'a':1A 'b c':2", '']],
  ['tsquery', 'string', ["'a' & !'b'"]],
  ['jsonpath', 'string', ['$."a"[*]?(@ > 1)']],
  ['integer[]', 'array', ['{1,NULL,3}', '{}', '{{1,2},{3,4}}', '[0:1]={5,6}']],
  ['text[]', 'array', ['{"a b",NULL,"NULL","q\\"\\\\",""}']],
  ['numeric(6,2)[]', 'array', ['{1.50,NaN}']],
  ['character varying(3)[]', 'array', ['{abc,NULL}']],
  ['timestamp with time zone[]', 'array', ['{"2024-01-01 00:00+02",infinity}']],
  ['jsonb[]', 'array', ['{"{\\"a\\": 1}",NULL}']],
  ['bit(3)[]', 'array', ['{101,NULL}']],
];

const HOSTILE = {
  datestyle: 'German, DMY',
  intervalstyle: 'sql_standard',
  timezone: 'America/New_York',
  array_nulls: 'off',
  search_path: 'nowhere',
  bytea_output: 'escape',
  client_encoding: 'LATIN1',
  default_transaction_isolation: 'serializable',
  xmloption: 'document',
  standard_conforming_strings: 'off',
  extra_float_digits: '-15',
  lock_timeout: '1',
  statement_timeout: '60000',
};

const SESSION = `SET datestyle='ISO,MDY'; SET timezone='UTC'; SET intervalstyle='iso_8601';
  SET array_nulls=on; SET xmloption=content; SET search_path=public,pg_catalog; SET bytea_output=hex;
  SET standard_conforming_strings=on; SET extra_float_digits=1; SET client_encoding=UTF8; SET lock_timeout=0`;

const MAX_INT64 = 2n ** 63n - 1n;

/** SQL that answers the cell's content as the contract of its kind says, as text. */
function cellSql(kind: ColumnKind, column: string): string {
  const finite = (sql: string, max: string, min: string) =>
    `CASE WHEN ${column}='infinity' THEN '${max}' WHEN ${column}='-infinity' THEN '${min}' ELSE (${sql})::text END`;
  switch (kind) {
    case 'date':
      return finite(`${column}-date '1970-01-01'`, '2147483647', '-2147483648');
    case 'time':
      return `CASE WHEN ${column}='24:00' THEN '86400000000' ELSE (extract(epoch from ${column})*1000000)::bigint::text END`;
    case 'timestamp': {
      // `extract(epoch ...)` goes through a float beyond the year 294246.
      const days = `(${column}::date-date '1970-01-01')::numeric*86400000000`;
      const micros = `(${days}+extract(epoch from ${column}::time)*1000000)::numeric(40,0)`;
      return finite(micros, String(MAX_INT64), String(-MAX_INT64 - 1n));
    }
    case 'timestamptz':
      return `CASE WHEN isfinite(${column}) THEN replace(replace(${column}::text,' ','T'),'TBC',' BC') ELSE ${column}::text END`;
    default:
      return `${column}::text`;
  }
}

function cellOf(kind: ColumnKind, text: string | null): unknown {
  if (text === null) return null;
  switch (kind) {
    case 'boolean':
      return text === 'true';
    case 'int16':
    case 'int32':
    case 'date':
      return Number(text);
    case 'int64':
    case 'time':
      return BigInt(text);
    case 'timestamp':
      return BigInt.asIntN(64, BigInt(text));
    case 'float32':
    case 'float64':
      return Number(text);
    case 'bytes':
      return Buffer.from(text.slice(2), 'hex');
    case 'timestamptz':
      return text.replace('+00', 'Z');
    default:
      return text;
  }
}

async function textsOf(sql: Client, table: string, columns: readonly string[]) {
  const list = columns.map((column) => `${column}::text`).join(',');
  return (await sql.query({ text: `SELECT ${list} FROM ${table} ORDER BY id`, rowMode: 'array' }))
    .rows;
}

async function roundTrip(on: LocalServer, zoo: typeof ZOO): Promise<void> {
  await using target = await newTarget(on, { settings: HOSTILE });
  const { sql } = target;
  await sql.query(SESSION);
  const names = zoo.map((_, i) => `c${i}`);
  await sql.query('CREATE SCHEMA source');
  await sql.query(
    `CREATE TABLE source.zoo (id bigint, ${zoo.map(([type], i) => `c${i} ${type}`).join(',')})`,
  );
  const height = Math.max(...zoo.map(([, , values]) => values.length));
  for (let row = 0; row <= height; row++) {
    const values = zoo.map(([, , literals]) => literals[row] ?? null);
    const params = values.map((_, i) => `$${i + 2}`).join(',');
    await sql.query(`INSERT INTO source.zoo VALUES ($1,${params})`, [row, ...values]);
  }
  const cells = zoo.map(([, kind], i) => cellSql(kind, `c${i}`)).join(',');
  const query = { text: `SELECT ${cells} FROM source.zoo ORDER BY id`, rowMode: 'array' as const };
  const { rows } = await sql.query(query);
  const columns: Record<string, ColumnType> = { id: { kind: 'int64', native: 'bigint' } };
  zoo.forEach(([native, kind], i) => (columns[`c${i}`] = { kind, native }));
  const writer = target.writer();
  for (const stream of [deduped('one'), appended('few'), appended('many')]) {
    const log = new EventLog(target.schemas, stream, columns as Columns);
    rows.forEach((row: (string | null)[], id) => {
      const event = row.map((text, i) => [`c${i}`, cellOf(zoo[i]![1], text)] as const);
      log.create({ id: BigInt(id), ...Object.fromEntries(event) });
    });
    await writer.open(log.target);
    await writer.write([log.batch()]);
    const { name } = stream;
    const types = await sql.query(
      `SELECT format_type(atttypid, atttypmod) t FROM pg_attribute WHERE attrelid=$1::regclass AND attname LIKE 'c%' AND attnum>0 AND attname ~ '^c[0-9]' ORDER BY attnum`,
      [name],
    );
    expect(types.rows.map(({ t }) => t)).toEqual(zoo.map(([type]) => type));
    const [expected, found] = [
      await textsOf(sql, 'source.zoo', names),
      await textsOf(sql, name, names),
    ];
    zoo.forEach(([type], column) => {
      const at = (all: unknown[][]) => all.map((row) => row[column]);
      expect({ type, values: at(found) }).toEqual({ type, values: at(expected) });
    });
  }
}

describe('every built-in type', () => {
  it('reads back as the same text, whatever the database sets by default', () =>
    roundTrip(server, ZOO));

  it('goes into an append table by COPY, where all types have a binary form', async () => {
    const binary = ZOO.filter(([type]) =>
      /^(bool|smallint|integer$|bigint|real|double|numeric($|\(\d+,\d+\)$)|text$|character v.*\)$|character\(|bytea|uuid|date$|time.*without.*e$|timestamp with time zone$|jsonb?$)/.test(
        type,
      ),
    );
    const padded = binary.map(([type, kind, values]) => {
      const repeated = Array.from({ length: 60 }, (_, i) => values[i % values.length] as string);
      return [type, kind, repeated] as const;
    });
    await roundTrip(server, padded);
  });

  it('does so on the oldest server supported', async () => {
    await using old = await postgresContext({ major: 14 });
    await roundTrip(
      old,
      ZOO.filter(([type]) => type !== 'numeric(3,-2)'),
    );
  });
});

describe('a type that is not built in', () => {
  it.each([
    [{ kind: 'enum', native: 'public.mood' }, 'text'],
    [{ kind: 'string', native: 'public.hstore' }, 'text'],
    [{ kind: 'array', native: 'public.mood[]' }, 'text'],
    [{ kind: 'decimal', native: 'money' }, 'money'],
    [{ kind: 'decimal', precision: 8, scale: 3 }, 'numeric(8,3)'],
    [{ kind: 'json', native: 'document' }, 'jsonb'],
    [{ kind: 'int64', native: 'int unsigned' }, 'bigint'],
    [{ kind: 'string', native: 'integer' }, 'text'],
  ] as [ColumnType, string][])('%o becomes %s', async (type, expected) => {
    await using target = await newTarget(server);
    const columns = { id: { kind: 'int64', native: 'bigint' }, c: type } as const;
    const log = new EventLog(target.schemas, deduped('t'), columns);
    await target.writer().open(log.target);
    const [column] = await target.rows(
      `SELECT format_type(atttypid, atttypmod) AS type FROM pg_attribute WHERE attrelid='t'::regclass AND attname='c'`,
    );
    expect(column).toEqual({ type: expected });
  });
});
