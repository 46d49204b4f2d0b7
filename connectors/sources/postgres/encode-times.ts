import type { AvroWriter } from '../../../schemas/avro/avro-writer.ts';
import { badValue, digits } from './encode-numbers.ts';

/**
 * Dates and times from Postgres's ISO text, by arithmetic: no Date object, hence no time zone of the
 * process, no milliseconds, no trouble before the year 1 or after 275760.
 */

const MINUS = 0x2d;
const COLON = 0x3a;
const DOT = 0x2e;
const SPACE = 0x20;
const MAX_INT = 0x7fffffff;
const MIN_INT = -0x80000000;

/** Where the last read stopped: a global instead of an object per value. */
let cursor = 0;

/** Days from 1970-01-01 in the proleptic Gregorian calendar; year 0 is 1 BC. */
function daysFromCivil(year: number, month: number, day: number): number {
  const y = month <= 2 ? year - 1 : year;
  const era = Math.floor(y / 400);
  const yearOfEra = y - era * 400;
  const dayOfYear = Math.floor((153 * (month + (month > 2 ? -3 : 9)) + 2) / 5) + day - 1;
  const dayOfEra =
    yearOfEra * 365 + Math.floor(yearOfEra / 4) - Math.floor(yearOfEra / 100) + dayOfYear;
  return era * 146097 + dayOfEra - 719468;
}

function endsInBc(src: Buffer, start: number, end: number): boolean {
  return (
    end - start > 3 && src[end - 1] === 0x43 && src[end - 2] === 0x42 && src[end - 3] === SPACE
  );
}

function readDays(src: Buffer, start: number, end: number): number {
  let dash = start;
  while (dash < end && src[dash] !== MINUS) dash++;
  if (dash + 6 > end || src[dash + 3] !== MINUS) throw badValue('date');
  const year = digits(src, start, dash);
  cursor = dash + 6;
  return daysFromCivil(
    endsInBc(src, start, end) ? 1 - year : year,
    digits(src, dash + 1, dash + 3),
    digits(src, dash + 4, dash + 6),
  );
}

/** `HH:MM:SS[.ffffff]` in microseconds; 24:00:00 is a legal time. */
function readMicros(src: Buffer, start: number, end: number): number {
  if (start + 8 > end || src[start + 2] !== COLON || src[start + 5] !== COLON) {
    throw badValue('time');
  }
  const seconds =
    digits(src, start, start + 2) * 3600 +
    digits(src, start + 3, start + 5) * 60 +
    digits(src, start + 6, start + 8);
  cursor = start + 8;
  if (cursor >= end || src[cursor] !== DOT) return seconds * 1e6;
  let fraction = 0;
  let unit = 100_000;
  for (cursor++; cursor < end && (src[cursor] as number) >= 0x30 && unit >= 1; cursor++) {
    fraction += digits(src, cursor, cursor + 1) * unit;
    unit /= 10;
  }
  return seconds * 1e6 + fraction;
}

/** 1 for infinity, -1 for -infinity, 0 for a value. */
function infinity(src: Buffer, start: number): number {
  if (src[start] === 0x69) return 1;
  return src[start] === MINUS ? -1 : 0;
}

export function encodeDate(out: AvroWriter, src: Buffer, start: number, end: number): void {
  const endless = infinity(src, start);
  if (endless !== 0) out.writeInt(endless > 0 ? MAX_INT : MIN_INT);
  else out.writeInt(readDays(src, start, end));
}

export function encodeTime(out: AvroWriter, src: Buffer, start: number, end: number): void {
  out.writeLong(readMicros(src, start, end));
}

export function encodeTimestamp(out: AvroWriter, src: Buffer, start: number, end: number): void {
  const endless = infinity(src, start);
  if (endless !== 0) {
    out.writeLongHalves(endless > 0 ? MAX_INT : MIN_INT, endless > 0 ? 0xffffffff : 0);
    return;
  }
  const days = readDays(src, start, end);
  const micros = readMicros(src, cursor + 1, end);
  const total = days * 86_400_000_000 + micros;
  if (Number.isSafeInteger(total)) {
    out.writeLong(total);
    return;
  }
  // Past the year 2255 or before 1684; past 294246 it wraps around, as ColumnType says.
  const exact = BigInt.asIntN(64, BigInt(days) * 86_400_000_000n + BigInt(micros));
  out.writeLongHalves(Number(exact >> 32n), Number(exact & 0xffffffffn));
}

/** `2024-03-31 02:30:00.123456+00[ BC]` becomes `2024-03-31T02:30:00.123456Z[ BC]`. */
export function encodeTimestamptz(out: AvroWriter, src: Buffer, start: number, end: number): void {
  if (infinity(src, start) !== 0) {
    out.writeBytes(src, start, end);
    return;
  }
  const bc = endsInBc(src, start, end);
  const zone = (bc ? end - 3 : end) - 3;
  // The session's zone is UTC; another offset means that somebody changed it under us.
  if (src[zone] !== 0x2b || src[zone + 1] !== 0x30 || src[zone + 2] !== 0x30) {
    throw badValue('timestamp in UTC');
  }
  out.writeInt(zone - start + 1 + (bc ? 3 : 0));
  const from = out.pos;
  out.copyRaw(src, start, zone);
  const separator = out.bytes.indexOf(SPACE, from);
  if (separator < 0 || separator >= out.pos) throw badValue('timestamp');
  out.bytes[separator] = 0x54; // T
  out.writeByte(0x5a); // Z
  if (bc) out.copyRaw(src, end - 3, end);
}
