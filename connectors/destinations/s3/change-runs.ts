import { closeSync, openSync, readSync, rmSync, writeFileSync } from 'node:fs';
import { WIRE_HEADER_BYTES } from '../../../schemas/envelope/record-view.ts';
import { SLOTS, slotOf } from './hash-slots.ts';
import { keyedRecordAt } from './keyed-chunk.ts';
import type { RecordChunk } from './spool-builder.ts';

/** Bytes that lie in memory until they become a run on the disk (invariant 9). */
const RUN_BYTES = 4 * 1024 * 1024;

/** Records of a stretch of the topic, by hash slot, each slot's in the order of their offsets. */
interface Run {
  /** The run's file; null for one in memory. */
  readonly path: string | null;
  readonly bytes: Buffer | null;
  /** Where each slot begins; one more for the end. */
  readonly starts: Int32Array;
}

/** Is shown the values of records, where they lie: those without a key, and the others. */
export interface RecordVisitor {
  mark(bytes: Buffer, start: number, end: number): void;
  row(bytes: Buffer, start: number, end: number): void;
}

/**
 * The changes since a generation, so laid out that those of some keys can be read alone: runs of a
 * few megabytes, each ordered by the keys' hash slots, on the local disk but for the last.
 */
export class ChangeRuns {
  private readonly path: string;
  private readonly runs: Run[] = [];
  private readonly files = new Map<string, number>();
  private chunks: Buffer[] = [];
  private ends: Int32Array[] = [];
  private waiting = 0;
  bytes = 0;
  records = 0;

  /** `path`: of the runs' files; each has a number behind. */
  constructor(path: string) {
    this.path = path;
  }

  /** Takes packed records (keyed-chunk.ts). */
  add({ bytes, ends }: RecordChunk, visit: RecordVisitor): void {
    const chunk = Buffer.from(bytes);
    let start = 0;
    for (let i = 0; i < ends.length; i++) {
      const record = keyedRecordAt(chunk, start);
      if (record.valueStart !== -1) {
        const see = record.keyStart === -1 ? visit.mark : visit.row;
        see(chunk, record.valueStart, record.valueEnd);
      }
      start = ends[i] as number;
    }
    this.chunks.push(chunk);
    this.ends.push(ends);
    this.waiting += chunk.length;
    this.bytes += chunk.length;
    this.records += ends.length;
    if (this.waiting >= RUN_BYTES) this.endRun(true);
  }

  /** Makes the last records readable. */
  seal(): void {
    if (this.waiting > 0) this.endRun(false);
  }

  private endRun(onDisk: boolean): void {
    const { sorted, starts } = sortBySlot(this.chunks, this.ends);
    const path = onDisk ? `${this.path}.${this.runs.length}` : null;
    if (path !== null) writeFileSync(path, sorted);
    this.runs.push({ path, bytes: onDisk ? null : sorted, starts });
    this.chunks = [];
    this.ends = [];
    this.waiting = 0;
  }

  /** Bytes of each slot's records. */
  slotBytes(): Float64Array {
    const sum = new Float64Array(SLOTS);
    for (const { starts } of this.runs) {
      for (let slot = 0; slot < SLOTS; slot++) {
        sum[slot] = (sum[slot] as number) + (starts[slot + 1] as number) - (starts[slot] as number);
      }
    }
    return sum;
  }

  /** The records of slots [first, end), run by run: buffers of packed records. */
  *read(first: number, end: number): Iterable<Buffer> {
    for (const run of this.runs) {
      const from = run.starts[first] as number;
      const to = run.starts[end] as number;
      if (from < to) yield this.part(run, from, to);
    }
  }

  private part({ path, bytes }: Run, from: number, to: number): Buffer {
    if (bytes !== null) return bytes.subarray(from, to);
    const part = Buffer.allocUnsafeSlow(to - from);
    readSync(this.open(path as string), part, 0, part.length, from);
    return part;
  }

  private open(path: string): number {
    let file = this.files.get(path);
    if (file === undefined) this.files.set(path, (file = openSync(path, 'r')));
    return file;
  }

  discard(): void {
    for (const file of this.files.values()) closeSync(file);
    this.files.clear();
    for (const { path } of this.runs) if (path !== null) rmSync(path, { force: true });
  }
}

/** Records without a key (marks) are left out. The order within a slot stays as it was. */
function sortBySlot(
  chunks: readonly Buffer[],
  ends: readonly Int32Array[],
): { sorted: Buffer; starts: Int32Array } {
  const count = ends.reduce((sum, each) => sum + each.length, 0);
  const slots = new Int16Array(count);
  const starts = new Int32Array(SLOTS + 1);
  let n = 0;
  eachRecord(chunks, ends, (chunk, start, end) => {
    const { keyStart, keyEnd } = keyedRecordAt(chunk, start);
    const slot = keyStart === -1 ? -1 : slotOf(chunk, keyStart + WIRE_HEADER_BYTES, keyEnd);
    slots[n++] = slot;
    if (slot >= 0) starts[slot + 1] = (starts[slot + 1] as number) + end - start;
  });
  for (let slot = 0; slot < SLOTS; slot++) {
    starts[slot + 1] = (starts[slot + 1] as number) + (starts[slot] as number);
  }
  const sorted = Buffer.allocUnsafeSlow(starts[SLOTS] as number);
  const places = starts.slice();
  n = 0;
  eachRecord(chunks, ends, (chunk, start, end) => {
    const slot = slots[n++] as number;
    if (slot < 0) return;
    chunk.copy(sorted, places[slot] as number, start, end);
    places[slot] = (places[slot] as number) + end - start;
  });
  return { sorted, starts };
}

function eachRecord(
  chunks: readonly Buffer[],
  ends: readonly Int32Array[],
  visit: (chunk: Buffer, start: number, end: number) => void,
): void {
  chunks.forEach((chunk, c) => {
    let start = 0;
    for (const end of ends[c] as Int32Array) {
      visit(chunk, start, end);
      start = end;
    }
  });
}
