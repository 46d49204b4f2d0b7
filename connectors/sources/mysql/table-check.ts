import type { ColumnFacts } from './catalog.ts';
import { WIRE, type TableMap, type WireColumn } from './table-map.ts';

const WIRE_OF: Readonly<Record<string, number>> = {
  tinyint: WIRE.tiny,
  smallint: WIRE.short,
  mediumint: WIRE.int24,
  int: WIRE.long,
  bigint: WIRE.longlong,
  float: WIRE.float,
  double: WIRE.double,
  decimal: WIRE.decimal,
  date: WIRE.date,
  time: WIRE.time2,
  datetime: WIRE.datetime2,
  timestamp: WIRE.timestamp2,
  year: WIRE.year,
  bit: WIRE.bit,
  char: WIRE.string,
  binary: WIRE.string,
  uuid: WIRE.string,
  inet4: WIRE.string,
  inet6: WIRE.string,
  varchar: WIRE.varchar,
  varbinary: WIRE.varchar,
  enum: WIRE.enum,
  set: WIRE.set,
  json: WIRE.json,
  vector: WIRE.vector,
};

/** Bytes of the length before a value. */
const BLOB: Readonly<Record<string, number>> = { tiny: 1, '': 2, medium: 3, long: 4 };

/** In what a table as the log describes it is not the one of the catalog; null when they agree. */
export function differenceOf(map: TableMap, columns: readonly ColumnFacts[]): string | null {
  if (map.columns.length !== columns.length) {
    return `it has ${map.columns.length} columns there and ${columns.length} in the catalog`;
  }
  for (const [index, column] of columns.entries()) {
    const wire = map.columns[index] as WireColumn;
    if (wire.nullable !== column.nullable || !isSameType(map, wire, column)) {
      return `column ${column.name} is another one there than in the catalog`;
    }
  }
  return null;
}

function isSameType(map: TableMap, wire: WireColumn, column: ColumnFacts): boolean {
  const { dataType } = column;
  const blob = /^(tiny|medium|long|)(?:blob|text)$/.exec(dataType);
  if (blob !== null) return wire.type === WIRE.blob && wire.meta === BLOB[blob[1] ?? ''];
  const type = WIRE_OF[dataType];
  if (type === undefined) return wire.type === WIRE.geometry;
  return wire.type === type && isSameMeta(wire, column) && isSameSign(map, wire, column);
}

function isSameSign(map: TableMap, wire: WireColumn, { dataType, unsigned }: ColumnFacts): boolean {
  return !map.signs || dataType === 'year' || !NUMBERS.has(wire.type) || wire.unsigned === unsigned;
}

const NUMBERS = new Set<number>([
  WIRE.tiny,
  WIRE.short,
  WIRE.int24,
  WIRE.long,
  WIRE.longlong,
  WIRE.decimal,
]);

/** Lengths, digits and fractions of a second. */
function isSameMeta(wire: WireColumn, column: ColumnFacts): boolean {
  const { meta } = wire;
  switch (column.dataType) {
    case 'decimal':
      return meta === (column.precision | (column.scale << 8));
    case 'bit':
      return (meta >> 8) * 8 + (meta & 0xff) === column.precision;
    case 'time':
    case 'datetime':
    case 'timestamp':
      return meta === column.fsp;
    case 'char':
    case 'varchar':
    case 'binary':
    case 'varbinary':
      return meta === column.length;
    case 'enum':
      return meta === (column.members.length > 255 ? 2 : 1);
    default:
      return true;
  }
}
