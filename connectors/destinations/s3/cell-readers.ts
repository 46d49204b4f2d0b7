import {
  longHigh,
  longLow,
  readLong,
  readLongHalves,
} from '../../../schemas/envelope/change-decoder.ts';
import type { ColumnType } from '../../../schemas/values/column-type.ts';
import { arrayAsJson } from '../../../schemas/values/array-literal.ts';
import type { ColumnBuffer } from './column-buffer.ts';
import type { FileColumn } from './file-columns.ts';
import { appendDecimal, appendTimestamptz } from './value-text.ts';

/**
 * What became of a cell: appended; null after all, as a JSON field that a document lacks; or
 * unrepresentable: the column cannot hold it (infinity, NaN in a DECIMAL, a year past 294246). Such a
 * value's text goes to `_headrace_unrepresentable`, so nothing is dropped (invariant 5).
 */
export type CellOutcome = 'appended' | 'null' | 'unrepresentable';

/** Appends the value in a cell's Avro bytes [start, end) to the buffer of its Parquet column. */
export type CellReader = (
  into: ColumnBuffer,
  bytes: Buffer,
  start: number,
  end: number,
) => CellOutcome;

export function cellReader(type: ColumnType, column: FileColumn): CellReader {
  switch (type.kind) {
    case 'boolean':
      return appendFlag;
    case 'int16':
    case 'int32':
    case 'int64':
      return appendLong;
    case 'float32':
      return appendFloat;
    case 'float64':
      return appendDouble;
    case 'decimal':
      return column.form === 'decimal' ? decimalReader(column.scale ?? 0) : appendBytes;
    case 'date':
      return appendDate;
    case 'time':
      return appendTime;
    case 'timestamp':
      return appendTimestamp;
    case 'timestamptz':
      return (into, bytes, start, end) => held(appendTimestamptz(into, bytes, start, end));
    case 'array':
      return arrayReader(type.native);
    default:
      return appendBytes;
  }
}

/** The text of a cell that its column cannot hold. */
export function cellText(type: ColumnType, bytes: Buffer, start: number, end: number): string {
  switch (type.kind) {
    case 'date':
      return readLong(bytes, start) > 0 ? 'infinity' : '-infinity';
    case 'time':
      return '24:00:00';
    case 'timestamp':
      readLongHalves(bytes, start);
      return timestampText((BigInt(longHigh) << 32n) | BigInt(longLow));
    default:
      return bytes.toString('utf8', start, end);
  }
}

function held(appended: boolean): CellOutcome {
  return appended ? 'appended' : 'unrepresentable';
}

function appendFlag(into: ColumnBuffer, bytes: Buffer, start: number): CellOutcome {
  into.pushFlag(bytes[start] === 1);
  return 'appended';
}

function appendLong(into: ColumnBuffer, bytes: Buffer, start: number): CellOutcome {
  readLongHalves(bytes, start);
  into.pushHalves(longHigh, longLow);
  return 'appended';
}

function appendFloat(into: ColumnBuffer, bytes: Buffer, start: number): CellOutcome {
  into.pushDouble(bytes.readFloatLE(start));
  return 'appended';
}

/** As its bits: a NaN keeps those it has. */
function appendDouble(into: ColumnBuffer, bytes: Buffer, start: number): CellOutcome {
  into.pushHalves(wordAt(bytes, start + 4), wordAt(bytes, start));
  return 'appended';
}

function wordAt(bytes: Buffer, at: number): number {
  return (
    (bytes[at] as number) |
    ((bytes[at + 1] as number) << 8) |
    ((bytes[at + 2] as number) << 16) |
    ((bytes[at + 3] as number) << 24)
  );
}

function appendBytes(into: ColumnBuffer, bytes: Buffer, start: number, end: number): CellOutcome {
  into.pushBytes(bytes, start, end);
  return 'appended';
}

function decimalReader(scale: number): CellReader {
  return (into, bytes, start, end) => held(appendDecimal(into, bytes, start, end, scale));
}

const INFINITE_DATE = 2 ** 31 - 1;

function appendDate(into: ColumnBuffer, bytes: Buffer, start: number): CellOutcome {
  const days = readLong(bytes, start);
  if (days >= INFINITE_DATE || days <= -INFINITE_DATE - 1) return 'unrepresentable';
  into.pushInt32(days);
  return 'appended';
}

const DAY_MICROS = 86_400_000_000;

/** 24:00:00 is a time of Postgres, but a day's last microsecond is the last of Parquet's. */
function appendTime(into: ColumnBuffer, bytes: Buffer, start: number): CellOutcome {
  const micros = readLong(bytes, start);
  if (micros >= DAY_MICROS) return 'unrepresentable';
  into.pushSafe(micros);
  return 'appended';
}

const INFINITE_TIMESTAMP = 2n ** 63n - 1n;
const INFINITE_HIGH = 2 ** 31 - 1;
const INFINITE_LOW = 2 ** 32 - 1;
/** The start of Postgres's calendar, 4714-11-24 BC: whatever is below has wrapped around. */
const FIRST_TIMESTAMP = -210_866_803_200_000_000n;
const FIRST_HIGH = Number(FIRST_TIMESTAMP >> 32n);
const FIRST_LOW = Number(BigInt.asUintN(32, FIRST_TIMESTAMP));

function appendTimestamp(into: ColumnBuffer, bytes: Buffer, start: number): CellOutcome {
  readLongHalves(bytes, start);
  const isInfinite = longHigh === INFINITE_HIGH && longLow === INFINITE_LOW;
  const hasWrapped = longHigh < FIRST_HIGH || (longHigh === FIRST_HIGH && longLow < FIRST_LOW);
  if (isInfinite || hasWrapped) return 'unrepresentable';
  into.pushHalves(longHigh, longLow);
  return 'appended';
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
  return (into, bytes, start, end) => {
    const json = Buffer.from(arrayAsJson(bytes.toString('utf8', start, end), native), 'utf8');
    into.pushBytes(json, 0, json.length);
    return 'appended';
  };
}
