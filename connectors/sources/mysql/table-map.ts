import { lengthAt, lengthBytes } from './packets.ts';

/** Types of columns on the wire. */
export const WIRE = {
  tiny: 1,
  short: 2,
  long: 3,
  float: 4,
  double: 5,
  timestamp: 7,
  longlong: 8,
  int24: 9,
  date: 10,
  time: 11,
  datetime: 12,
  year: 13,
  varchar: 15,
  bit: 16,
  timestamp2: 17,
  datetime2: 18,
  time2: 19,
  vector: 242,
  json: 245,
  decimal: 246,
  enum: 247,
  set: 248,
  blob: 252,
  varString: 253,
  string: 254,
  geometry: 255,
} as const;

/** A column as a TABLE_MAP event describes it. */
export interface WireColumn {
  readonly type: number;
  /** Two bytes of metadata, their meaning the type's own. */
  readonly meta: number;
  name: string;
  unsigned: boolean;
  /** Id of the collation; 0 where none is told. */
  collation: number;
  nullable: boolean;
  /** Members of an ENUM or SET, in the bytes of its character set. */
  members: readonly Buffer[];
}

export interface TableMap {
  readonly id: number;
  readonly database: string;
  readonly table: string;
  readonly columns: readonly WireColumn[];
  /** Ordinals of the primary key's columns, in key order. */
  readonly key: readonly number[];
  /** Whether the server writes names, signs and character sets (binlog_row_metadata = FULL). */
  readonly described: boolean;
  /** Whether it writes which numbers have no sign (MySQL always, MariaDB from MINIMAL on). */
  readonly signs: boolean;
}

const META_BYTES: Readonly<Record<number, number>> = {
  [WIRE.float]: 1,
  [WIRE.double]: 1,
  [WIRE.blob]: 1,
  [WIRE.geometry]: 1,
  [WIRE.json]: 1,
  [WIRE.vector]: 1,
  [WIRE.timestamp2]: 1,
  [WIRE.datetime2]: 1,
  [WIRE.time2]: 1,
  140: 1,
  [WIRE.varchar]: 2,
  [WIRE.varString]: 2,
  [WIRE.bit]: 2,
  [WIRE.decimal]: 2,
  [WIRE.string]: 2,
  [WIRE.enum]: 2,
  [WIRE.set]: 2,
  141: 2,
};

class Reader {
  pos: number;
  readonly bytes: Buffer;

  constructor(bytes: Buffer, pos: number) {
    this.bytes = bytes;
    this.pos = pos;
  }

  length(): number {
    const value = lengthAt(this.bytes, this.pos);
    this.pos += lengthBytes;
    return value;
  }

  run(length: number): Buffer {
    this.pos += length;
    return this.bytes.subarray(this.pos - length, this.pos);
  }
}

function columnOf(type: number, reader: Reader): WireColumn {
  const width = META_BYTES[type] ?? 0;
  const raw = reader.run(width);
  let meta = width === 0 ? 0 : width === 1 ? (raw[0] as number) : raw.readUInt16LE(0);
  let real = type;
  if (type === WIRE.string) {
    const [kind = 0, length = 0] = raw;
    // Two bits of a long CHAR's length hide in the type's byte, inverted.
    real = (kind & 0x30) === 0x30 ? kind : kind | 0x30;
    meta =
      real === WIRE.enum || real === WIRE.set ? length : length | (((kind & 0x30) ^ 0x30) << 4);
  }
  return {
    type: real,
    meta,
    name: '',
    unsigned: false,
    collation: 0,
    nullable: false,
    members: [],
  };
}

const NUMERIC: ReadonlySet<number> = new Set<number>([
  WIRE.tiny,
  WIRE.short,
  WIRE.int24,
  WIRE.long,
  WIRE.longlong,
  WIRE.decimal,
  WIRE.float,
  WIRE.double,
  WIRE.year,
]);
const CHARACTER: ReadonlySet<number> = new Set<number>([
  WIRE.string,
  WIRE.varString,
  WIRE.varchar,
  WIRE.blob,
  140,
  141,
]);
const MEMBERS: ReadonlySet<number> = new Set<number>([WIRE.enum, WIRE.set]);

/** MariaDB counts a GEOMETRY among the columns that have a collation, MySQL does not. */
export function readTableMap(bytes: Buffer, pos: number, end: number, mariadb: boolean): TableMap {
  const reader = new Reader(bytes, pos + 8);
  const text = (): string => {
    const found = reader.run(reader.length()).toString('utf8');
    reader.pos++;
    return found;
  };
  const database = text();
  const table = text();
  const types = reader.run(reader.length());
  reader.length();
  const columns = Array.from(types, (type) => columnOf(type, reader));
  const nulls = reader.run((columns.length + 7) >> 3);
  columns.forEach((column, i) => {
    column.nullable = (((nulls[i >> 3] as number) >> (i & 7)) & 1) === 1;
  });
  const id = bytes.readUIntLE(pos, 6);
  return { id, database, table, columns, ...readMetadata(reader, end, columns, mariadb) };
}

function readMetadata(
  reader: Reader,
  end: number,
  columns: readonly WireColumn[],
  mariadb: boolean,
): Pick<TableMap, 'key' | 'described' | 'signs'> {
  const key: number[] = [];
  let described = false;
  let signs = false;
  const numeric = columns.filter((column) => NUMERIC.has(column.type));
  const character = columns.filter(
    ({ type }) => CHARACTER.has(type) || (mariadb && type === WIRE.geometry),
  );
  const listed = columns.filter((column) => MEMBERS.has(column.type));
  while (reader.pos < end) {
    const type = reader.bytes[reader.pos++];
    const length = reader.length();
    const field = new Reader(reader.bytes, reader.pos);
    const stop = reader.pos + length;
    reader.pos = stop;
    if (type === 1) {
      signs = true;
      readSigns(field, numeric);
    } else if (type === 2) readDefaultCollation(field, stop, character);
    else if (type === 3) for (const column of character) column.collation = field.length();
    else if (type === 4) {
      described = true;
      for (const column of columns) column.name = field.run(field.length()).toString('utf8');
    } else if (type === 5) readMembers(field, listed, WIRE.set);
    else if (type === 6) readMembers(field, listed, WIRE.enum);
    else if (type === 8) while (field.pos < stop) key.push(field.length());
    else if (type === 9) {
      for (; field.pos < stop; field.length()) key.push(field.length());
    } else if (type === 10) readDefaultCollation(field, stop, listed);
    else if (type === 11) for (const column of listed) column.collation = field.length();
  }
  return { key, described, signs };
}

function readSigns(field: Reader, numeric: readonly WireColumn[]): void {
  numeric.forEach((column, index) => {
    const bits = field.bytes[field.pos + (index >> 3)] as number;
    column.unsigned = ((bits >> (7 - (index & 7))) & 1) === 1;
  });
}

function readDefaultCollation(field: Reader, stop: number, columns: readonly WireColumn[]): void {
  const common = field.length();
  for (const column of columns) column.collation = common;
  while (field.pos < stop) {
    const column = columns[field.length()];
    const collation = field.length();
    if (column !== undefined) column.collation = collation;
  }
}

function readMembers(field: Reader, listed: readonly WireColumn[], type: number): void {
  for (const column of listed) {
    if (column.type !== type) continue;
    column.members = Array.from({ length: field.length() }, () =>
      Buffer.from(field.run(field.length())),
    );
  }
}
