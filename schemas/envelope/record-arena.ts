import { AvroWriter } from '../avro/avro-writer.ts';

/**
 * Encoded records of one partition, packed one behind the other: what a source hands to the topic
 * writer. No object per record: record i's key is [end of record i-1, keyEnds[i]), its value
 * [keyEnds[i], valueEnds[i]). An empty key is no key, an empty value a tombstone; neither can be
 * empty otherwise, for each begins with the five bytes of the Confluent header.
 */
export class RecordArena {
  readonly out: AvroWriter;
  count = 0;
  keyEnds = new Int32Array(256);
  valueEnds = new Int32Array(256);

  constructor(capacity = 64 * 1024) {
    this.out = new AvroWriter(capacity);
  }

  get byteLength(): number {
    return this.count === 0 ? 0 : (this.valueEnds[this.count - 1] as number);
  }

  /** Where the next record begins. */
  get start(): number {
    return this.byteLength;
  }

  endKey(): void {
    if (this.count === this.keyEnds.length) this.growBounds();
    this.keyEnds[this.count] = this.out.pos;
  }

  endValue(): void {
    this.valueEnds[this.count++] = this.out.pos;
  }

  /** Forgets every record from `count` on, for a record that turns out not to be sendable. */
  truncate(count: number): void {
    this.count = count;
    this.out.pos = this.byteLength;
  }

  clear(): void {
    this.truncate(0);
  }

  /** Moves the records from `count` on into an empty arena. */
  splitInto(tail: RecordArena, count: number): void {
    const from = count === 0 ? 0 : (this.valueEnds[count - 1] as number);
    tail.out.ensure(this.byteLength - from);
    tail.out.copyRaw(this.out.bytes, from, this.byteLength);
    for (let i = count; i < this.count; i++) {
      if (tail.count === tail.keyEnds.length) tail.growBounds();
      tail.keyEnds[tail.count] = (this.keyEnds[i] as number) - from;
      tail.valueEnds[tail.count++] = (this.valueEnds[i] as number) - from;
    }
    this.truncate(count);
  }

  private growBounds(): void {
    this.keyEnds = doubled(this.keyEnds);
    this.valueEnds = doubled(this.valueEnds);
  }
}

function doubled(array: Int32Array): Int32Array<ArrayBuffer> {
  const grown = new Int32Array(array.length * 2);
  grown.set(array);
  return grown;
}
