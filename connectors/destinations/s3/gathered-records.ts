import type { RecordChunk } from './spool-builder.ts';

/** From this size on a chunk goes to the encoder's thread by itself. */
const FULL_BYTES = 16 * 1024;
const FIRST_BYTES = 1024;
const FIRST_RECORDS = 8;

/**
 * Small chunks on their way to the encoder's thread, gathered into one. Hundreds of streams with a change
 * now and then would make one of each record: three buffers and a message apiece, which take more
 * memory than the records and more time than encoding them.
 */
export class GatheredRecords {
  private bytes = new Uint8Array(FIRST_BYTES);
  private ends = new Int32Array(FIRST_RECORDS);
  private offsets = new Float64Array(FIRST_RECORDS);
  private length = 0;
  private count = 0;

  /** True when what comes next is to go by itself, behind what is gathered. */
  static isLarge(chunk: RecordChunk): boolean {
    return chunk.bytes.byteLength >= FULL_BYTES;
  }

  get isFull(): boolean {
    return this.length >= FULL_BYTES;
  }

  add({ bytes, ends, offsets }: RecordChunk): void {
    this.grow(this.length + bytes.byteLength, this.count + ends.length);
    this.bytes.set(new Uint8Array(bytes), this.length);
    for (let i = 0; i < ends.length; i++) {
      this.ends[this.count + i] = this.length + (ends[i] as number);
    }
    this.offsets.set(offsets, this.count);
    this.length += bytes.byteLength;
    this.count += ends.length;
  }

  private grow(bytes: number, records: number): void {
    if (bytes > this.bytes.length) {
      const grown = new Uint8Array(Math.max(bytes, this.bytes.length * 2));
      grown.set(this.bytes.subarray(0, this.length));
      this.bytes = grown;
    }
    if (records <= this.ends.length) return;
    const capacity = Math.max(records, this.ends.length * 2);
    const ends = new Int32Array(capacity);
    ends.set(this.ends.subarray(0, this.count));
    const offsets = new Float64Array(capacity);
    offsets.set(this.offsets.subarray(0, this.count));
    this.ends = ends;
    this.offsets = offsets;
  }

  /** All that is gathered, in buffers of its size; null when nothing is. It is empty afterwards. */
  take(): RecordChunk | null {
    if (this.count === 0) return null;
    const chunk = {
      bytes: this.bytes.slice(0, this.length).buffer,
      ends: this.ends.slice(0, this.count),
      offsets: this.offsets.slice(0, this.count),
    };
    this.length = 0;
    this.count = 0;
    return chunk;
  }
}
