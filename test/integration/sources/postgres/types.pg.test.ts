import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { postgresContext, type ServerContext } from '../../../support/contexts.ts';
import { freshDatabase, Run } from './capture-harness.ts';

let server: ServerContext;
beforeAll(async () => {
  server = await postgresContext();
}, 60_000);
afterAll(() => server[Symbol.asyncDispose]());

const DAY = 86_400_000_000n;

/** Type, literal, and what must arrive; `same` means the text that the server itself prints under the
 * session settings of the comparison below. */
type Case = readonly [type: string, literal: string, expected: unknown];
const same = Symbol('the same text');

const CASES: readonly Case[] = [
  ['boolean', 'true', true],
  ['boolean', 'false', false],
  ['smallint', '-32768', -32768],
  ['integer', '2147483647', 2147483647],
  ['integer', '-2147483648', -2147483648],
  ['bigint', '9223372036854775807', 9223372036854775807n],
  ['bigint', '-9223372036854775808', -9223372036854775808n],
  ['bigint', '9007199254740993', 9007199254740993n],
  ['bigint', '-4294967296000000000', -4294967296000000000n],
  ['bigint', '1000000000000000', 1000000000000000n],
  ['oid', '4294967295', 4294967295n],
  ['real', '3.4028235e38', 3.4028234663852886e38],
  ['real', '0.1', 0.10000000149011612],
  ['double precision', '0.1', 0.1],
  ['double precision', '1.7976931348623157e308', 1.7976931348623157e308],
  ['double precision', '5e-324', 5e-324],
  ['double precision', 'NaN', NaN],
  ['double precision', '-Infinity', -Infinity],
  ['double precision', '-0', -0],
  ['numeric', '123456789012345678901234567890.123456789012345678900', same],
  ['numeric', 'NaN', 'NaN'],
  ['numeric', 'Infinity', 'Infinity'],
  ['numeric', '-Infinity', '-Infinity'],
  ['numeric(12,2)', '-1234567890.10', '-1234567890.10'],
  ['numeric(5,-2)', '1234567', '1234600'],
  ['money', '-1234567.89', '-1234567.89'],
  ['text', 'tab\tnewline\ncr\rback\\slash \\N nul? ü 😀', same],
  ['text', '\\N', '\\N'],
  ['text', '', ''],
  ['varchar(10)', 'ab ', 'ab '],
  ['char(5)', 'ab', 'ab   '],
  ['name', 'a name', same],
  ['"char"', 'x', 'x'],
  ['bytea', '\\x00ff5c0a', Buffer.from([0, 255, 0x5c, 10])],
  ['bytea', '\\x', Buffer.alloc(0)],
  ['date', '2024-02-29', 19782],
  ['date', '0001-12-31 BC', -719163],
  ['date', '4713-01-01 BC', -2440550],
  ['date', '5874897-12-31', 2145042905],
  ['date', 'infinity', 2147483647],
  ['date', '-infinity', -2147483648],
  ['time', '24:00:00', DAY],
  ['time', '12:34:56.789', 45296789000n],
  ['time', '00:00:00.000001', 1n],
  ['timestamp', '2024-03-31 02:30:00.123456', 1711852200123456n],
  ['timestamp', '1969-12-31 23:59:59.999999', -1n],
  ['timestamp', '0001-01-01 00:00:00 BC', -62167219200000000n],
  ['timestamp', '294276-12-31 23:59:59.999999', BigInt.asIntN(64, 9224318015999999999n)],
  ['timestamp', '4714-11-24 00:00:00 BC', -210866803200000000n],
  ['timestamp', 'infinity', 9223372036854775807n],
  ['timestamp', '-infinity', -9223372036854775808n],
  ['timestamptz', '2024-03-31 02:30:00.123456+00', '2024-03-31T02:30:00.123456Z'],
  ['timestamptz', '2024-06-01 12:00:00+05:30', '2024-06-01T06:30:00Z'],
  ['timestamptz', '0001-12-31 00:00:00+00 BC', '0001-12-31T00:00:00Z BC'],
  ['timestamptz', '294276-12-31 23:59:59+00', '294276-12-31T23:59:59Z'],
  ['timestamptz', 'infinity', 'infinity'],
  ['timetz', '12:34:56.789+05:30', '12:34:56.789+05:30'],
  ['interval', '1 year 2 mons -3 days 04:05:06.7', 'P1Y2M-3DT4H5M6.7S'],
  ['interval', 'infinity', 'infinity'],
  ['uuid', 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', same],
  ['json', '{"a": 12345678901234567890, "a": 1.10}', same],
  ['jsonb', '{"b": [1, null, "x\\ty"]}', same],
  ['jsonb', 'null', 'null'],
  ['xml', '<a b="1">x</a>', same],
  ['bit(4)', '0101', '0101'],
  ['varbit', '', ''],
  ['integer[]', '{1,NULL,3}', '{1,NULL,3}'],
  ['text[]', '{"a b",NULL,"NULL","q\\"\\\\",""}', same],
  ['integer[]', '[0:1]={1,2}', same],
  ['numeric[]', '{1.10,NaN}', '{1.10,NaN}'],
  ['timestamptz[]', '{"2024-01-01 00:00:00+02"}', same],
  ['inet', '10.0.0.1/8', same],
  ['cidr', '10.0.0.0/8', same],
  ['macaddr', '08:00:2b:01:02:03', same],
  ['macaddr8', '08:00:2b:01:02:03:04:05', same],
  ['point', '(1.5,-2)', same],
  ['line', '{1,2,3}', same],
  ['box', '(1,1),(0,0)', same],
  ['path', '((0,0),(1,1))', same],
  ['polygon', '((0,0),(1,1),(1,0))', same],
  ['circle', '<(0,0),1>', same],
  ['int4range', '[1,10)', same],
  ['tstzrange', '[2024-01-01 00:00+00,)', same],
  ['nummultirange', '{[1,2),[3,4)}', same],
  ['tsvector', `'fat':2 'cat':3`, same],
  ['tsquery', `'fat' & 'rat'`, same],
  ['pg_lsn', '16/B374D848', same],
  ['txid_snapshot', '10:20:10,14,15', same],
  ['jsonpath', '$."a"[*]', same],
  ['mood', 'sehr gut', 'sehr gut'],
  ['mood[]', '{"sehr gut"}', same],
  ['posint', '42', 42],
  ['price', '12.50', '12.50'],
  ['day', '2024-02-29', 19782],
  ['address', '("1 ""Main"" st",123)', same],
  ['hstore', '"a"=>"1", "b"=>NULL', same],
  ['citext', 'MiXed', 'MiXed'],
  ['ltree', 'a.b.c', same],
];

const KINDS: Readonly<Record<string, string>> = {
  mood: 'enum',
  'mood[]': 'array',
  posint: 'int32',
  price: 'decimal',
  day: 'date',
  hstore: 'string',
  citext: 'string',
  'bit(4)': 'bits',
  jsonb: 'json',
  money: 'decimal',
  timestamptz: 'timestamptz',
};

const TYPES_SQL = `
  CREATE TYPE mood AS ENUM ('gut', 'sehr gut');
  CREATE DOMAIN posint AS int CHECK (VALUE > 0);
  CREATE DOMAIN price0 AS numeric(8,2);
  CREATE DOMAIN price AS price0;
  CREATE DOMAIN day AS date;
  CREATE TYPE address AS (street text, no int);`;

const HOSTILE = [
  `datestyle = 'German'`,
  `timezone = 'Asia/Kolkata'`,
  `intervalstyle = 'sql_standard'`,
  `bytea_output = 'escape'`,
  `extra_float_digits = -5`,
  `array_nulls = off`,
  `search_path = nowhere`,
  `client_encoding = 'LATIN1'`,
  `standard_conforming_strings = off`,
];

describe('postgres types', () => {
  it('arrive exactly, the same from COPY and from the stream, whatever the defaults', async () => {
    await using db = await freshDatabase(server, 'types');
    const available = await db.sql.query(
      `SELECT name FROM pg_available_extensions WHERE name IN ('hstore', 'citext', 'ltree')`,
    );
    const extensions = new Set(available.rows.map((row) => row['name'] as string));
    for (const name of extensions) await db.sql.query(`CREATE EXTENSION ${name}`);
    await db.sql.query(TYPES_SQL);
    const cases = CASES.filter(
      ([type]) => !['hstore', 'citext', 'ltree'].includes(type) || extensions.has(type),
    );
    const columns = cases.map(([type], index) => `c${index} ${type}`).join(', ');
    const values = cases.map(([, literal]) => literal);
    const insert = `INSERT INTO t VALUES (${['$1', ...values.map((_, i) => `$${i + 2}`)].join(', ')})`;
    await db.sql.query(`SET datestyle = 'ISO, YMD'`);
    await db.sql.query(`CREATE TABLE t (id int PRIMARY KEY, ${columns})`);
    await db.sql.query(`INSERT INTO t (id) VALUES (0)`);
    await db.sql.query(insert, [1, ...values]);
    for (const setting of HOSTILE) await db.sql.query(`ALTER DATABASE types SET ${setting}`);
    const run = await Run.open(db.config, { streams: ['t'] });
    await run.caughtUp(db.config);
    await db.sql.query(`INSERT INTO t (id) VALUES (2)`);
    await db.sql.query(insert, [3, ...values]);
    await run.caughtUp(db.config);
    await db.sql.query(
      `SET timezone = 'UTC'; SET intervalstyle = 'iso_8601'; SET extra_float_digits = 1`,
    );
    const { rows } = await db.sql.query('SELECT * FROM t WHERE id = 1');
    const [emptyCopied, copied, emptyStreamed, streamed] = run.events().map((event) => event.after);
    expect(run.events().map((event) => event.op)).toEqual(['r', 'r', 'c', 'c']);
    cases.forEach(([type, literal, expected], index) => {
      const name = `c${index}`;
      const truth = expected === same ? rows[0]?.[name] : expected;
      expect(copied?.[name], `${type} ${literal} by COPY`).toEqual(truth);
      expect(streamed?.[name], `${type} ${literal} by the stream`).toEqual(truth);
      expect(emptyCopied?.[name]).toBeNull();
      expect(emptyStreamed?.[name]).toBeNull();
    });
    expect(run.registry.schemas).toHaveLength(1);
    const kinds = new Map(run.registry.schemas[0]?.columns.map((c) => [c.name, c.type]));
    cases.forEach(([type], index) => {
      if (KINDS[type] !== undefined) expect(kinds.get(`c${index}`)?.kind, type).toBe(KINDS[type]);
    });
    expect(kinds.get(`c${cases.findIndex(([type]) => type === 'price')}`)).toEqual({
      kind: 'decimal',
      precision: 8,
      scale: 2,
      native: 'numeric(8,2)',
    });
    await run.close();
  });

  it('stops the stream, and no other, at text that is not UTF-8', async () => {
    const admin = await (await import('./capture-harness.ts')).sqlClient(server);
    await admin.query(
      `CREATE DATABASE ascii TEMPLATE template0 ENCODING 'SQL_ASCII' LC_COLLATE 'C' LC_CTYPE 'C'`,
    );
    await admin.end();
    const { sqlClient, configOf } = await import('./capture-harness.ts');
    const sql = await sqlClient(server, 'ascii');
    await sql.query(
      'CREATE TABLE t (id int PRIMARY KEY, a text); CREATE TABLE u (id int PRIMARY KEY)',
    );
    const config = configOf(server, {
      database: 'ascii',
      replication_method: {
        method: 'CDC',
        replication_slot: 'ascii',
        publication: 'ascii',
        create: true,
      },
    });
    const run = await Run.open(config, { streams: ['t', 'u'] });
    await run.caughtUp(config);
    await sql.query(`INSERT INTO t VALUES (1, 'ok')`);
    await sql.query(`SET client_encoding = 'SQL_ASCII'`);
    await sql.query(`INSERT INTO t VALUES (2, E'\\xff')`);
    await sql.query(`INSERT INTO u VALUES (1)`);
    await run.caughtUp(config);
    expect(run.events('public.t')).toHaveLength(1);
    expect(run.events('public.u')).toHaveLength(1);
    const streams = run.state?.details['streams'] as Record<string, { stopped?: { code: string } }>;
    expect(streams['public.t']?.stopped?.code).toBe('SRC_VALUE');
    expect(streams['public.u']?.stopped).toBeUndefined();
    await run.close();
    await sql.end();
  });
});
