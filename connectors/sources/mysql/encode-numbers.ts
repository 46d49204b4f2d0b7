import { AvroWriter } from '../../../schemas/avro/avro-writer.ts';
import type { CellEncoder } from '../../capture/row-codec.ts';
import { badValue } from './errors.ts';
import { int32At, uint16At, uint24At, uint32At } from './wire-integers.ts';

const MINUS = 0x2d;
const POINT = 0x2e;
const ZERO = 0x30;

/** Numbers as the log stores them: little-endian integers and IEEE floats. */
export const encodeInt8: CellEncoder = (out, src, start) => out.writeInt(src.readInt8(start));
export const encodeUint8: CellEncoder = (out, src, start) => out.writeInt(src[start] as number);
export const encodeInt16: CellEncoder = (out, src, start) => out.writeInt(src.readInt16LE(start));
export const encodeUint16: CellEncoder = (out, src, start) => out.writeInt(uint16At(src, start));
export const encodeInt24: CellEncoder = (out, src, start) => out.writeInt(src.readIntLE(start, 3));
export const encodeUint24: CellEncoder = (out, src, start) => out.writeInt(uint24At(src, start));
export const encodeInt32: CellEncoder = (out, src, start) => out.writeInt(int32At(src, start));
export const encodeUint32: CellEncoder = (out, src, start) => out.writeLong(uint32At(src, start));
export const encodeInt64: CellEncoder = (out, src, start) =>
  out.writeLongHalves(int32At(src, start + 4), uint32At(src, start));
export const encodeUint64: CellEncoder = (out, src, start) =>
  out.writeString(src.readBigUInt64LE(start).toString());
export const encodeFloat: CellEncoder = (out, src, start) => out.writeFloat(src.readFloatLE(start));
export const encodeDouble: CellEncoder = (out, src, start) =>
  out.writeDouble(src.readDoubleLE(start));
/** Stored as years since 1900; 0 is the year 0000. */
export const encodeYear: CellEncoder = (out, src, start) => {
  const year = src[start] as number;
  out.writeInt(year === 0 ? 0 : 1900 + year);
};

const DIGITS_BYTES = [0, 1, 1, 2, 2, 3, 3, 4, 4, 4] as const;

export function decimalBytes(precision: number, scale: number): number {
  const whole = precision - scale;
  return (
    Math.floor(whole / 9) * 4 +
    (DIGITS_BYTES[whole % 9] as number) +
    Math.floor(scale / 9) * 4 +
    (DIGITS_BYTES[scale % 9] as number)
  );
}

/** A number's digits with zeros before them, `digits` of them: no text is made on the way. */
export function putDigits(into: Buffer, at: number, value: number, digits: number): void {
  let rest = value;
  for (let i = at + digits - 1; i >= at; i--) {
    // Up to nine digits: an integer division, which one on floats with rounding is not.
    const tens = (rest / 10) | 0;
    into[i] = ZERO + rest - tens * 10;
    rest = tens;
  }
}

/** One group of digits of a stored decimal: up to nine in up to four bytes. */
interface DigitGroup {
  readonly digits: number;
  readonly bytes: number;
}

/** The odd group comes first before the point and last behind it. */
function digitGroups(precision: number, scale: number): readonly DigitGroup[] {
  const whole = precision - scale;
  const before = [whole % 9, ...Array<number>(Math.floor(whole / 9)).fill(9)];
  const behind = [...Array<number>(Math.floor(scale / 9)).fill(9), scale % 9];
  return [...before, ...behind]
    .filter((digits) => digits > 0)
    .map((digits) => ({ digits, bytes: DIGITS_BYTES[digits] as number }));
}

/** A group's value: big-endian, all bits inverted when the number is negative. */
function groupAt(src: Buffer, pos: number, bytes: number, invert: number): number {
  let value = 0;
  for (let i = pos; i < pos + bytes; i++) value = (value << 8) | ((src[i] as number) ^ invert);
  return value;
}

function digitsOf(value: number): number {
  let digits = 1;
  for (let power = 10; power <= value; power *= 10) digits++;
  return digits;
}

/** Groups of nine digits in four bytes, the number's first bit inverted as its sign. Written from
 * the first digit that is not zero, with one digit before the point at least. */
