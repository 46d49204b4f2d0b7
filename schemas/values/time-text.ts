import { longHigh, longLow, readLongHalves } from '../envelope/change-decoder.ts';

/** Dates and times of the number kinds as ISO 8601 text; years before 1 as Postgres has them (` BC`). */

const MAX_DAYS = 0x7fffffff;
const MIN_DAYS = -0x80000000;
const DAY_MICROS = 86_400_000_000n;

export function dateText(days: number): string {
  if (days === MAX_DAYS) return 'infinity';
  if (days === MIN_DAYS) return '-infinity';
  const { date, isBc } = civil(days);
  return isBc ? `${date} BC` : date;
}

/** Microseconds since midnight: `12:34:56.789`. */
export function timeText(micros: number): string {
  const seconds = Math.floor(micros / 1_000_000);
  const fraction = micros % 1_000_000;
  const parts = [Math.floor(seconds / 3600), Math.floor(seconds / 60) % 60, seconds % 60];
  const text = parts.map((part) => String(part).padStart(2, '0')).join(':');
  return fraction === 0 ? text : `${text}.${String(fraction).padStart(6, '0').replace(/0+$/, '')}`;
}

/** Microseconds since 1970 in a zigzag long at `start`: `2024-03-31T02:30:00.5`. */
export function timestampText(bytes: Uint8Array, start: number): string {
  readLongHalves(bytes, start);
  const [high, low] = [longHigh, longLow];
  if (high === 0x7fffffff && low === 0xffffffff) return 'infinity';
  if (high === -0x80000000 && low === 0) return '-infinity';
  let micros = (BigInt(high) << 32n) | BigInt(low);
  // Wrapped around: a year past 294246, never one so far before our time.
  if (micros < -300_000_000_000_000_000n) micros += 1n << 64n;
  return pointText(micros);
}

/** A point in time, microseconds since 1970, in UTC. */
export function instantText(micros: number): string {
  return `${pointText(BigInt(micros))}Z`;
}

function pointText(micros: bigint): string {
  const inDay = ((micros % DAY_MICROS) + DAY_MICROS) % DAY_MICROS;
  const { date, isBc } = civil(Number((micros - inDay) / DAY_MICROS));
  return `${date}T${timeText(Number(inDay))}${isBc ? ' BC' : ''}`;
}

/** The proleptic Gregorian date of a day since 1970-01-01. */
function civil(days: number): { date: string; isBc: boolean } {
  const shifted = days + 719_468;
  const era = Math.floor(shifted / 146_097);
  const dayOfEra = shifted - era * 146_097;
  const yearOfEra = Math.floor(
    (dayOfEra -
      Math.floor(dayOfEra / 1460) +
      Math.floor(dayOfEra / 36_524) -
      Math.floor(dayOfEra / 146_096)) /
      365,
  );
  const dayOfYear =
    dayOfEra - (365 * yearOfEra + Math.floor(yearOfEra / 4) - Math.floor(yearOfEra / 100));
  const monthFromMarch = Math.floor((5 * dayOfYear + 2) / 153);
  const day = dayOfYear - Math.floor((153 * monthFromMarch + 2) / 5) + 1;
  const month = monthFromMarch < 10 ? monthFromMarch + 3 : monthFromMarch - 9;
  const year = yearOfEra + era * 400 + (month <= 2 ? 1 : 0);
  const isBc = year <= 0;
  const text = (part: number, width: number) => String(part).padStart(width, '0');
  return { date: `${text(isBc ? 1 - year : year, 4)}-${text(month, 2)}-${text(day, 2)}`, isBc };
}
