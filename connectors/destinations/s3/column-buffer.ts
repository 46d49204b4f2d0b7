import type { FileForm } from './file-columns.ts';

/** Bytes of a value in PLAIN form. A boolean has a byte of its own until its page is written; text and
 * bytes have four bytes of length before them. */
const WIDTH_OF: Record<FileForm, number> = {
  boolean: 1,
  int64: 8,
  double: 8,
  decimal: 16,
  text: 0,
  bytes: 0,
  date: 4,
  time: 8,
  timestamp: 8,
  timestamptz: 8,
  'timestamptz-millis': 8,
};
const LENGTH_BYTES = 4;
/** Below this a loop copies faster than a call. */
const SHORT = 40;
const FIRST_BYTES = 4 * 1024;
/** What is kept for the next column chunk: nobody holds on to one huge value (invariant 9). */
export const KEPT_BYTES = 8 * 1024 * 1024;

/**
 * The values of one column chunk as they lie in its pages: in PLAIN form one behind the other, without
 * the nulls, and a definition level per row. Filled straight from a record's bytes, so that a cell
 * leaves nothing to be collected.
 */
export class ColumnBuffer {
  /** Bytes of a value; 0 where each has its own length. */
  readonly width: number;
  rows = 0;
  /** Definition level per row: 1 for a value, 0 for null. Whoever fills the buffer sets all of them. */
  levels = new Uint8Array(0);
  /** Values so far. */
  count = 0;
  /** All on the same memory. */
  bytes = new Uint8Array(0);
  words = new Int32Array(0);
  doubles = new Float64Array(0);
  longs = new BigInt64Array(0);
  view = new DataView(this.bytes.buffer);
  /** Where value i ends in `bytes`; only where each has its own length. */
  private ends = new Int32Array(0);

  constructor(width: number) {
    this.width = width;
  }

  /** Empties the buffer and makes room for `rows` rows. */
  begin(rows: number): void {
    this.rows = rows;
    this.count = 0;
    if (this.levels.length < rows) {
      this.levels = new Uint8Array(rows);
      if (this.width === 0) this.ends = new Int32Array(rows);
    }
    if (this.bytes.length < rows * this.width) this.allocate(rows * this.width);
  }

  /** Lets go of memory that is not worth keeping. */
  release(): void {
    if (this.bytes.length > KEPT_BYTES) this.allocate(0);
  }

  private allocate(size: number): void {
    const buffer = new ArrayBuffer(Math.ceil(size / 16) * 16);
    this.bytes = new Uint8Array(buffer);
    this.words = new Int32Array(buffer);
    this.doubles = new Float64Array(buffer);
    this.longs = new BigInt64Array(buffer);
    this.view = new DataView(buffer);
  }

  /** A 64-bit integer as two halves. */
  pushHalves(high: number, low: number): void {
    const at = this.count++ * 2;
    this.words[at] = low;
    this.words[at + 1] = high;
  }

  /** A 64-bit integer that is a safe one. */
  pushSafe(value: number): void {
    const high = Math.floor(value / 0x100000000);
    this.pushHalves(high, value - high * 0x100000000);
  }

  pushInt32(value: number): void {
    this.words[this.count++] = value;
  }

  pushDouble(value: number): void {
    this.doubles[this.count++] = value;
  }

  pushFlag(value: boolean): void {
    this.bytes[this.count++] = value ? 1 : 0;
  }

  pushLong(value: bigint): void {
    this.longs[this.count++] = value;
  }

  /** An unscaled decimal: 16 bytes, the high ones first. */
  pushDecimal(unscaled: bigint): void {
    const at = this.count++ * 16;
    this.view.setBigInt64(at, unscaled >> 64n);
    this.view.setBigUint64(at + 8, BigInt.asUintN(64, unscaled));
  }

