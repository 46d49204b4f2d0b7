/** A column of every type and edge; values are SQL, `text` the expression that prints the cell. */
export interface ZooColumn {
  readonly name: string;
  readonly type: string;
  readonly values: readonly string[];
}

const column = (name: string, type: string, ...values: string[]): ZooColumn => ({
  name: `c_${name}`,
  type,
  values,
});

const NUMBERS = [
  column('tiny', 'tinyint', '-128', '127', '0'),
  column('tiny_u', 'tinyint unsigned', '255', '0', '128'),
  column('tiny1', 'tinyint(1)', '1', '0', '7'),
  column('small', 'smallint', '-32768', '32767'),
  column('small_u', 'smallint unsigned', '65535', '32768'),
  column('medium', 'mediumint', '-8388608', '8388607'),
  column('year', 'year', '1901', '2155', '0', '2024'),
  column('medium_u', 'mediumint unsigned', '16777215', '8388608'),
  column('int', 'int', '-2147483648', '2147483647'),
  column('int_u', 'int unsigned', '4294967295', '2147483648'),
  column('int_z', 'int(10) unsigned zerofill', '42', '4294967295'),
  column('big', 'bigint', '-9223372036854775808', '9223372036854775807', '-1'),
  column('big_u', 'bigint unsigned', '18446744073709551615', '9223372036854775808', '0'),
  column('float', 'float', '1.1', '-3.4028234e38', '1.17549435e-38', '16777217', '-0.0'),
  column('double', 'double', '1.1', '-1.7976931348623157e308', '2.2250738585072014e-308', '1e15'),
  column('double_d', 'double(10,2)', '1.25', '-12345678.91'),
  column(
    'dec_65',
    'decimal(65,30)',
    "'12345678901234567890123456789012345.123456789012345678901234567890'",
    "'-0.000000000000000000000000000001'",
    '0',
  ),
  column('dec_9', 'decimal(9,9)', "'-0.000000001'", "'0.999999999'"),
  column('dec_10', 'decimal(10,0)', '-9999999999', '1'),
  column('dec_u', 'decimal(20,4) unsigned', '1234567890123456.7891', '0'),
  column('dec_z', 'decimal(8,2) zerofill', '1.5', '0'),
  column('bit1', 'bit(1)', "b'1'", "b'0'"),
  column('bit10', 'bit(10)', "b'1000000001'", "b'0'"),
  column(
    'bit64',
    'bit(64)',
    "b'1111111111111111111111111111111111111111111111111111111111111111'",
    "b'1'",
  ),
  column('bool', 'boolean', 'true', 'false'),
];

const TIMES = [
  column('date', 'date', "'1000-01-01'", "'9999-12-31'", "'2024-02-29'"),
  column('date_zero', 'date', "'0000-00-00'", "'2024-00-10'", "'2024-05-06'"),
  column('time', 'time', "'838:59:59'", "'-838:59:59'", "'00:00:00'", "'-00:00:01'"),
  column('time1', 'time(1)', "'-00:00:01.5'", "'12:34:56.7'"),
  column('time2', 'time(2)', "'-12:34:56.78'", "'12:34:56.01'"),
  column('time3', 'time(3)', "'-00:00:00.001'", "'12:34:56.789'"),
  column('time4', 'time(4)', "'-01:00:00.0001'", "'12:34:56.7891'"),
  column('time6', 'time(6)', "'-838:59:58.999999'", "'838:59:58.999999'", "'00:00:00.000001'"),
  column('datetime', 'datetime', "'1000-01-01 00:00:00'", "'9999-12-31 23:59:59'"),
  column('datetime2', 'datetime(2)', "'2024-03-31 02:30:00.12'"),
  column('datetime3', 'datetime(3)', "'2024-03-31 02:30:00.123'", "'1969-12-31 23:59:59.999'"),
  column(
    'datetime6',
    'datetime(6)',
    "'9999-12-31 23:59:59.999999'",
    "'1000-01-01 00:00:00.000001'",
  ),
  column('datetime_zero', 'datetime', "'0000-00-00 00:00:00'", "'2024-01-01 00:00:00'"),
  column('timestamp', 'timestamp null', "'1970-01-01 00:00:01'", "'2038-01-19 03:14:07'"),
  column('timestamp1', 'timestamp(1) null', "'2024-02-29 12:00:00.5'"),
  column(
    'timestamp6',
    'timestamp(6) null',
    "'2038-01-19 03:14:07.999999'",
    "'2024-10-27 01:30:00.000001'",
  ),
  column('timestamp_zero', 'timestamp null', "'0000-00-00 00:00:00'", "'2000-01-01 00:00:00'"),
];

