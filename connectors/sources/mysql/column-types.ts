import type { ColumnKind, ColumnType } from '../../../schemas/values/column-type.ts';
import type { CellEncoder } from '../../capture/row-codec.ts';
import { avroString } from '../../capture/row-codec.ts';
import type { ColumnFacts } from './catalog.ts';
import type { Charset } from './charsets.ts';
import * as numbers from './encode-numbers.ts';
import * as times from './encode-times.ts';
import { badValue } from './errors.ts';
import { jsonText } from './json-text.ts';
import { WIRE, type WireColumn } from './table-map.ts';

/** How cells of one column become Avro. */
export interface CellPlan {
  readonly type: ColumnType;
  readonly encode: CellEncoder;
  /** Set for dates: whether the cell is no day of the calendar, and so becomes null. */
  readonly noDay: times.NoDayTest | null;
}

/** How a cell lies in a row of the log: its width, or minus the width of the length before it. */
export interface WirePlan extends CellPlan {
  readonly width: number;
}

const KIND_OF: Readonly<Record<string, readonly [signed: ColumnKind, unsigned: ColumnKind]>> = {
  tinyint: ['int16', 'int16'],
  smallint: ['int16', 'int32'],
  mediumint: ['int32', 'int32'],
  int: ['int32', 'int64'],
  bigint: ['int64', 'decimal'],
};

const PLAIN_KIND: Readonly<Record<string, ColumnKind>> = {
  float: 'float32',
  double: 'float64',
  decimal: 'decimal',
  year: 'int16',
  bit: 'bits',
  date: 'date',
  time: 'interval',
  datetime: 'timestamp',
  timestamp: 'timestamptz',
  enum: 'enum',
  json: 'json',
  uuid: 'uuid',
};

const BYTES = /^(binary|varbinary|(tiny|medium|long)?blob|vector)$/;
const GEOMETRY = /^(geometry|point|polygon|linestring|multi.+|geometrycollection|geomcollection)$/;

interface TypeFacts {
  readonly dataType: string;
  readonly unsigned: boolean;
  readonly precision: number;
  readonly scale: number;
}

/** The canonical type. No `native`: MySQL's names mean other things elsewhere (`timestamp`, `bit`). */
export function canonicalType(facts: TypeFacts): ColumnType {
  const { dataType } = facts;
  const integer = KIND_OF[dataType];
  if (integer !== undefined) {
    const kind = integer[facts.unsigned ? 1 : 0];
    return kind === 'decimal' ? { kind, precision: 20, scale: 0 } : { kind };
  }
  if (dataType === 'decimal') {
    return { kind: 'decimal', precision: facts.precision, scale: facts.scale };
  }
  const plain = PLAIN_KIND[dataType];
  if (plain !== undefined) return { kind: plain };
  return { kind: BYTES.test(dataType) || GEOMETRY.test(dataType) ? 'bytes' : 'string' };
}

const copy: CellEncoder = (out, src, start, end) => {
  out.writeBytes(src, start, end);
};

/** For cells as a query prints them, converted to UTF-8 by the server. */
export function textPlan(column: ColumnFacts): CellPlan {
  const type = canonicalType(column);
  const isDay = /^(date|datetime|timestamp)$/.test(column.dataType);
  return { type, encode: textEncoder(column, type.kind), noDay: isDay ? times.isNoDayText : null };
}

function textEncoder(column: ColumnFacts, kind: ColumnKind): CellEncoder {
  switch (kind) {
    case 'int16':
    case 'int32':
    case 'int64':
      return numbers.encodeIntegerText;
    case 'decimal':
      return numbers.encodeDecimalText;
    case 'float32':
      return numbers.encodeFloatText;
    case 'float64':
      return numbers.encodeDoubleText;
    case 'bits':
      return numbers.encodeBits(column.precision);
    case 'date':
      return times.encodeDateText;
    case 'interval':
      return times.encodeTimeText;
    case 'timestamp':
      return times.encodeDatetimeText;
    case 'timestamptz':
      return times.encodeTimestampText;
    default:
      return copy;
  }
}

