import type { AvroWriter } from '../../../schemas/avro/avro-writer.ts';
import type { CellEncoder } from '../../capture/row-codec.ts';
import { digitsAt, putDigits } from './encode-numbers.ts';
import { badValue } from './errors.ts';
import { uint24At, uint32BackwardsAt } from './wire-integers.ts';

/**
 * Dates and times by arithmetic on the log's packed fields or on the server's text: no Date object,
 * hence no time zone of the process and no lost microseconds. What MySQL keeps but is no day of the
 * calendar (0000-00-00, 2024-00-10, 2023-02-31) is told by `isNoDay...` and becomes null.
 */

const MONTH_DAYS = [0, 31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];

function isNoDay(year: number, month: number, day: number): boolean {
  if (year === 0 || month === 0 || day === 0 || day > (MONTH_DAYS[month] ?? 0)) return true;
  if (month !== 2 || day < 29) return false;
  return year % 4 !== 0 || (year % 100 === 0 && year % 400 !== 0);
}

function daysFromCivil(year: number, month: number, day: number): number {
  // Years are 1 to 9999, so that nothing here is below zero and integer divisions will do.
  const y = month <= 2 ? year - 1 : year;
  const era = (y / 400) | 0;
  const yearOfEra = y - era * 400;
  const dayOfYear = (((153 * (month + (month > 2 ? -3 : 9)) + 2) / 5) | 0) + day - 1;
  const dayOfEra = yearOfEra * 365 + ((yearOfEra / 4) | 0) - ((yearOfEra / 100) | 0) + dayOfYear;
  return era * 146097 + dayOfEra - 719468;
}

export type NoDayTest = (src: Buffer, start: number, end: number) => boolean;

export const isNoDayDate: NoDayTest = (src, start) => {
  const packed = uint24At(src, start);
  return isNoDay(packed >> 9, (packed >> 5) & 15, packed & 31);
};

export const isNoDayText: NoDayTest = (src, start) =>
  isNoDay(
    digitsAt(src, start, start + 4),
    digitsAt(src, start + 5, start + 7),
    digitsAt(src, start + 8, start + 10),
  );

/** A packed DATETIME is a sign that is always set, 17 bits of year * 13 + month, 5 of the day, 5 of the
 * hour, 6 of the minute, 6 of the second. Read in two parts of 32 bits: 40 are slower to take apart. */
function packedDay(src: Buffer, start: number): number {
  return (
    (((src[start] as number) & 0x7f) << 15) |
    ((src[start + 1] as number) << 7) |
    ((src[start + 2] as number) >> 1)
  );
}

function packedClock(src: Buffer, start: number): number {
  return (
    (((src[start + 2] as number) & 1) << 16) |
    ((src[start + 3] as number) << 8) |
    (src[start + 4] as number)
  );
}

export const isNoDayDatetime: NoDayTest = (src, start) => {
  const day = packedDay(src, start);
  const months = day >> 5;
  return isNoDay((months / 13) | 0, months % 13, day & 31);
};

export const isNoDayTimestamp: NoDayTest = (src, start) => uint32BackwardsAt(src, start) === 0;

export const encodeDate: CellEncoder = (out, src, start) => {
  const packed = uint24At(src, start);
  out.writeInt(daysFromCivil(packed >> 9, (packed >> 5) & 15, packed & 31));
};

export const encodeDateText: CellEncoder = (out, src, start) => {
  out.writeInt(daysOfText(src, start));
};

function daysOfText(src: Buffer, start: number): number {
  return daysFromCivil(
    digitsAt(src, start, start + 4),
    digitsAt(src, start + 5, start + 7),
    digitsAt(src, start + 8, start + 10),
  );
}

/** Microseconds of a fraction that is stored in 0 to 3 bytes. */
function fractionAt(src: Buffer, start: number, end: number): number {
  switch (end - start) {
    case 0:
      return 0;
    case 1:
      return (src[start] as number) * 10_000;
    case 2:
      return (((src[start] as number) << 8) | (src[start + 1] as number)) * 100;
    default:
      return uint32BackwardsAt(src, start - 1) & 0xffffff;
  }
}

/** Past the year 2255 the microseconds leave 53 bits. */
function writeMicros(out: AvroWriter, seconds: number, micros: number): void {
  const total = seconds * 1e6 + micros;
  if (Number.isSafeInteger(total)) {
    out.writeLong(total);
    return;
  }
  const exact = BigInt(seconds) * 1_000_000n + BigInt(micros);
  out.writeLongHalves(Number(exact >> 32n), Number(exact & 0xffffffffn));
}

export const encodeDatetime: CellEncoder = (out, src, start, end) => {
  const day = packedDay(src, start);
  const clock = packedClock(src, start);
  const months = day >> 5;
  const days = daysFromCivil((months / 13) | 0, months % 13, day & 31);
  const seconds = days * 86_400 + (clock >> 12) * 3600 + ((clock >> 6) & 63) * 60 + (clock & 63);
  writeMicros(out, seconds, fractionAt(src, start + 5, end));
};