const TEXTS = [
  column('char', 'char(10)', "'abc'", "'abc  '", "''", "'日本語'"),
  column('char_long', 'char(255) character set utf8mb4', "'x😀'", "repeat('é', 255)"),
  column('varchar', 'varchar(20)', "'a''b\"c\\\\d'", "' pad '", "'😀'"),
  column('varchar_long', 'varchar(1000)', "repeat('ü', 1000)", "'x'"),
  column('latin1', 'varchar(50) character set latin1', "'€ é ÿ'", "x'818d8f'"),
  column('cp1251', 'varchar(50) character set cp1251', "'Привет'"),
  column('koi8r', 'varchar(50) character set koi8r', "'мир'"),
  column('gbk', 'varchar(50) character set gbk', "'中文'", "'a'"),
  column('big5', 'varchar(50) character set big5', "'中文'"),
  column('sjis', 'varchar(50) character set sjis', "'日本'"),
  column('ucs2', 'varchar(50) character set ucs2', "'aé中'"),
  column('utf16', 'varchar(50) character set utf16', "'a😀'"),
  column('utf16_char', 'char(10) character set utf16', "'ab'", "'中 '"),
  column('utf32', 'varchar(50) character set utf32', "'a😀中'"),
  column('utf8', 'varchar(50) character set utf8mb3', "'é中'"),
  column('ascii', 'varchar(50) character set ascii', "'plain'"),
  column('tinytext', 'tinytext', "'t'", "''"),
  column('text', 'text', "repeat('text', 2000)"),
  column('mediumtext', 'mediumtext', "repeat('m', 70000)"),
  column('longtext', 'longtext', "'l'"),
  column('text_latin1', 'text character set latin1', "'ÄÖÜ'"),
  column('enum', "enum('a','b,c','d''e','é')", "'b,c'", "'d''e'", "'é'", "'nonsense'"),
  column('set', "set('x','y','z''z','ö')", "'x,y'", "'z''z,ö'", "''"),
  column(
    'set_many',
    `set(${Array.from({ length: 34 }, (_, i) => `'m${i}'`).join(',')})`,
    "'m0,m33'",
  ),
];

const BYTES = [
  column('binary', 'binary(8)', "x'0102'", "x'0000000000000000'", "x'ff00000000000000'"),
  column('binary16', 'binary(16)', "x'00112233445566778899aabbccddeeff'", "x'01'"),
  column('varbinary', 'varbinary(300)', "x'00ff00'", "''"),
  column('tinyblob', 'tinyblob', "x'00ff'"),
  column('blob', 'blob', "repeat(x'00ff', 1000)"),
  column('mediumblob', 'mediumblob', "x'01'"),
  column('longblob', 'longblob', "x'deadbeef'"),
  column('point', 'point', 'ST_GeomFromText("POINT(1 2)", 4326)', 'POINT(0, -1.5)'),
  column('geometry', 'geometry', 'ST_GeomFromText("LINESTRING(0 0, 1 1)")'),
  column('generated', 'varchar(20) as (concat(c_tiny, "!")) stored'),
  column('virtual', 'int as (c_tiny + 1) virtual'),
];

const JSON_VALUES = [
  `'{"b": 1, "a": [1, 2.5, -0.0, "x\\\\"y\\\\\\\\", null, true, {"k": {}}, []]}'`,
  `'[18446744073709551615, -9223372036854775808, 65536, -32769, 1e100, 1e-7, 123456789012345680, 0.1, 1e15, 1e16, 1e14, 0.001]'`,
  `'"é😀 \\\\u0001 \\\\n \\\\t /"'`,
  `'{}'`,
  `concat('[', repeat('{"key": "a rather long value", "n": 12345678}, ', 3000), '1]')`,
];

const MYSQL = [
  column('json', 'json', ...JSON_VALUES),
  column(
    'json_sql',
    'json',
    `json_array(cast(1.10 as decimal(10,3)), cast('2024-02-29' as date), cast('12:34:56.789' as time(3)), cast('2024-02-29 12:00:00.5' as datetime(6)), cast('-01:02:03' as time), cast(-12.5 as decimal(5,2)))`,
    `cast(b'1' as json)`,
    `json_object('bin', cast(x'0102' as binary))`,
  ),
];

const MARIADB = [
  column('json', 'json', `'{"b": 1,  "a": [1, 2.50]}'`),
  column(
    'uuid',
    'uuid',
    "'123e4567-e89b-12d3-a456-426614174000'",
    "'0190163d-8694-739b-aea5-966c26f8ad91'",
    "'00000000-0000-0000-0000-000000000000'",
  ),
  column('inet4', 'inet4', "'192.168.0.1'", "'0.0.0.0'"),
  column(
    'inet6',
    'inet6',
    "'2001:db8::ff00:42:8329'",
    "'::'",
    "'::ffff:192.0.2.1'",
    "'::192.0.2.1'",
    "'1:0:0:2::3'",
    "'fe80::'",
  ),
  column('last', 'varchar(20) character set latin1', "'é'"),
];

export type ServerKind = 'mysql' | 'mariadb';

export const ZOO: Readonly<Record<ServerKind, readonly ZooColumn[]>> = {
  mysql: [...NUMBERS, ...TIMES, ...TEXTS, ...BYTES, ...MYSQL],
  mariadb: [...NUMBERS, ...TIMES, ...TEXTS, ...BYTES, ...MARIADB],
};

export function zooTable(kind: ServerKind): string {
  const columns = ZOO[kind].map(({ name, type }) => `${name} ${type}`);
  return `CREATE TABLE zoo (id int PRIMARY KEY, ${columns.join(', ')})`;
}

/** One row with nothing but nulls, then rows that between them hold every value. */
export function zooRows(kind: ServerKind, firstId: number): string[] {
  const columns = ZOO[kind].filter(({ values }) => values.length > 0);
  const rows = Math.max(...columns.map(({ values }) => values.length));
  const names = columns.map(({ name }) => name).join(', ');
  const statements = [`INSERT INTO zoo (id) VALUES (${firstId})`];
  for (let row = 0; row < rows; row++) {
    const values = columns.map(({ values }) => values[row % values.length]);
    statements.push(
      `INSERT IGNORE INTO zoo (id, ${names}) VALUES (${firstId + row + 1}, ${values.join(', ')})`,
    );
  }
  return statements;
}