/** What has to be known to read a column of the log. `hint` is the catalog's name of a type that the
 * log does not tell apart from BINARY. Null for a type that we do not know. */
export function wirePlan(
  column: WireColumn,
  charset: Charset | null,
  hint: ColumnFacts | undefined,
): WirePlan | null {
  return numberPlan(column) ?? timePlan(column) ?? textualPlan(column, charset, hint);
}

function planned(
  facts: Partial<TypeFacts> & { dataType: string },
  width: number,
  encode: CellEncoder,
  noDay: times.NoDayTest | null = null,
): WirePlan {
  const type = canonicalType({ unsigned: false, precision: 0, scale: 0, ...facts });
  return { type, width, encode, noDay };
}

type IntegerWire = readonly [dataType: string, width: number, CellEncoder, CellEncoder];
const INTEGERS: Readonly<Record<number, IntegerWire>> = {
  [WIRE.tiny]: ['tinyint', 1, numbers.encodeInt8, numbers.encodeUint8],
  [WIRE.short]: ['smallint', 2, numbers.encodeInt16, numbers.encodeUint16],
  [WIRE.int24]: ['mediumint', 3, numbers.encodeInt24, numbers.encodeUint24],
  [WIRE.long]: ['int', 4, numbers.encodeInt32, numbers.encodeUint32],
  [WIRE.longlong]: ['bigint', 8, numbers.encodeInt64, numbers.encodeUint64],
};

function numberPlan(column: WireColumn): WirePlan | null {
  const { type, meta, unsigned } = column;
  const integer = INTEGERS[type];
  if (integer !== undefined) {
    const [dataType, width, signed, plain] = integer;
    return planned({ dataType, unsigned }, width, unsigned ? plain : signed);
  }
  switch (type) {
    case WIRE.float:
      return planned({ dataType: 'float' }, 4, numbers.encodeFloat);
    case WIRE.double:
      return planned({ dataType: 'double' }, 8, numbers.encodeDouble);
    case WIRE.year:
      return planned({ dataType: 'year' }, 1, numbers.encodeYear);
    case WIRE.decimal: {
      const [precision, scale] = [meta & 0xff, meta >> 8];
      const width = numbers.decimalBytes(precision, scale);
      const encode = numbers.encodeDecimal(precision, scale);
      return planned({ dataType: 'decimal', precision, scale }, width, encode);
    }
    case WIRE.bit: {
      const bits = (meta >> 8) * 8 + (meta & 0xff);
      return planned({ dataType: 'bit' }, (bits + 7) >> 3, numbers.encodeBits(bits));
    }
    default:
      return null;
  }
}

function timePlan(column: WireColumn): WirePlan | null {
  const fraction = (column.meta + 1) >> 1;
  switch (column.type) {
    case WIRE.date:
      return planned({ dataType: 'date' }, 3, times.encodeDate, times.isNoDayDate);
    case WIRE.time2:
      return planned({ dataType: 'time' }, 3 + fraction, times.encodeTime);
    case WIRE.datetime2:
      return planned(
        { dataType: 'datetime' },
        5 + fraction,
        times.encodeDatetime,
        times.isNoDayDatetime,
      );
    case WIRE.timestamp2:
      return planned(
        { dataType: 'timestamp' },
        4 + fraction,
        times.encodeTimestamp(column.meta),
        times.isNoDayTimestamp,
      );
    default:
      return null;
  }
}

function textualPlan(
  column: WireColumn,
  charset: Charset | null,
  hint: ColumnFacts | undefined,
): WirePlan | null {
  const { type, meta } = column;
  switch (type) {
    case WIRE.json:
      return planned({ dataType: 'json' }, -meta, (out, src, start, end) =>
        out.writeString(jsonText(src, start, end)),
      );
    case WIRE.geometry:
    case WIRE.vector:
      return planned({ dataType: 'blob' }, -meta, copy);
    case WIRE.enum:
    case WIRE.set:
      if (charset === null) return null;
      return type === WIRE.enum ? enumPlan(column, charset) : setPlan(column, charset);
    case WIRE.blob:
      return stringPlan(-meta, charset, 'blob');
    case WIRE.varchar:
    case WIRE.varString:
      return stringPlan(meta > 255 ? -2 : -1, charset, 'varbinary');
    case WIRE.string:
      return addressPlan(column, hint) ?? fixedStringPlan(column, charset);
    default:
      return null;
  }
}

