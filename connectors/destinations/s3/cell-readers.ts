import {
  longHigh,
  longLow,
  readLong,
  readLongHalves,
} from '../../../schemas/envelope/change-decoder.ts';
import type { ColumnType } from '../../../schemas/values/column-type.ts';
import { arrayAsJson } from '../../../schemas/values/array-literal.ts';
import type { FileColumn } from './file-columns.ts';
import type { FileValue } from './parquet-file.ts';
import { parseDecimal, parseTimestamptz } from './value-text.ts';

/**
 * Turns a cell's Avro bytes [start, end) into the value its Parquet column takes; undefined when
 * the column cannot hold it (infinity, NaN in a DECIMAL, a year past 294246). The value's text then
 * goes to `_headrace_unrepresentable`, so nothing is dropped (invariant 5).
 */
export type CellReader = (bytes: Buffer, start: number, end: number) => FileValue | undefined;

export function cellReader(type: ColumnType, column: FileColumn): CellReader {
  switch (type.kind) {
    case 'boolean':
      return (bytes, start) => bytes[start] === 1;
    case 'int16':
    case 'int32':
    case 'int64':
      return readBigInt;
    case 'float32':
      return (bytes, start) => bytes.readFloatLE(start);
    case 'float64':
      return (bytes, start) => bytes.readDoubleLE(start);
    case 'decimal':
      return column.form === 'decimal' ? decimalReader(column.scale ?? 0) : readBytes;
    case 'date':
      return readDate;
    case 'time':
      return readTime;
    case 'timestamp':
      return readTimestamp;
    case 'timestamptz':
      return parseTimestamptz;
    case 'array':
      return arrayReader(type.native);
    default:
      return readBytes;
  }
}

/** The text of a cell that its reader could not give a value for. */
export function cellText(type: ColumnType, bytes: Buffer, start: number, end: number): string {
  switch (type.kind) {
    case 'date':
      return readLong(bytes, start) > 0 ? 'infinity' : '-infinity';
    case 'time':
      return '24:00:00';
    case 'timestamp':
      return timestampText(readBigInt(bytes, start));
    default:
      return bytes.toString('utf8', start, end);
  }
}

/** A view of the bytes: what it shares stays as it is until the row group is written. */
function readBytes(bytes: Buffer, start: number, end: number): Uint8Array {
  return new Uint8Array(bytes.buffer, bytes.byteOffset + start, end - start);
}

export function readBigInt(bytes: Buffer, start: number): bigint {
  readLongHalves(bytes, start);
  return joinHalves(longHigh, longLow);
}

/** Both halves as one; through a number where that is exact, which costs half as much. */
export function joinHalves(high: number, low: number): bigint {
  if (high >= -0x200000 && high < 0x200000) return BigInt(high * 0x100000000 + low);
  return (BigInt(high) << 32n) | BigInt(low);
}

function decimalReader(scale: number): CellReader {
  return (bytes, start, end) => parseDecimal(bytes, start, end, scale);
}

const INFINITE_DATE = 2 ** 31 - 1;

function readDate(bytes: Buffer, start: number): number | undefined {
  const days = readLong(bytes, start);
  return days >= INFINITE_DATE || days <= -INFINITE_DATE - 1 ? undefined : days;
}

const DAY_MICROS = 86_400_000_000;

/** 24:00:00 is a time of Postgres, but a day's last microsecond is the last of Parquet's. */
function readTime(bytes: Buffer, start: number): bigint | undefined {
  const micros = readLong(bytes, start);
  return micros >= DAY_MICROS ? undefined : BigInt(micros);
}

const INFINITE_TIMESTAMP = 2n ** 63n - 1n;
/** The start of Postgres's calendar, 4714-11-24 BC: whatever is below has wrapped around. */
const FIRST_TIMESTAMP = -210_866_803_200_000_000n;

function readTimestamp(bytes: Buffer, start: number): bigint | undefined {
  const micros = readBigInt(bytes, start);
  return micros === INFINITE_TIMESTAMP || micros < FIRST_TIMESTAMP ? undefined : micros;
}

function timestampText(micros: bigint): string {
  if (micros === INFINITE_TIMESTAMP) return 'infinity';
  if (micros === -INFINITE_TIMESTAMP - 1n) return '-infinity';
  const real = BigInt.asUintN(64, micros);
  // Only years 294247 to 294276 come here. 400 years are a whole number of days: seen as a date
  // of the same calendar 292000 years earlier, JavaScript can print it.
  const cycle = 146_097n * 86_400_000_000n;
  const earlier = new Date(Number((real - 730n * cycle) / 1000n)).toISOString();
  const year = Number(earlier.slice(0, 4)) + 730 * 400;
  return `${year}${earlier.slice(4, 19)}.${String(real % 1_000_000n).padStart(6, '0')}`;
}

function arrayReader(native: string | undefined): CellReader {
  return (bytes, start, end) =>
    Buffer.from(arrayAsJson(bytes.toString('utf8', start, end), native), 'utf8');
}
