import { byteRun } from './byte-run.ts';

/**
 * Writes Avro's binary encoding into a growing buffer. Callers reserve room once per record with
 * `ensure` and then write without further checks; copies from source bytes never pass through a
 * string. 64-bit integers are two 32-bit halves, because BigInt costs more than the rest together.
 */
export class AvroWriter {
  bytes: Buffer;
  pos = 0;

  constructor(capacity = 16 * 1024) {
    this.bytes = Buffer.allocUnsafeSlow(capacity);
  }

  /** Makes room for `extra` more bytes behind `pos`. */
  ensure(extra: number): void {
    const needed = this.pos + extra;
    if (needed <= this.bytes.length) return;
    const grown = Buffer.allocUnsafeSlow(Math.max(needed, this.bytes.length * 2));
    this.bytes.copy(grown, 0, 0, this.pos);
    this.bytes = grown;
  }

  writeByte(value: number): void {
    this.bytes[this.pos++] = value;
  }

  /** A boolean, or any one byte known in advance. Room needed: 1. */
  writeBoolean(value: boolean): void {
    this.bytes[this.pos++] = value ? 1 : 0;
  }

  /** A signed 32-bit int, zigzag. Room needed: 5. */
  writeInt(value: number): void {
    let n = ((value << 1) ^ (value >> 31)) >>> 0;
    const { bytes } = this;
    let { pos } = this;
    while (n > 0x7f) {
      bytes[pos++] = (n & 0x7f) | 0x80;
      n >>>= 7;
    }
    bytes[pos++] = n;
    this.pos = pos;
  }

  /** A long given as a number that is a safe integer. Room needed: 10. */
  writeLong(value: number): void {
    if (value >= -0x40000000 && value < 0x40000000) {
      this.writeInt(value);
      return;
    }
    this.writeLongHalves(Math.floor(value / 0x100000000) | 0, value >>> 0);
  }

  /** A long given as its signed high and unsigned low 32 bits (two's complement). Room needed: 10. */
  writeLongHalves(high: number, low: number): void {
    const sign = high >> 31;
    // Zigzag over 64 bits: (n << 1) ^ (n >> 63).
    let hi = (((high << 1) | (low >>> 31)) ^ sign) >>> 0;
    let lo = ((low << 1) ^ sign) >>> 0;
    const { bytes } = this;
    let { pos } = this;
    while (hi !== 0) {
      bytes[pos++] = (lo & 0x7f) | 0x80;
      lo = ((lo >>> 7) | (hi << 25)) >>> 0;
      hi >>>= 7;
    }
    while (lo > 0x7f) {
      bytes[pos++] = (lo & 0x7f) | 0x80;
      lo >>>= 7;
    }
    bytes[pos++] = lo;
    this.pos = pos;
  }

  writeFloat(value: number): void {
    this.bytes.writeFloatLE(value, this.pos);
    this.pos += 4;
  }

  writeDouble(value: number): void {
    this.bytes.writeDoubleLE(value, this.pos);
    this.pos += 8;
  }

  /** Avro bytes or string from a run of source bytes. Room needed: 5 + its length. */
  writeBytes(source: Uint8Array, start: number, end: number): void {
    this.writeInt(end - start);
    this.copyRaw(source, start, end);
  }

  /** As `writeBytes`, of a whole array. */
  writeAll(source: Uint8Array): void {
    this.writeInt(source.length);
    this.putAll(source);
  }

  /** A whole array without a length. */
  putAll(source: Uint8Array): void {
    this.bytes.set(source, this.pos);
    this.pos += source.length;
  }

  /** Raw bytes without a length. Short runs are copied by hand: a call into the engine costs more. */
  copyRaw(source: Uint8Array, start: number, end: number): void {
    const { bytes } = this;
    let { pos } = this;
    if (end - start < 24) {
      for (let i = start; i < end; i++) bytes[pos++] = source[i] as number;
      this.pos = pos;
      return;
    }
    bytes.set(byteRun(source, start, end), pos);
    this.pos = pos + (end - start);
  }

  /** Avro string from a JavaScript string; for what is prepared once or is rare. Ensures its own room. */
  writeString(text: string): void {
    const length = Buffer.byteLength(text);
    this.ensure(length + 5);
    this.writeInt(length);
    this.pos += this.bytes.write(text, this.pos);
  }
}
