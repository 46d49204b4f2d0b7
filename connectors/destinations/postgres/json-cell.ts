import {
  longHigh,
  longLow,
  readLong,
  readLongHalves,
} from '../../../schemas/envelope/change-decoder.ts';
import { arrayAsJson } from '../../../schemas/values/array-literal.ts';
import type { ColumnType } from '../../../schemas/values/column-type.ts';
import { dateText, timestampText, timeText } from '../../../schemas/values/time-text.ts';

/** A cell's JSON text, from its Avro bytes at [start, end): numbers exact, binary as base64. */
export type JsonCell = (bytes: Buffer, start: number, end: number) => string;

export function jsonCell({ kind, native }: ColumnType): JsonCell {
  switch (kind) {
    case 'boolean':
      return (bytes, start) => (bytes[start] === 1 ? 'true' : 'false');
    case 'int16':
    case 'int32':
      return (bytes, start) => String(readLong(bytes, start));
    case 'int64':
      return (bytes, start) => longText(bytes, start);
    case 'float32':
      return (bytes, start) => floatText(shortestSingle(bytes.readFloatLE(start)));
    case 'float64':
      return (bytes, start) => floatText(bytes.readDoubleLE(start));
    case 'decimal':
      return decimalText;
    case 'bytes':
      return (bytes, start, end) => `"${bytes.toString('base64', start, end)}"`;
    case 'date':
      return (bytes, start) => `"${dateText(readLong(bytes, start))}"`;
    case 'time':
      return (bytes, start) => `"${timeText(readLong(bytes, start))}"`;
    case 'timestamp':
      return (bytes, start) => `"${timestampText(bytes, start)}"`;
    case 'json':
      return (bytes, start, end) => bytes.toString('utf8', start, end);
    case 'array': {
      const element = native?.replace(/(\[\])+$/, '');
      return (bytes, start, end) => arrayAsJson(bytes.toString('utf8', start, end), element);
    }
    default:
      return (bytes, start, end) => JSON.stringify(bytes.toString('utf8', start, end));
  }
}

export function longText(bytes: Buffer, start: number): string {
  readLongHalves(bytes, start);
  if (longHigh === 0) return String(longLow);
  return ((BigInt(longHigh) << 32n) | BigInt(longLow)).toString();
}

function floatText(value: number): string {
  return Number.isFinite(value) ? String(value) : `"${value}"`;
}

/** The shortest number that reads back as the same single. */
function shortestSingle(value: number): number {
  for (let digits = 6; digits < 9; digits++) {
    const short = Number(value.toPrecision(digits));
    if (Math.fround(short) === value) return short;
  }
  return value;
}

/** JSON has no NaN and no infinities: those are texts. */
function decimalText(bytes: Buffer, start: number, end: number): string {
  const text = bytes.toString('latin1', start, end);
  return /\d$/.test(text) ? text.replace(/^(-?)\./, '$10.') : `"${text}"`;
}
