import type { RecordView } from '../../../schemas/envelope/record-view.ts';
import { isMark } from './record-run.ts';
import type { RecordChunk } from './spool-builder.ts';

/**
 * Records with their keys, packed one behind the other: length of the key, length of the value
 * (both 32 bits, ABSENT for none), offset (a double), key, value. Marks are packed without their key.
 */
export const KEYED_HEADER_BYTES = 16;
export const ABSENT = 0xffffffff;

/** The records of [from, to) copied into buffers of their own, which can be handed to another thread. */
export function packKeyed(records: RecordView, from: number, to: number): RecordChunk {
  const { bytes: source, offsets, keyEnds, valueStarts, valueEnds } = records;
  const keyStarts = records.keyStarts.slice(from, to);
  let size = 0;
  for (let i = from; i < to; i++) {
    if (isMark(records, i)) keyStarts[i - from] = -1;
    const keyStart = keyStarts[i - from] as number;
    size += KEYED_HEADER_BYTES;
    if (keyStart >= 0) size += (keyEnds[i] as number) - keyStart;
    if ((valueStarts[i] as number) >= 0) {
      size += (valueEnds[i] as number) - (valueStarts[i] as number);
    }
  }
  const out = Buffer.from(new ArrayBuffer(size));
  const ends = new Int32Array(to - from);
  let pos = 0;
  const part = (start: number, end: number, header: number): void => {
    out.writeUInt32LE(start < 0 ? ABSENT : end - start, header);
    if (start < 0) return;
    source.copy(out, pos, start, end);
    pos += end - start;
  };
  for (let i = from; i < to; i++) {
    const header = pos;
    pos += KEYED_HEADER_BYTES;
    part(keyStarts[i - from] as number, keyEnds[i] as number, header);
    part(valueStarts[i] as number, valueEnds[i] as number, header + 4);
    out.writeDoubleLE(offsets[i] as number, header + 8);
    ends[i - from] = pos;
  }
  return { bytes: out.buffer as ArrayBuffer, ends, offsets: offsets.slice(from, to) };
}

/** One packed record; its places are in the bytes it was read from. */
export interface KeyedRecord {
  readonly offset: number;
  /** -1 without a key. */
  readonly keyStart: number;
  readonly keyEnd: number;
  /** -1 for a tombstone. */
  readonly valueStart: number;
  readonly valueEnd: number;
}

export function keyedRecordAt(bytes: Buffer, pos: number): KeyedRecord {
  const keyLength = bytes.readUInt32LE(pos);
  const valueLength = bytes.readUInt32LE(pos + 4);
  const keyStart = pos + KEYED_HEADER_BYTES;
  const keyEnd = keyLength === ABSENT ? keyStart : keyStart + keyLength;
  const hasValue = valueLength !== ABSENT;
  return {
    offset: bytes.readDoubleLE(pos + 8),
    keyStart: keyLength === ABSENT ? -1 : keyStart,
    keyEnd,
    valueStart: hasValue ? keyEnd : -1,
    valueEnd: hasValue ? keyEnd + valueLength : keyEnd,
  };
}
