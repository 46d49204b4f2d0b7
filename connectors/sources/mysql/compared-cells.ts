import type { ColumnKind } from '../../../schemas/values/column-type.ts';
import { CELL_HASH_DIGITS } from '../../compare/cell-text.ts';
import type { ColumnFacts } from './catalog.ts';
import { canonicalType } from './column-types.ts';
import { quoteIdentifier, quoteLiteral } from './session.ts';

/** SQL that prints cells as Postgres prints the same values: see `hashOfCell`. */

export function kindOf(column: ColumnFacts): ColumnKind {
  return canonicalType(column).kind;
}

/** A text; NULL for NULL and for what is no day of the calendar. */
export function textOfCell(column: ColumnFacts): string {
  const name = quoteIdentifier(column.name);
  const kind = kindOf(column);
  switch (kind) {
    case 'int16':
    case 'int32':
    case 'int64':
      // A sum has no zeros in front, which ZEROFILL would print, and a YEAR's is a number.
      return `CAST(${name} + 0 AS CHAR)`;
    case 'decimal':
      return withoutZeros(`CAST(${column.unsigned ? `${name} + 0` : name} AS CHAR)`);
    case 'bits':
      return `LPAD(BIN(${name} + 0), ${column.precision}, '0')`;
    case 'bytes':
      return `CONCAT('\\\\x', LOWER(HEX(${bytesOf(column)})))`;
    case 'date':
      return dayOrNull(name, `CAST(${name} AS CHAR)`);
    case 'timestamp':
      return dayOrNull(name, withoutZeros(`CAST(${name} AS CHAR)`));
    case 'timestamptz':
      return dayOrNull(name, `CONCAT(${withoutZeros(`CAST(${name} AS CHAR)`)}, '+00')`);
    case 'interval':
      return microseconds(name);
    default:
      return column.charset === null ? `CAST(${name} AS CHAR)` : `CONVERT(${name} USING utf8mb4)`;
  }
}

/** Not for JSON, which has no one text. */
export function hashOfOwnCell(column: ColumnFacts): string {
  const name = quoteIdentifier(column.name);
  switch (kindOf(column)) {
    case 'bytes':
      return hashOf(bytesOf(column));
    case 'float32':
    case 'float64':
      // A point is kept as the bytes of its two doubles, the lowest first.
      return hashOf(
        `IF(${name} IS NULL, NULL, REVERSE(SUBSTR(ST_AsWKB(POINT(${name}, 0)), 6, 8)))`,
      );
    default:
      return hashOf(textOfCell(column));
  }
}

function hashOf(value: string): string {
  return `LEFT(SHA2(${value}, 256), ${CELL_HASH_DIGITS})`;
}

/** A key's text as a value that an index on the column can look up. */
export function literalOf(column: ColumnFacts, text: string): string {
  switch (kindOf(column)) {
    case 'int16':
    case 'int32':
    case 'int64':
    case 'decimal':
      return /^-?\d+(\.\d+)?$/.test(text) ? text : 'NULL';
    case 'bits':
      return `b${quoteLiteral(text)}`;
    case 'bytes':
      return `x${quoteLiteral(text.slice(2))}`;
    case 'timestamptz':
      return quoteLiteral(text.replace(/\+00$/, ''));
    default:
      return quoteLiteral(text);
  }
}

const GEOMETRY = /^(geom|point|polygon|linestring|multi)/;

function bytesOf({ name, dataType }: ColumnFacts): string {
  const column = quoteIdentifier(name);
  return GEOMETRY.test(dataType) ? `CAST(${column} AS BINARY)` : column;
}

function withoutZeros(text: string): string {
  const trimmed = `TRIM(TRAILING '.' FROM TRIM(TRAILING '0' FROM ${text}))`;
  return `IF(LOCATE('.', ${text}) > 0, ${trimmed}, ${text})`;
}

function dayOrNull(name: string, text: string): string {
  const lastDay = `LAST_DAY(CONCAT(LEFT(CAST(${name} AS CHAR), 8), '01'))`;
  const noDay =
    `YEAR(${name}) = 0 OR MONTH(${name}) = 0 OR DAYOFMONTH(${name}) = 0 ` +
    `OR DAYOFMONTH(${name}) > DAYOFMONTH(${lastDay})`;
  return `IF(${noDay}, NULL, ${text})`;
}

function microseconds(name: string): string {
  const size =
    `(HOUR(${name}) * 3600000000 + MINUTE(${name}) * 60000000 ` +
    `+ SECOND(${name}) * 1000000 + MICROSECOND(${name}))`;
  return `CAST(IF(LEFT(CAST(${name} AS CHAR), 1) = '-', -1, 1) * ${size} AS CHAR)`;
}