function fractionOfText(src: Buffer, start: number, end: number): number {
  if (start >= end) return 0;
  return digitsAt(src, start + 1, end) * 10 ** (7 - (end - start));
}

export const encodeDatetimeText: CellEncoder = (out, src, start, end) => {
  const seconds =
    daysOfText(src, start) * 86_400 +
    digitsAt(src, start + 11, start + 13) * 3600 +
    digitsAt(src, start + 14, start + 16) * 60 +
    digitsAt(src, start + 17, start + 19);
  writeMicros(out, seconds, fractionOfText(src, start + 19, end));
};

function two(value: number): string {
  return value < 10 ? `0${value}` : String(value);
}

/** `2024-03-31T02:30:00.123456Z`, with as many digits behind the point as the column has. */
export function encodeTimestamp(fsp: number): CellEncoder {
  const length = 20 + (fsp === 0 ? 0 : fsp + 1);
  const text = Buffer.from('0000-00-00T00:00:00.000000');
  // Changes come in the order of time: the day is mostly that of the cell before, and often the second.
  let midnight = -1;
  let last = -1;
  return (out, src, start, end) => {
    const seconds = uint32BackwardsAt(src, start);
    if (seconds !== last) {
      last = seconds;
      let clock = seconds - midnight;
      if (midnight < 0 || clock < 0 || clock >= 86_400) {
        clock = seconds % 86_400;
        midnight = seconds - clock;
        text.write(dayText(midnight / 86_400), 'latin1');
      }
      putDigits(text, 11, (clock / 3600) | 0, 2);
      putDigits(text, 14, ((clock / 60) | 0) % 60, 2);
      putDigits(text, 17, clock % 60, 2);
    }
    if (fsp > 0) putDigits(text, 20, fractionAt(src, start + 4, end), 6);
    out.ensure(length + 5);
    out.writeInt(length);
    out.copyRaw(text, 0, length - 1);
    out.writeByte(0x5a); // Z
  };
}

/** The day as text, by the inverse of `daysFromCivil`. */
function dayText(days: number): string {
  const z = days + 719468;
  const era = Math.floor(z / 146097);
  const doe = z - era * 146097;
  const yoe = Math.floor(
    (doe - Math.floor(doe / 1460) + Math.floor(doe / 36524) - Math.floor(doe / 146096)) / 365,
  );
  const doy = doe - (365 * yoe + Math.floor(yoe / 4) - Math.floor(yoe / 100));
  const mp = Math.floor((5 * doy + 2) / 153);
  const day = doy - Math.floor((153 * mp + 2) / 5) + 1;
  const month = mp < 10 ? mp + 3 : mp - 9;
  return `${yoe + era * 400 + (month <= 2 ? 1 : 0)}-${two(month)}-${two(day)}`;
}

/** The session's zone is UTC. */
export const encodeTimestampText: CellEncoder = (out, src, start, end) => {
  if (src[start + 10] !== 0x20) throw badValue('timestamp');
  out.writeInt(end - start + 1);
  out.copyRaw(src, start, start + 10);
  out.writeByte(0x54); // T
  out.copyRaw(src, start + 11, end);
  out.writeByte(0x5a); // Z
};

/** TIME goes to ±838 hours, so it is a span of time: `PT-838H-59M-59.5S`. */
function writeSpan(
  out: AvroWriter,
  negative: boolean,
  hours: number,
  minutes: number,
  seconds: number,
  micros: number,
): void {
  const sign = negative ? '-' : '';
  let text = 'PT';
  if (hours > 0) text += `${sign}${hours}H`;
  if (minutes > 0) text += `${sign}${minutes}M`;
  if (micros > 0) {
    text += `${sign}${seconds}.${String(micros).padStart(6, '0').replace(/0+$/, '')}S`;
  } else if (seconds > 0 || text === 'PT') text += `${seconds > 0 ? sign : ''}${seconds}S`;
  out.writeString(text);
}

/** Three bytes of packed hours, minutes and seconds and the fraction, as one shifted integer. */
export const encodeTime: CellEncoder = (out, src, start, end) => {
  const width = end - start - 3;
  const unit = 256 ** width;
  const packed = src.readUIntBE(start, end - start) - 0x800000 * unit;
  const size = Math.abs(packed);
  const clock = Math.floor(size / unit);
  const micros = (size % unit) * (width === 1 ? 10_000 : width === 2 ? 100 : 1);
  writeSpan(out, packed < 0, clock >> 12, (clock >> 6) & 63, clock & 63, micros);
};

export const encodeTimeText: CellEncoder = (out, src, start, end) => {
  const negative = src[start] === 0x2d;
  const from = negative ? start + 1 : start;
  const colon = src.indexOf(0x3a, from);
  if (colon < 0 || colon + 6 > end) throw badValue('time');
  writeSpan(
    out,
    negative,
    digitsAt(src, from, colon),
    digitsAt(src, colon + 1, colon + 3),
    digitsAt(src, colon + 4, colon + 6),
    fractionOfText(src, colon + 6, end),
  );
};
