/**
 * Columns of every kind that Postgres has, each with values at its edges: the table of the type test
 * at the end of the pipeline. A value is an SQL expression.
 */
export interface ZooColumn {
  readonly name: string;
  readonly type: string;
  readonly values: readonly string[];
}

export const ZOO_TYPES = [
  `create type mood as enum ('sad', 'ok', 'it''s "fine"')`,
  `create domain positive as integer check (value > 0)`,
  `create domain short_text as varchar(10)`,
  `create type address as (street text, number integer, since date)`,
  `create extension hstore`,
  `create extension citext`,
  `create extension ltree`,
] as const;

const text = (value: string): string => `'${value.replaceAll("'", "''")}'`;

export const ZOO: readonly ZooColumn[] = [
  { name: 'c_smallint', type: 'smallint', values: ['-32768', '32767', '0'] },
  { name: 'c_integer', type: 'integer', values: ['-2147483648', '2147483647'] },
  {
    name: 'c_bigint',
    type: 'bigint',
    values: ['-9223372036854775808', '9223372036854775807', '9007199254740993'],
  },
  { name: 'c_oid', type: 'oid', values: ['0', '4294967295'] },
  { name: 'c_boolean', type: 'boolean', values: ['true', 'false'] },
  {
    name: 'c_real',
    type: 'real',
    values: ['1.1', `'-0'`, `'NaN'`, `'Infinity'`, '3.4028235e38', '1e-45'],
  },
  {
    name: 'c_double',
    type: 'double precision',
    values: ['0.1', `'-0'`, `'NaN'`, `'-Infinity'`, '1.7976931348623157e308', '5e-324'],
  },
  {
    name: 'c_numeric',
    type: 'numeric',
    values: [
      '1.10',
      `'NaN'`,
      `'Infinity'`,
      `'-Infinity'`,
      '-0.00000000000000000001',
      '12345678901234567890123456789012345678901234567890.5',
    ],
  },
  {
    name: 'c_numeric_12_2',
    type: 'numeric(12,2)',
    values: ['9999999999.99', '-0.01', '0', `'NaN'`],
  },
  {
    name: 'c_numeric_38_10',
    type: 'numeric(38,10)',
    values: ['1234567890123456789012345678.0123456789', '-0.0000000001'],
  },
  { name: 'c_numeric_5_m2', type: 'numeric(3,-2)', values: ['12300', '-99900'] },
  {
    name: 'c_money',
    type: 'money',
    values: ['1234.56', `'-92233720368547758.08'`, `'92233720368547758.07'`],
  },
  {
    name: 'c_text',
    type: 'text',
    values: [
      text('tab\tand\\backslash\nline'),
      `''`,
      text('Zoë 漢字 😀'),
      `repeat('x', 100000)`,
      text('null'),
      text('\\N'),
    ],
  },
  { name: 'c_varchar', type: 'varchar(20)', values: [text('it\'s "quoted"'), `' padded '`] },
  { name: 'c_char', type: 'char(5)', values: [`'ab'`, `'abcde'`] },
  { name: 'c_char1', type: '"char"', values: [`'x'`] },
  { name: 'c_name', type: 'name', values: [`'a_name'`] },
  { name: 'c_citext', type: 'citext', values: [`'MiXeD'`] },
  {
    name: 'c_bytea',
    type: 'bytea',
    values: [`'\\x'`, `'\\x00ff5c0a09'`, `decode(repeat('ab', 3000), 'hex')`],
  },
  {
    name: 'c_date',
    type: 'date',
    values: [
      `'2024-02-29'`,
      `'infinity'`,
      `'-infinity'`,
      `'4713-01-01 BC'`,
      `'5874897-12-31'`,
      `'0001-01-01'`,
    ],
  },
  { name: 'c_time', type: 'time', values: [`'24:00:00'`, `'00:00:00'`, `'23:59:59.999999'`] },
  { name: 'c_timetz', type: 'timetz', values: [`'12:34:56.789+05:30'`, `'24:00:00-15:59'`] },
  {
    name: 'c_timestamp',
    type: 'timestamp',
    values: [
      `'2024-03-31 02:30:00.123456'`,
      `'infinity'`,
      `'-infinity'`,
      `'4713-01-01 00:00:00 BC'`,
      `'294276-12-31 23:59:59.999999'`,
      `'1969-12-31 23:59:59.999999'`,
    ],
  },
  { name: 'c_timestamp_3', type: 'timestamp(3)', values: [`'2024-03-31 02:30:00.123'`] },
  {
    name: 'c_timestamptz',
    type: 'timestamptz',
    values: [
      `'2024-03-31 02:30:00.123456+02'`,
      `'infinity'`,
      `'-infinity'`,
      `'0044-03-15 12:00:00+00 BC'`,
      `'10000-01-01 00:00:00+00'`,
      `'294276-12-31 23:59:59.999999+00'`,
    ],
  },
  {
    name: 'c_interval',
    type: 'interval',
    values: [
      `'1 year 2 mons 3 days 04:05:06.789'`,
      `'-1 year +2 days -03:00:00'`,
      `'178000000 years'`,
      `'0'`,
      `'-0.000001 seconds'`,
    ],
  },
  { name: 'c_uuid', type: 'uuid', values: [`'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'`] },
  {
    name: 'c_json',
    type: 'json',
    values: [text('{"b": 1,  "a": 12345678901234567890, "a": 2}'), `'null'`, text('["\\u0041"]')],
  },
  {
    name: 'c_jsonb',
    type: 'jsonb',
    values: [text('{"n": 12345678901234567890.123, "ä": [null, true]}'), `'null'`, `'[]'`],
  },
  { name: 'c_jsonpath', type: 'jsonpath', values: [`'$.a[*] ? (@ > 1)'`] },
  { name: 'c_xml', type: 'xml', values: [text('<a b="c">d</a>')] },
  { name: 'c_bit', type: 'bit(3)', values: [`B'101'`] },
  { name: 'c_bit1', type: 'bit(1)', values: [`B'1'`] },
  {
    name: 'c_varbit',
    type: 'varbit',
    values: [`B''`, `B'0000000000000000000000000000000000000000000000000000000000000000000001'`],
  },
  { name: 'c_inet', type: 'inet', values: [`'192.168.0.1/24'`, `'::1'`] },
  { name: 'c_cidr', type: 'cidr', values: [`'10.0.0.0/8'`] },
  { name: 'c_macaddr', type: 'macaddr', values: [`'08:00:2b:01:02:03'`] },
  { name: 'c_macaddr8', type: 'macaddr8', values: [`'08:00:2b:01:02:03:04:05'`] },
  { name: 'c_point', type: 'point', values: [`'(1.5,-2)'`] },
  { name: 'c_line', type: 'line', values: [`'{1,2,3}'`] },
  { name: 'c_lseg', type: 'lseg', values: [`'[(0,0),(1,1)]'`] },
  { name: 'c_box', type: 'box', values: [`'(1,1),(0,0)'`] },
  { name: 'c_path', type: 'path', values: [`'[(0,0),(1,1)]'`] },
  { name: 'c_polygon', type: 'polygon', values: [`'((0,0),(1,1),(1,0))'`] },
  { name: 'c_circle', type: 'circle', values: [`'<(0,0),2>'`] },
  { name: 'c_tsvector', type: 'tsvector', values: [text(`a fat cat 'it''s':3`)] },
  { name: 'c_tsquery', type: 'tsquery', values: [`'fat & (rat | cat)'`] },
  { name: 'c_pg_lsn', type: 'pg_lsn', values: [`'16/B374D848'`] },
  { name: 'c_int4range', type: 'int4range', values: [`'[1,10)'`, `'empty'`] },
  { name: 'c_numrange', type: 'numrange', values: [`'(1.1,)'`] },
  { name: 'c_tstzrange', type: 'tstzrange', values: [`'[2024-01-01 00:00:00+00,infinity)'`] },
  { name: 'c_daterange', type: 'daterange', values: [`'[2024-01-01,2024-02-01)'`] },
  { name: 'c_int8multirange', type: 'int8multirange', values: [`'{[1,3),[7,9)}'`] },
  { name: 'c_enum', type: 'mood', values: [`'sad'`, text('it\'s "fine"')] },
  { name: 'c_domain', type: 'positive', values: ['5'] },
  { name: 'c_text_domain', type: 'short_text', values: [`'short'`] },
  { name: 'c_composite', type: 'address', values: [text('("1 ""Main"" st",123,2024-01-01)')] },
  { name: 'c_hstore', type: 'hstore', values: [text('"a"=>"1", "b"=>NULL')] },
  { name: 'c_ltree', type: 'ltree', values: [`'Top.Science'`] },
  {
    name: 'c_int_array',
    type: 'integer[]',
    values: [`'{1,NULL,3}'`, `'{}'`, `'{{1,2},{3,4}}'`, `'[0:1]={1,2}'`],
  },
  {
    name: 'c_text_array',
    type: 'text[]',
    values: [text('{"a b",NULL,"NULL","q\\"uote","back\\\\slash",""}')],
  },
  { name: 'c_numeric_array', type: 'numeric(10,2)[]', values: [`'{1.10,NaN}'`] },
  {
    name: 'c_timestamptz_array',
    type: 'timestamptz[]',
    values: [`'{"2024-01-01 00:00:00+00",infinity}'`],
  },
  { name: 'c_jsonb_array', type: 'jsonb[]', values: [`array['{"a": 1}'::jsonb, 'null'::jsonb]`] },
  { name: 'c_enum_array', type: 'mood[]', values: [`'{sad,ok}'`] },
  { name: 'c_uuid_array', type: 'uuid[]', values: [`'{a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11}'`] },
  { name: 'c_bytea_array', type: 'bytea[]', values: [`array['\\xdead'::bytea]`] },
  { name: 'with "quotes" and ünïcode', type: 'integer', values: ['1'] },
  { name: 'select', type: 'text', values: [`'a reserved word'`] },
  { name: 'CamelCase', type: 'text', values: [`'kept'`] },
];

const quoted = (name: string): string => `"${name.replaceAll('"', '""')}"`;

export function zooTable(): string {
  const columns = ZOO.map(({ name, type }) => `${quoted(name)} ${type}`);
  return `create table zoo (id integer primary key, ${columns.join(', ')})`;
}

/** One row for the n-th value of every column (columns with fewer begin again), and one of NULLs. */
export function zooRows(firstId: number): string[] {
  const most = Math.max(...ZOO.map(({ values }) => values.length));
  const rows = Array.from({ length: most }, (_, n) => {
    const cells = ZOO.map(
      ({ values, type }) => `(${values[n % values.length] as string})::${type}`,
    );
    return `insert into zoo values (${firstId + n}, ${cells.join(', ')})`;
  });
  return [...rows, `insert into zoo (id) values (${firstId + most})`];
}
