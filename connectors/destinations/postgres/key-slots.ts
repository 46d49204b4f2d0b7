import { murmur2 } from '../../../schemas/envelope/partition.ts';

/** Numbers the distinct keys of a batch by their bytes: an open-addressed table without an object or
 * a string per key. */
export class KeySlots {
  count = 0;
  private mask: number;
  private readonly table: Int32Array;
  private readonly hashes: Int32Array;
  private readonly buffers: Buffer[] = [];
  private readonly starts: Int32Array;
  private readonly ends: Int32Array;

  constructor(maximum: number) {
    const size = 2 ** Math.ceil(Math.log2(Math.max(8, maximum * 2)));
    this.mask = size - 1;
    this.table = new Int32Array(size).fill(-1);
    this.hashes = new Int32Array(maximum);
    this.starts = new Int32Array(maximum);
    this.ends = new Int32Array(maximum);
  }

  /** The number of the key at [start, end); a new one is `count - 1` afterwards. */
  slotOf(bytes: Buffer, start: number, end: number): number {
    const hash = murmur2(bytes, start, end);
    let at = hash & this.mask;
    for (;;) {
      const slot = this.table[at] as number;
      if (slot === -1) break;
      if (this.hashes[slot] === hash && this.equals(slot, bytes, start, end)) return slot;
      at = (at + 1) & this.mask;
    }
    const slot = this.count++;
    this.table[at] = slot;
    this.hashes[slot] = hash;
    this.buffers.push(bytes);
    this.starts[slot] = start;
    this.ends[slot] = end;
    return slot;
  }

  private equals(slot: number, bytes: Buffer, start: number, end: number): boolean {
    const other = this.buffers[slot] as Buffer;
    const from = this.starts[slot] as number;
    if ((this.ends[slot] as number) - from !== end - start) return false;
    for (let i = start, j = from; i < end; i++, j++) if (bytes[i] !== other[j]) return false;
    return true;
  }
}