function stringPlan(width: number, charset: Charset | null, bytes: string): WirePlan | null {
  if (charset === null) return null;
  return planned(
    { dataType: charset.name === 'binary' ? bytes : 'varchar' },
    width,
    charset.encode,
  );
}

/** The log leaves out the zeros at the end of BINARY(n). */
function fixedStringPlan(column: WireColumn, charset: Charset | null): WirePlan | null {
  const width = column.meta > 255 ? -2 : -1;
  if (charset?.name !== 'binary') return stringPlan(width, charset, 'binary');
  const size = column.meta;
  return planned({ dataType: 'binary' }, width, (out, src, start, end) => {
    out.ensure(size + 5);
    out.writeInt(size);
    out.copyRaw(src, start, end);
    for (let i = end - start; i < size; i++) out.writeByte(0);
  });
}

function enumPlan(column: WireColumn, charset: Charset): WirePlan {
  const names = ['', ...column.members.map((member) => charset.decode(member))].map(avroString);
  return planned({ dataType: 'enum' }, column.meta, (out, src, start, end) => {
    const name = names[src.readUIntLE(start, end - start)];
    if (name === undefined) throw badValue('member of its ENUM');
    out.ensure(name.length);
    out.copyRaw(name, 0, name.length);
  });
}

function setPlan(column: WireColumn, charset: Charset): WirePlan {
  const names = column.members.map((member) => charset.decode(member));
  return planned({ dataType: 'set' }, column.meta, (out, src, start, end) => {
    const chosen: string[] = [];
    names.forEach((name, bit) => {
      const byte = start + (bit >> 3) < end ? (src[start + (bit >> 3)] as number) : 0;
      if (((byte >> (bit & 7)) & 1) === 1) chosen.push(name);
    });
    out.writeString(chosen.join(','));
  });
}

/** MariaDB's UUID, INET4 and INET6 lie in the log as BINARY. */
function addressPlan(column: WireColumn, hint: ColumnFacts | undefined): WirePlan | null {
  const print = PRINT_ADDRESS[hint?.dataType ?? ''];
  if (print === undefined || hint === undefined) return null;
  return planned({ dataType: hint.dataType }, -1, (out, src, start, end) => {
    const bytes = Buffer.alloc(column.meta);
    src.copy(bytes, 0, start, end);
    out.writeString(print(bytes));
  });
}

const PRINT_ADDRESS: Readonly<Record<string, (bytes: Buffer) => string>> = {
  uuid: uuidText,
  inet4: (bytes) => bytes.join('.'),
  inet6: inet6Text,
};

function uuidText(bytes: Buffer): string {
  return bytes.toString('hex').replace(/^(.{8})(.{4})(.{4})(.{4})/, '$1-$2-$3-$4-');
}

/** As inet_ntop prints it: the longest run of zeros shortened, IPv4 in its own way. */
function inet6Text(bytes: Buffer): string {
  const words = Array.from({ length: 8 }, (_, i) => bytes.readUInt16BE(i * 2));
  let [best, length] = [-1, 1];
  for (let i = 0; i < 8; i++) {
    let run = 0;
    while (i + run < 8 && words[i + run] === 0) run++;
    if (run > length) [best, length] = [i, run];
    i += run;
  }
  const tail = bytes.subarray(12).join('.');
  if (best === 0 && (length === 6 || (length === 5 && words[5] === 0xffff))) {
    return length === 6 ? `::${tail}` : `::ffff:${tail}`;
  }
  const hex = words.map((word) => word.toString(16));
  if (best < 0) return hex.join(':');
  return `${hex.slice(0, best).join(':')}::${hex.slice(best + length).join(':')}`;
}
