import type { AvroWriter } from '../../../schemas/avro/avro-writer.ts';
import { PipelineError } from '../../../core/errors/pipeline-error.ts';

/** A text we do not understand is never guessed at (invariant 5); it is not repeated in the message. */
export function badValue(what: string): PipelineError {
  return new PipelineError('SRC_VALUE', `a value is not a ${what} as Postgres prints it`);
}

export function encodeText(out: AvroWriter, src: Buffer, start: number, end: number): void {
  out.writeBytes(src, start, end);
}

const MINUS = 0x2d;

export function encodeBoolean(out: AvroWriter, src: Buffer, start: number, end: number): void {
  const byte = src[start];
  if (end - start !== 1 || (byte !== 0x74 && byte !== 0x66)) throw badValue('boolean');
  out.writeBoolean(byte === 0x74);
}

/** Up to fifteen digits, which a number holds exactly. */
export function digits(src: Buffer, start: number, end: number): number {
  let value = 0;
  for (let i = start; i < end; i++) {
    const digit = (src[i] as number) - 0x30;
    if (digit < 0 || digit > 9) throw badValue('number');
    value = value * 10 + digit;
  }
  if (start >= end) throw badValue('number');
  return value;
}

export function encodeInteger(out: AvroWriter, src: Buffer, start: number, end: number): void {
  const negative = src[start] === MINUS;
  const first = negative ? start + 1 : start;
  if (end - first <= 15) {
    const value = digits(src, first, end);
    out.writeLong(negative ? -value : value);
    return;
  }
  encodeLongInteger(out, src, first, end, negative);
}

/** Sixteen to twenty digits: head * 10^9 + tail, worked out in 16-bit steps so that no product
 * leaves 53 bits. */
function encodeLongInteger(
  out: AvroWriter,
  src: Buffer,
  first: number,
  end: number,
  negative: boolean,
): void {
  if (end - first > 19) throw badValue('64-bit integer');
  const head = digits(src, first, end - 9);
  const tail = digits(src, end - 9, end);
  const below = (head % 65536) * 1e9 + tail;
  const above = Math.floor(head / 65536) * 1e9;
  const sum = (above % 65536) * 65536 + below;
  let low = sum >>> 0;
  let high = (Math.floor(above / 65536) + Math.floor(sum / 4294967296)) | 0;
  if (negative) {
    low = -low >>> 0;
    high = low === 0 ? -high | 0 : ~high;
  }
  out.writeLongHalves(high, low);
}

function float(src: Buffer, start: number, end: number): number {
  const text = src.toString('latin1', start, end);
  const value = Number(text);
  if (Number.isNaN(value) && text !== 'NaN') throw badValue('float');
  return value;
}

export function encodeFloat(out: AvroWriter, src: Buffer, start: number, end: number): void {
  out.writeFloat(float(src, start, end));
}

export function encodeDouble(out: AvroWriter, src: Buffer, start: number, end: number): void {
  out.writeDouble(float(src, start, end));
}

/** `-$1,234.56` under lc_monetary C: the currency sign and the thousands' commas fall away. */
export function encodeMoney(out: AvroWriter, src: Buffer, start: number, end: number): void {
  let length = 0;
  for (let i = start; i < end; i++) {
    if (isMoneyDigit(src[i] as number)) length++;
  }
  out.writeInt(length);
  for (let i = start; i < end; i++) {
    const byte = src[i] as number;
    if (isMoneyDigit(byte)) out.writeByte(byte);
  }
}

function isMoneyDigit(byte: number): boolean {
  if ((byte >= 0x30 && byte <= 0x39) || byte === MINUS || byte === 0x2e) return true;
  if (byte === 0x24 || byte === 0x2c) return false;
  throw badValue('money amount');
}

const HEX = new Int8Array(256).fill(-1);
for (let i = 0; i < 16; i++) {
  HEX[i.toString(16).charCodeAt(0)] = i;
}

/** `\xdeadbeef` */
export function encodeBytea(out: AvroWriter, src: Buffer, start: number, end: number): void {
  if (src[start] !== 0x5c || src[start + 1] !== 0x78 || (end - start) % 2 !== 0) {
    throw badValue('bytea in hex');
  }
  out.writeInt((end - start - 2) / 2);
  const { bytes } = out;
  let { pos } = out;
  for (let i = start + 2; i < end; i += 2) {
    const value = ((HEX[src[i] as number] as number) << 4) | (HEX[src[i + 1] as number] as number);
    if (value < 0) throw badValue('bytea in hex');
    bytes[pos++] = value;
  }
  out.pos = pos;
}