export function encodeDecimal(precision: number, scale: number): CellEncoder {
  const groups = digitGroups(precision, scale);
  const values = new Int32Array(groups.length);
  const whole = precision - scale;
  const groupsBefore = Math.ceil(whole / 9);
  const behind = scale > 0 ? scale + 1 : 0;
  return (out, src, start) => {
    const negative = ((src[start] as number) & 0x80) === 0;
    let pos = start;
    let first = -1;
    let digitsBefore = 0;
    for (let i = 0; i < groups.length; i++) {
      const { bytes, digits } = groups[i] as DigitGroup;
      let value = groupAt(src, pos, bytes, negative ? 0xff : 0);
      if (i === 0) value ^= 0x80 << (8 * (bytes - 1));
      pos += bytes;
      values[i] = value;
      if (i >= groupsBefore) continue;
      if (first >= 0) digitsBefore += digits;
      else if (value !== 0 || i === groupsBefore - 1) {
        first = i;
        digitsBefore = digitsOf(value);
      }
    }
    const length = (negative ? 1 : 0) + Math.max(1, digitsBefore) + behind;
    out.ensure(length + 5);
    out.writeInt(length);
    if (negative) out.writeByte(MINUS);
    if (whole === 0) out.writeByte(ZERO);
    for (let i = Math.max(0, first); i < groups.length; i++) {
      if (i === groupsBefore) out.writeByte(POINT);
      const digits = i === first ? digitsOf(values[i] as number) : (groups[i] as DigitGroup).digits;
      putDigits(out.bytes, out.pos, values[i] as number, digits);
      out.pos += digits;
    }
  };
}

export function decimalText(src: Buffer, start: number, precision: number, scale: number): string {
  const out = new AvroWriter(precision + 8);
  encodeDecimal(precision, scale)(out, src, start, start);
  // Behind the length, which takes one byte up to 63 and two beyond.
  return out.bytes.toString('latin1', out.pos > 64 ? 2 : 1, out.pos);
}

/** BIT(n) as n binary digits, from big-endian bytes in both protocols. */
export function encodeBits(bits: number): CellEncoder {
  return (out, src, start, end) => {
    out.ensure(bits + 5);
    out.writeInt(bits);
    for (let bit = bits - 1; bit >= 0; bit--) {
      const at = end - 1 - (bit >> 3);
      const byte = at < start ? 0 : (src[at] as number);
      out.writeByte(0x30 + ((byte >> (bit & 7)) & 1));
    }
  };
}

/** Up to fifteen decimal digits, which a number holds exactly. */
export function digitsAt(src: Buffer, start: number, end: number): number {
  let value = 0;
  for (let i = start; i < end; i++) {
    const digit = (src[i] as number) - ZERO;
    if (digit < 0 || digit > 9) throw badValue('number');
    value = value * 10 + digit;
  }
  if (start >= end) throw badValue('number');
  return value;
}

/** Integers as the server prints them. */
export const encodeIntegerText: CellEncoder = (out, src, start, end) => {
  const negative = src[start] === MINUS;
  const first = negative ? start + 1 : start;
  if (end - first <= 15) {
    const value = digitsAt(src, first, end);
    out.writeLong(negative ? -value : value);
    return;
  }
  const value = BigInt(src.toString('latin1', start, end));
  if (BigInt.asIntN(64, value) !== value) throw badValue('64-bit integer');
  out.writeLongHalves(Number(value >> 32n), Number(value & 0xffffffffn));
};

/** A decimal as the server prints it, without the zeros that ZEROFILL puts before it. */
export const encodeDecimalText: CellEncoder = (out, src, start, end) => {
  let from = start;
  while (from + 1 < end && src[from] === ZERO && src[from + 1] !== POINT) from++;
  out.writeBytes(src, from, end);
};

function floatOf(src: Buffer, start: number, end: number): number {
  const value = Number(src.toString('latin1', start, end));
  if (Number.isNaN(value)) throw badValue('float');
  return value;
}

export const encodeFloatText: CellEncoder = (out, src, start, end) =>
  out.writeFloat(floatOf(src, start, end));
export const encodeDoubleText: CellEncoder = (out, src, start, end) =>
  out.writeDouble(floatOf(src, start, end));
