/**
 * Reading and writing Kafka's primitive types, flexible versions only: compact strings and arrays
 * carry their length plus one as an unsigned varint, and every structure ends with tagged fields.
 * 64-bit integers are JavaScript numbers: offsets, times and producer ids stay below 2^53.
 */

const TWO_32 = 0x1_0000_0000;

export class ByteWriter {
  bytes: Buffer;
  pos = 0;

  constructor(capacity = 512) {
    this.bytes = Buffer.allocUnsafeSlow(capacity);
  }

  /** Makes room for `extra` more bytes; every method but `uvarintUnchecked` calls it itself. */
  ensure(extra: number): void {
    const needed = this.pos + extra;
    if (needed <= this.bytes.length) return;
    const grown = Buffer.allocUnsafeSlow(Math.max(needed, this.bytes.length * 2));
    this.bytes.copy(grown, 0, 0, this.pos);
    this.bytes = grown;
  }

  /** What was written so far; shares memory with this writer. */
  view(): Buffer {
    return this.bytes.subarray(0, this.pos);
  }

  int8(value: number): this {
    this.ensure(1);
    this.bytes[this.pos++] = value & 0xff;
    return this;
  }

  int16(value: number): this {
    this.ensure(2);
    this.pos = this.bytes.writeInt16BE(value, this.pos);
    return this;
  }

  int32(value: number): this {
    this.ensure(4);
    this.pos = this.bytes.writeInt32BE(value, this.pos);
    return this;
  }

  int64(value: number): this {
    this.ensure(8);
    this.bytes.writeInt32BE(Math.floor(value / TWO_32), this.pos);
    this.bytes.writeUInt32BE(value >>> 0, this.pos + 4);
    this.pos += 8;
    return this;
  }

  boolean(value: boolean): this {
    return this.int8(value ? 1 : 0);
  }

  uvarint(value: number): this {
    this.ensure(5);
    while (value > 0x7f) {
      this.bytes[this.pos++] = (value & 0x7f) | 0x80;
      value >>>= 7;
    }
    this.bytes[this.pos++] = value;
    return this;
  }

  compactString(text: string | null): this {
    if (text === null) return this.uvarint(0);
    const length = Buffer.byteLength(text);
    this.uvarint(length + 1).ensure(length);
    this.pos += this.bytes.write(text, this.pos);
    return this;
  }

  /** The length of an array; its elements follow. */
  arrayLength(count: number): this {
    return this.uvarint(count + 1);
  }

  raw(source: Uint8Array): this {
    this.ensure(source.length);
    this.bytes.set(source, this.pos);
    this.pos += source.length;
    return this;
  }

  /** An empty section of tagged fields. */
  noTags(): this {
    return this.int8(0);
  }
}

export class ByteReader {
  readonly bytes: Buffer;
  pos: number;

  constructor(bytes: Buffer, pos = 0) {
    this.bytes = bytes;
    this.pos = pos;
  }

  int8(): number {
    return this.bytes.readInt8(this.pos++);
  }

  int16(): number {
    this.pos += 2;
    return this.bytes.readInt16BE(this.pos - 2);
  }

  int32(): number {
    this.pos += 4;
    return this.bytes.readInt32BE(this.pos - 4);
  }

  int64(): number {
    this.pos += 8;
    return this.bytes.readInt32BE(this.pos - 8) * TWO_32 + this.bytes.readUInt32BE(this.pos - 4);
  }

  boolean(): boolean {
    return this.int8() !== 0;
  }

  uvarint(): number {
    let value = 0;
    for (let shift = 0; shift < 35; shift += 7) {
      const byte = this.bytes.readUInt8(this.pos++);
      value |= (byte & 0x7f) << shift;
      if (byte < 0x80) return value >>> 0;
    }
    throw new RangeError('a varint in a Kafka answer is too long');
  }

  compactString(): string | null {
    const length = this.uvarint() - 1;
    if (length < 0) return null;
    this.pos += length;
    return this.bytes.toString('utf8', this.pos - length, this.pos);
  }

  /** A topic's or cluster's 16-byte id in hexadecimal; all zeros where the broker knows none. */
  uuid(): string {
    this.pos += 16;
    return this.bytes.toString('hex', this.pos - 16, this.pos);
  }

  /** Reads an array whose null is taken as empty. */
  array<T>(element: () => T): T[] {
    const count = this.uvarint() - 1;
    const items: T[] = [];
    for (let i = 0; i < count; i++) items.push(element());
    return items;
  }

  /** Passes a section of tagged fields, handing each to `onTag` with its first byte's position. */
  tags(onTag?: (tag: number) => void): void {
    for (let left = this.uvarint(); left > 0; left--) {
      const tag = this.uvarint();
      const end = this.uvarint() + this.pos;
      onTag?.(tag);
      this.pos = end;
    }
  }
}
