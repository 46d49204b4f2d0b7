/** A growing buffer in Postgres' binary form (big-endian). Cells reserve their room once with
 * `ensure`, then write unchecked. */
export class BinaryWriter {
  bytes: Buffer;
  pos = 0;

  constructor(capacity: number) {
    this.bytes = Buffer.allocUnsafeSlow(capacity);
  }

  ensure(extra: number): void {
    const needed = this.pos + extra;
    if (needed <= this.bytes.length) return;
    const grown = Buffer.allocUnsafeSlow(Math.max(needed, this.bytes.length * 2));
    this.bytes.copy(grown, 0, 0, this.pos);
    this.bytes = grown;
  }

  int16(value: number): void {
    const { bytes, pos } = this;
    bytes[pos] = value >> 8;
    bytes[pos + 1] = value;
    this.pos = pos + 2;
  }

  int32(value: number): void {
    const { bytes, pos } = this;
    bytes[pos] = value >> 24;
    bytes[pos + 1] = value >> 16;
    bytes[pos + 2] = value >> 8;
    bytes[pos + 3] = value;
    this.pos = pos + 4;
  }

  /** Raw bytes. Short runs are copied by hand: a call into the engine costs more. */
  copy(source: Buffer, start: number, end: number): void {
    const { bytes } = this;
    let { pos } = this;
    if (end - start < 24) {
      for (let i = start; i < end; i++) bytes[pos++] = source[i] as number;
      this.pos = pos;
      return;
    }
    source.copy(bytes, pos, start, end);
    this.pos = pos + (end - start);
  }

  /** A NULL cell. */
  null(): void {
    this.ensure(4);
    this.int32(-1);
  }

  int4Cell(value: number): void {
    this.ensure(8);
    this.int32(4);
    this.int32(value);
  }

  int8Cell(high: number, low: number): void {
    this.ensure(12);
    this.int32(8);
    this.int32(high);
    this.int32(low);
  }

  textCell(text: string): void {
    const length = Buffer.byteLength(text);
    this.ensure(length + 4);
    this.int32(length);
    this.pos += this.bytes.write(text, this.pos);
  }
}
