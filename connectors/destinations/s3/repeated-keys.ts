import { hash } from 'node:crypto';
import { closeSync, mkdirSync, openSync, readFileSync, rmSync, writeSync } from 'node:fs';
import { join } from 'node:path';

const BUCKETS = 256;
const HASH_BYTES = 8;
const BUFFER_BYTES = 2048 * HASH_BYTES;

/**
 * Counts keys that were seen before. Of each key 64 bits of a hash are written to one of 256 files, and
 * the files are sorted one by one, so that a lake of any size is counted with the memory of a 256th
 * of its rows at 8 bytes each. Of a hundred million keys two different ones are taken for one with a
 * probability of 0.03 %.
 */
export class KeyTally implements Disposable {
  private readonly folder: string;
  private readonly files: number[];
  private readonly buffers = Array.from({ length: BUCKETS }, () => Buffer.alloc(BUFFER_BYTES));
  private readonly filled = new Uint32Array(BUCKETS);

  /** `folder` is made, and removed at the end. */
  constructor(folder: string) {
    this.folder = folder;
    mkdirSync(folder, { recursive: true });
    this.files = this.buffers.map((_, bucket) => openSync(this.fileOf(bucket), 'w'));
  }

  /** The values of a key's columns, as they lie in the file. */
  add(values: readonly unknown[]): void {
    const digest = hash('md5', JSON.stringify(values.map(exactText)), 'buffer');
    const bucket = digest[HASH_BYTES] as number;
    const buffer = this.buffers[bucket] as Buffer;
    if (this.filled[bucket] === BUFFER_BYTES) this.empty(bucket);
    digest.copy(buffer, this.filled[bucket], 0, HASH_BYTES);
    this.filled[bucket] = (this.filled[bucket] as number) + HASH_BYTES;
  }

  /** How many of the keys that were added had been added before. */
  repeated(): number {
    let repeated = 0;
    for (let bucket = 0; bucket < BUCKETS; bucket++) {
      this.empty(bucket);
      const bytes = readFileSync(this.fileOf(bucket));
      const hashes = new BigUint64Array(bytes.length / HASH_BYTES);
      new Uint8Array(hashes.buffer).set(bytes);
      hashes.sort();
      for (let i = 1; i < hashes.length; i++) if (hashes[i] === hashes[i - 1]) repeated++;
    }
    return repeated;
  }

  [Symbol.dispose](): void {
    for (const file of this.files) closeSync(file);
    rmSync(this.folder, { recursive: true, force: true });
  }

  private empty(bucket: number): void {
    const buffer = this.buffers[bucket] as Buffer;
    writeSync(this.files[bucket] as number, buffer, 0, this.filled[bucket]);
    this.filled[bucket] = 0;
  }

  private fileOf(bucket: number): string {
    return join(this.folder, String(bucket));
  }
}

/** A physical value of Parquet: a number or a boolean as its text, bytes one character each. */
function exactText(value: unknown): string | null {
  if (value === null || value === undefined) return null;
  if (value instanceof Uint8Array) {
    return Buffer.from(value.buffer, value.byteOffset, value.length).toString('latin1');
  }
  return String(value as bigint | number | boolean);
}
