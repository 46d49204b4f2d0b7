import type { ColumnBuffer } from './column-buffer.ts';

/**
 * Values that travel as text, read from their bytes without making strings of them.
 */

const MINUS = 0x2d;
const DOT = 0x2e;
const ZERO = 0x30;
const NINE = 0x39;
const MAX_DIGITS = 38;
/** So many digits fit a number exactly. */
const SAFE_DIGITS = 15;
const POWERS_OF_TEN = Float64Array.from({ length: SAFE_DIGITS + 1 }, (_, n) => 10 ** n);

/** Appends the unscaled value of a decimal at `scale`. False, and nothing is appended, for NaN, an
 * infinity, and for what would lose a digit. */
export function appendDecimal(
  into: ColumnBuffer,
  bytes: Buffer,
  start: number,
  end: number,
  scale: number,
): boolean {
  const negative = bytes[start] === MINUS;
  const first = negative ? start + 1 : start;
  let value = 0;
  let digits = 0;
  let fraction = -1;
  for (let i = first; i < end; i++) {
    const byte = bytes[i] as number;
    if (byte === DOT && fraction === -1) {
      fraction = 0;
      continue;
    }
    if (byte < ZERO || byte > NINE) return false;
    value = value * 10 + (byte - ZERO);
    if (digits > 0 || byte !== ZERO) digits++;
    if (fraction >= 0) fraction++;
  }
  const missing = scale - Math.max(fraction, 0);
  if (digits > SAFE_DIGITS || digits + missing > SAFE_DIGITS || missing < 0) {
    const text = bytes.toString('latin1', first, end);
    const long = parseLongDecimal(text, negative, missing);
    if (long !== undefined) into.pushDecimal(long);
    return long !== undefined;
  }
  const unscaled = value * (POWERS_OF_TEN[missing] as number);
  into.pushSafeDecimal(negative ? -unscaled : unscaled);
  return true;
}

function parseLongDecimal(text: string, negative: boolean, missing: number): bigint | undefined {
  let digits = text.replace('.', '');
  if (missing < 0) {
    const cut = digits.length + missing;
    if (/[^0]/.test(digits.slice(cut))) return undefined;
    digits = digits.slice(0, cut);
  }
  const value = BigInt(digits + '0'.repeat(Math.max(missing, 0)));
  if (value >= 10n ** BigInt(MAX_DIGITS)) return undefined;
  return negative ? -value : value;
}

const DAY_MICROS = 86_400_000_000;
/** Days around 1970 within which microseconds are safe integers. */
const SAFE_DAYS = 100_000;
const MAX_INT64 = 2n ** 63n - 1n;

/** Appends the microseconds since 1970 of `2024-03-31T02:30:00.123456Z` or `0044-03-15T00:00:00Z BC`.
 * False, and nothing is appended, for an infinity and past what 64 bits hold. */
export function appendTimestamptz(
  into: ColumnBuffer,
  bytes: Buffer,
  start: number,
  end: number,
): boolean {
  let at = start;
  let year = 0;
  for (; at < end && bytes[at] !== MINUS; at++) {
    const digit = (bytes[at] as number) - ZERO;
    if (digit < 0 || digit > 9) return false;
    year = year * 10 + digit;
  }
  if (at === start) return false; // -infinity
  if (bytes[end - 1] === 0x43) year = 1 - year; // ends in BC
  const days = daysOf(year, twoDigits(bytes, at + 1), twoDigits(bytes, at + 4));
  const seconds =
    twoDigits(bytes, at + 7) * 3600 + twoDigits(bytes, at + 10) * 60 + twoDigits(bytes, at + 13);
  const micros = seconds * 1_000_000 + fractionMicros(bytes, at + 15);
  if (days > -SAFE_DAYS && days < SAFE_DAYS) {
    into.pushSafe(days * DAY_MICROS + micros);
    return true;
  }
  const value = BigInt(days) * BigInt(DAY_MICROS) + BigInt(micros);
  if (value > MAX_INT64 || value < -MAX_INT64) return false;
  into.pushLong(value);
  return true;
}

function twoDigits(bytes: Buffer, at: number): number {
  return ((bytes[at] as number) - ZERO) * 10 + ((bytes[at + 1] as number) - ZERO);
}

function fractionMicros(bytes: Buffer, at: number): number {
  if (bytes[at] !== DOT) return 0;
  let micros = 0;
  let unit = 100_000;
  for (let i = at + 1; unit >= 1; i++) {
    const digit = (bytes[i] as number) - ZERO;
    if (!(digit >= 0 && digit <= 9)) break;
    micros += digit * unit;
    unit /= 10;
  }
  return micros;
}

/** Days since 1970-01-01 in the proleptic Gregorian calendar; year 0 is 1 BC. */
function daysOf(year: number, month: number, day: number): number {
  const y = month <= 2 ? year - 1 : year;
  const era = Math.floor(y / 400);
  const yearOfEra = y - era * 400;
  const dayOfYear = Math.floor((153 * (month + (month > 2 ? -3 : 9)) + 2) / 5) + day - 1;
  const dayOfEra =
    yearOfEra * 365 + Math.floor(yearOfEra / 4) - Math.floor(yearOfEra / 100) + dayOfYear;
  return era * 146_097 + dayOfEra - 719_468;
}