  /** An unscaled decimal that is a safe integer. */
  pushSafeDecimal(unscaled: number): void {
    const at = this.count++ * 4;
    const high = Math.floor(unscaled / 0x100000000);
    const sign = unscaled < 0 ? -1 : 0;
    this.words[at] = sign;
    this.words[at + 1] = sign;
    this.words[at + 2] = swapped(high);
    this.words[at + 3] = swapped(unscaled - high * 0x100000000);
  }

  /** Text as UTF-8, or bytes. */
  pushBytes(source: Buffer, start: number, end: number): void {
    const length = end - start;
    let at = this.makeValue(length);
    const { bytes } = this;
    if (length > SHORT) {
      // Unlike `set`, it needs no view of the source.
      source.copy(bytes, at, start, end);
      return;
    }
    for (let from = start; from < end; from++) bytes[at++] = source[from] as number;
  }

  /** Adds a value of `length` bytes, to be written at the answered place in `bytes`. */
  makeValue(length: number): number {
    const at = this.plainEnd(this.count);
    const end = at + LENGTH_BYTES + length;
    if (end > this.bytes.length) this.grow(end);
    const { bytes } = this;
    bytes[at] = length;
    bytes[at + 1] = length >>> 8;
    bytes[at + 2] = length >>> 16;
    bytes[at + 3] = length >>> 24;
    this.ends[this.count++] = end;
    return at + LENGTH_BYTES;
  }

  /** Takes over the rows of another buffer of values with lengths of their own. */
  copy(other: ColumnBuffer): void {
    this.begin(other.rows);
    this.levels.set(other.levels.subarray(0, other.rows));
    this.ends.set(other.ends.subarray(0, other.count));
    const plain = other.plain(0, other.count);
    if (plain.length > this.bytes.length) this.allocate(plain.length);
    this.bytes.set(plain);
    this.count = other.count;
  }

  private grow(needed: number): void {
    const { bytes } = this;
    this.allocate(Math.max(needed, bytes.length * 2, FIRST_BYTES));
    this.bytes.set(bytes);
  }

  /** Where the PLAIN form of the first `count` values ends. */
  plainEnd(count: number): number {
    if (this.width > 0) return count * this.width;
    return count === 0 ? 0 : (this.ends[count - 1] as number);
  }

  /** Where value `index` begins in `bytes`: behind its length, if it has one. */
  startOf(index: number): number {
    return this.width > 0 ? index * this.width : this.plainEnd(index) + LENGTH_BYTES;
  }

  /** A boolean's value is not in its PLAIN form. */
  get isFlags(): boolean {
    return this.width === 1;
  }

  /** Bytes of the PLAIN form of value `index`. */
  plainSize(index: number): number {
    return this.width > 0 ? this.width : this.plainEnd(index + 1) - this.plainEnd(index);
  }

  /** Copies the PLAIN form of value `index` to `out`. Answers where it ends there. */
  copyPlain(index: number, out: Uint8Array, at: number): number {
    const { bytes } = this;
    const end = this.plainEnd(index + 1);
    for (let from = this.plainEnd(index); from < end; from++) out[at++] = bytes[from] as number;
    return at;
  }

  /** A view of the PLAIN form of values [from, to). */
  plain(from: number, to: number): Uint8Array {
    return this.bytes.subarray(this.plainEnd(from), this.plainEnd(to));
  }
}

/** The same word with its bytes the other way round. */
export function swapped(word: number): number {
  return (word << 24) | ((word & 0xff00) << 8) | ((word >>> 8) & 0xff00) | ((word >>> 24) & 0xff);
}

/** Buffers for one column chunk at a time: whatever columns a file has, there are only so many. */
export class ColumnBuffers {
  private readonly byWidth = new Map<number, ColumnBuffer>();

  /** The buffer for columns of a form, emptied. */
  begin(form: FileForm, rows: number): ColumnBuffer {
    const width = WIDTH_OF[form];
    const buffer = this.byWidth.get(width) ?? new ColumnBuffer(width);
    this.byWidth.set(width, buffer);
    buffer.begin(rows);
    return buffer;
  }
}
