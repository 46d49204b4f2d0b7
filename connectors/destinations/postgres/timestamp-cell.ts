import { PipelineError } from '../../../core/errors/pipeline-error.ts';
import { longHigh, longLow, readLongHalves } from '../../../schemas/envelope/change-decoder.ts';
import type { BinaryWriter } from './binary-writer.ts';

/** Postgres counts from 2000-01-01. */
const EPOCH_DAYS = 10957;
export const EPOCH_MICROS = EPOCH_DAYS * 86_400_000_000;
const EPOCH_HIGH = Math.floor(EPOCH_MICROS / 0x100000000);
const EPOCH_LOW = EPOCH_MICROS % 0x100000000;

const MAX_INT = 0x7fffffff;
const MIN_INT = -0x80000000;

/** Days since 1970; the two infinities are the same sentinels on both sides. */
export function writeDate(out: BinaryWriter, days: number): void {
  out.int4Cell(days === MAX_INT || days === MIN_INT ? days : days - EPOCH_DAYS);
}

/** Microseconds since 1970 to microseconds since 2000, modulo 2^64 as the contract of the kind says. */
export function writeTimestamp(out: BinaryWriter, bytes: Buffer, start: number): void {
  readLongHalves(bytes, start);
  const high = longHigh;
  const low = longLow;
  if ((high === MAX_INT && low === 0xffffffff) || (high === MIN_INT && low === 0)) {
    out.int8Cell(high, low);
    return;
  }
  const shifted = low - EPOCH_LOW;
  out.int8Cell((high - EPOCH_HIGH - (shifted < 0 ? 1 : 0)) | 0, shifted >>> 0);
}

/** A point in time as safe-integer microseconds since 1970. */
export function writeMicros(out: BinaryWriter, microsSince1970: number): void {
  const micros = microsSince1970 - EPOCH_MICROS;
  out.int8Cell(Math.floor(micros / 0x100000000) | 0, micros >>> 0);
}

const MALFORMED = 'a timestamp with time zone is malformed';

/** `2024-03-31T02:30:00.123456Z`, ` BC` behind, or an infinity. */
export function writeTimestamptz(
  out: BinaryWriter,
  text: Buffer,
  start: number,
  end: number,
): void {
  const first = text[start] as number;
  if (first === 0x69) return out.int8Cell(MAX_INT, 0xffffffff);
  if (first === 0x2d && text[start + 1] === 0x69) return out.int8Cell(MIN_INT, 0);
  let at = start;
  let year = 0;
  while (at < end && text[at] !== 0x2d) year = year * 10 + digit(text, at++, end);
  const month = twoDigits(text, at + 1, end);
  const day = twoDigits(text, at + 4, end);
  const hours = twoDigits(text, at + 7, end);
  const minutes = twoDigits(text, at + 10, end);
  const seconds = twoDigits(text, at + 13, end);
  at += 15;
  let micros = 0;
  if (text[at] === 0x2e) {
    at++;
    let scale = 100_000;
    for (; at < end && text[at] !== 0x5a; at++, scale /= 10) micros += digit(text, at, end) * scale;
  }
  if (text[at] !== 0x5a) throw new PipelineError('DST_VALUE', MALFORMED);
  const isBc = end - at === 4;
  const days = daysFromCivil(isBc ? 1 - year : year, month, day) - EPOCH_DAYS;
  writeSecondsAndMicros(out, days * 86_400 + hours * 3600 + minutes * 60 + seconds, micros);
}

function writeSecondsAndMicros(out: BinaryWriter, seconds: number, micros: number): void {
  const total = seconds * 1_000_000 + micros;
  if (Number.isSafeInteger(total)) {
    out.int8Cell(Math.floor(total / 0x100000000) | 0, total >>> 0);
    return;
  }
  // Beyond the year 2285 only.
  const exact = BigInt(seconds) * 1_000_000n + BigInt(micros);
  out.int8Cell(Number(BigInt.asIntN(32, exact >> 32n)), Number(BigInt.asUintN(32, exact)));
}

function digit(text: Buffer, at: number, end: number): number {
  const value = (text[at] as number) - 0x30;
  if (at >= end || value < 0 || value > 9) throw new PipelineError('DST_VALUE', MALFORMED);
  return value;
}

function twoDigits(text: Buffer, at: number, end: number): number {
  return digit(text, at, end) * 10 + digit(text, at + 1, end);
}

/** Days since 1970-01-01 in the proleptic Gregorian calendar; year 0 is 1 BC. */
function daysFromCivil(year: number, month: number, day: number): number {
  const y = month <= 2 ? year - 1 : year;
  const era = Math.floor(y / 400);
  const yearOfEra = y - era * 400;
  const dayOfYear = Math.floor((153 * (month + (month > 2 ? -3 : 9)) + 2) / 5) + day - 1;
  const dayOfEra =
    yearOfEra * 365 + Math.floor(yearOfEra / 4) - Math.floor(yearOfEra / 100) + dayOfYear;
  return era * 146_097 + dayOfEra - 719_468;
}
