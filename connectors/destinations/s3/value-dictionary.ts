import type { ColumnBuffer } from './column-buffer.ts';

/** A sample of so many values tells most columns of different ones without looking at all. */
const SAMPLE = 1_000;
/** Distinct bytes in the sample from which on no dictionary is tried. */
const SAMPLE_LIMIT = 0.9;
const PRIME = 0x9e3779b1;

/** The values of a column chunk as indexes of its distinct ones. */
export interface DictionaryIndexes {
  /** Distinct values, in the order in which they were first seen. */
  readonly size: number;
  readonly bitWidth: number;
  /** Index per value; valid until the next column chunk. */
  readonly indexes: Int32Array;
  /** Place in the buffer of each distinct value. */
  readonly places: Int32Array;
}

/**
 * Finds the distinct values of a column chunk by hashing their bytes into tables that are reused. A
 * dictionary is worth it when it halves the chunk: it costs readers one more look-up per value, and
 * a chunk of different values would be written twice over.
 */
export class ValueDictionary {
  /** Open addressing: one more than the index of a distinct value, 0 for a free slot. */
  private slots = new Int32Array(0);
  private mask = 0;
  private places = new Int32Array(0);
  private indexes = new Int32Array(0);
  private size = 0;

  /** Null where PLAIN is the better encoding. */
  of(buffer: ColumnBuffer): DictionaryIndexes | null {
    const { count } = buffer;
    if (buffer.isFlags || count === 0 || !this.sampleRepeats(buffer)) return null;
    if (!this.findAll(buffer)) return null;
    const { size, places, indexes } = this;
    const bitWidth = Math.ceil(Math.log2(size));
    const indexBytes = Math.ceil((count * bitWidth) / 8);
    if (2 * (this.distinctBytes(buffer) + indexBytes) > buffer.plainEnd(count)) return null;
    return { size, bitWidth, indexes, places };
  }

  private distinctBytes(buffer: ColumnBuffer): number {
    let sum = 0;
    for (let i = 0; i < this.size; i++) sum += buffer.plainSize(this.places[i] as number);
    return sum;
  }

  private begin(values: number): void {
    let capacity = 1024;
    while (capacity < values * 2) capacity *= 2;
    if (this.slots.length < capacity) this.slots = new Int32Array(capacity);
    else this.slots.fill(0, 0, capacity);
    this.mask = capacity - 1;
    if (this.places.length < values) {
      this.places = new Int32Array(values);
      this.indexes = new Int32Array(values);
    }
    this.size = 0;
  }

  /** False when a sample, spread over the chunk, has hardly a value twice. */
  private sampleRepeats(buffer: ColumnBuffer): boolean {
    const { count } = buffer;
    const sample = Math.min(count, SAMPLE);
    this.begin(sample);
    let all = 0;
    let distinct = 0;
    for (let i = 0; i < sample; i++) {
      const place = sample === 1 ? 0 : Math.floor((i * (count - 1)) / (sample - 1));
      const bytes = buffer.plainSize(place);
      all += bytes;
      const { size } = this;
      if (this.indexOf(buffer, place) === size) distinct += bytes;
    }
    return distinct <= all * SAMPLE_LIMIT;
  }

  /** False as soon as the distinct values alone take half of what all take. */
  private findAll(buffer: ColumnBuffer): boolean {
    const { count } = buffer;
    const limit = buffer.plainEnd(count) / 2;
    this.begin(count);
    const { indexes } = this;
    let distinct = 0;
    for (let i = 0; i < count; i++) {
      const { size } = this;
      const index = this.indexOf(buffer, i);
      indexes[i] = index;
      if (index < size) continue;
      distinct += buffer.plainSize(i);
      if (distinct > limit) return false;
    }
    return true;
  }

  /** The index of a value among the distinct ones; a new one when it was not among them. */
  private indexOf(buffer: ColumnBuffer, place: number): number {
    const { slots, mask, places } = this;
    const isWords = buffer.width > 0;
    let slot = (isWords ? hashOfWords(buffer, place) : hashOfBytes(buffer, place)) & mask;
    for (;;) {
      const index = (slots[slot] as number) - 1;
      if (index === -1) break;
      const other = places[index] as number;
      if (isWords ? equalWords(buffer, place, other) : equalBytes(buffer, place, other)) {
        return index;
      }
      slot = (slot + 1) & mask;
    }
    places[this.size] = place;
    slots[slot] = this.size + 1;
    return this.size++;
  }
}

function hashOfWords({ words, width }: ColumnBuffer, index: number): number {
  const size = width >>> 2;
  let hash = 0;
  for (let at = index * size; at < (index + 1) * size; at++) {
    hash = Math.imul(hash ^ (words[at] as number), PRIME);
    hash ^= hash >>> 15;
  }
  return hash;
}

function equalWords({ words, width }: ColumnBuffer, a: number, b: number): boolean {
  const size = width >>> 2;
  for (let i = 0; i < size; i++) if (words[a * size + i] !== words[b * size + i]) return false;
  return true;
}

function hashOfBytes(buffer: ColumnBuffer, index: number): number {
  const { bytes } = buffer;
  const end = buffer.plainEnd(index + 1);
  let hash = 0;
  for (let at = buffer.startOf(index); at < end; at++) {
    hash = Math.imul(hash ^ (bytes[at] as number), PRIME);
  }
  hash ^= hash >>> 15;
  return Math.imul(hash, PRIME) >>> 7;
}

function equalBytes(buffer: ColumnBuffer, a: number, b: number): boolean {
  const { bytes } = buffer;
  const start = buffer.startOf(a);
  const length = buffer.plainEnd(a + 1) - start;
  const other = buffer.startOf(b);
  if (buffer.plainEnd(b + 1) - other !== length) return false;
  for (let i = 0; i < length; i++) if (bytes[start + i] !== bytes[other + i]) return false;
  return true;
}
