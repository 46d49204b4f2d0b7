import {
  schemaIdAt,
  WIRE_HEADER_BYTES,
  type RecordView,
} from '../../../schemas/envelope/record-view.ts';
import type { RecordChunk } from './spool-builder.ts';

/** The ids of the value schemas that records from `from` on name, in order of appearance. */
export function schemaIdsOf(records: RecordView, from: number): number[] {
  const ids: number[] = [];
  let last = -1;
  for (let i = from; i < records.count; i++) {
    const start = records.valueStarts[i] as number;
    if (start < 0) continue;
    const id = schemaIdAt(records.bytes, start, records.valueEnds[i] as number);
    if (id === last) continue;
    last = id;
    if (!ids.includes(id)) ids.push(id);
  }
  return ids;
}

/** Index of the first record at or past `offset`; `count` when there is none. */
export function indexAtOffset(records: RecordView, offset: number): number {
  let low = 0;
  let high = records.count;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if ((records.offsets[middle] as number) < offset) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** Index of the first record of [from, to) whose schema id is not in `known`; `to` when none is. */
export function indexOfNewSchema(
  records: RecordView,
  from: number,
  to: number,
  known: ReadonlyMap<number, unknown>,
): number {
  let last = -1;
  for (let i = from; i < to; i++) {
    const start = records.valueStarts[i] as number;
    if (start < 0) continue;
    const id = schemaIdAt(records.bytes, start, records.valueEnds[i] as number);
    if (id === last) continue;
    if (!known.has(id)) return i;
    last = id;
  }
  return to;
}

/** The values of [from, to) copied into buffers of their own, which can be handed to another thread;
 * tombstones are left out, for the delete before them says all. Null when nothing is left. */
export function packChunk(records: RecordView, from: number, to: number): RecordChunk | null {
  let count = 0;
  let size = 0;
  for (let i = from; i < to; i++) {
    const start = records.valueStarts[i] as number;
    if (start < 0) continue;
    count++;
    size += (records.valueEnds[i] as number) - start;
  }
  if (count === 0) return null;
  const bytes = new ArrayBuffer(size);
  const out = Buffer.from(bytes);
  const ends = new Int32Array(count);
  const offsets = new Float64Array(count);
  let pos = 0;
  let n = 0;
  for (let i = from; i < to; i++) {
    const start = records.valueStarts[i] as number;
    if (start < 0) continue;
    const end = records.valueEnds[i] as number;
    records.bytes.copy(out, pos, start, end);
    pos += end - start;
    ends[n] = pos;
    offsets[n++] = records.offsets[i] as number;
  }
  return { bytes, ends, offsets };
}

/** What the encoder's thread is handed at once. */
const CHUNK_BYTES = 1024 * 1024;

/** End of the chunk that begins at `from`: as many records as fit into one, at least one. */
export function chunkEnd(records: RecordView, from: number, to: number): number {
  let size = 0;
  for (let i = from; i < to; i++) {
    const start = records.valueStarts[i] as number;
    if (start >= 0) size += (records.valueEnds[i] as number) - start;
    if (size > CHUNK_BYTES && i > from) return i;
  }
  return to;
}

/** Index of the first mark from `from` on; `count` when there is none. */
export function indexOfMark(records: RecordView, from: number): number {
  for (let i = from; i < records.count; i++) if (isMark(records, i)) return i;
  return records.count;
}

/** A mark (a truncate, the end of a generation) has neither an image before nor one after: both unions
 * begin with null. Its key means nothing. */
export function isMark({ bytes, valueStarts, valueEnds }: RecordView, i: number): boolean {
  const body = (valueStarts[i] as number) + WIRE_HEADER_BYTES;
  if (body < WIRE_HEADER_BYTES || body + 1 >= (valueEnds[i] as number)) return false;
  return bytes[body] === 0 && bytes[body + 1] === 0;
}
