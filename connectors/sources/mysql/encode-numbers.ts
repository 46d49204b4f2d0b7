import { AvroWriter } from '../../../schemas/avro/avro-writer.ts';
import type { CellEncoder } from '../../capture/row-codec.ts';
import { badValue } from './errors.ts';

const MINUS = 0x2d;
const POINT = 0x2e;
const ZERO = 0x30;

/** Numbers as the log stores them: little-endian integers and IEEE floats. */
export const encodeInt8: CellEncoder = (out, src, start) => out.writeInt(src.readInt8(start));
export const encodeUint8: CellEncoder = (out, src, start) => out.writeInt(src[start] as number);
export const encodeInt16: CellEncoder = (out, src, start) => out.writeInt(src.readInt16LE(start));
export const encodeUint16: CellEncoder = (out, src, start) => out.writeInt(src.readUInt16LE(start));
export const encodeInt24: CellEncoder = (out, src, start) => out.writeInt(src.readIntLE(start, 3));
export const encodeUint24: CellEncoder = (out, src, start) =>
  out.writeInt(src.readUIntLE(start, 3));
export const encodeInt32: CellEncoder = (out, src, start) => out.writeInt(src.readInt32LE(start));
export const encodeUint32: CellEncoder = (out, src, start) =>
  out.writeLong(src.readUInt32LE(start));
export const encodeInt64: CellEncoder = (out, src, start) =>
  out.writeLongHalves(src.readInt32LE(start + 4), src.readUInt32LE(start));
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
    const tens = Math.floor(rest / 10);
    into[i] = ZERO + rest - tens * 10;
    rest = tens;
  }
}

/** Groups of nine digits in four bytes, big-endian, the first bit inverted, all bits when negative.
 * Fills `into` with `precision` digits; true when the number is negative. */
function decimalDigits(
  src: Buffer,
  start: number,
  precision: number,
  scale: number,
  into: Buffer,
): boolean {
  const negative = ((src[start] as number) & 0x80) === 0;
  const invert = negative ? 0xff : 0;
  const whole = precision - scale;
  let pos = start;
  let flip = 0x80;
  for (let at = 0; at < precision;) {
    // The odd group comes first before the point and last behind it.
    const odd = at < whole ? (whole - at) % 9 : Math.min(9, precision - at);
    const digits = odd === 0 ? 9 : odd;
    let value = 0;
    for (let i = DIGITS_BYTES[digits] as number; i > 0; i--) {
      value = value * 256 + ((src[pos++] as number) ^ invert ^ flip);
      flip = 0;
    }
    putDigits(into, at, value, digits);
    at += digits;
  }
  return negative;
}

/** How many zeros stand before the point and say nothing: one digit is kept there. */
function leadingZeros(digits: Buffer, whole: number): number {
  let zeros = 0;
  while (zeros + 1 < whole && digits[zeros] === ZERO) zeros++;
  return zeros;
}

export function encodeDecimal(precision: number, scale: number): CellEncoder {
  const whole = precision - scale;
  const digits = Buffer.alloc(precision);
  return (out, src, start) => {
    const negative = decimalDigits(src, start, precision, scale, digits);
    const from = leadingZeros(digits, whole);
    const length = (negative ? 1 : 0) + Math.max(1, whole - from) + (scale > 0 ? scale + 1 : 0);
    out.ensure(length + 5);
    out.writeInt(length);
    if (negative) out.writeByte(MINUS);
    if (whole === 0) out.writeByte(ZERO);
    out.copyRaw(digits, from, whole);
    if (scale === 0) return;
    out.writeByte(POINT);
    out.copyRaw(digits, whole, precision);
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
