import { crc32c } from '@node-rs/crc32';
import { PipelineError } from '../../core/errors/pipeline-error.ts';
import type { RecordView } from '../../schemas/envelope/record-view.ts';
import { codecOf, decompress } from '../wire/codec.ts';
import type { AbortedTransaction } from './fetch-request.ts';

/**
 * Record batches of one partition's answer made into a RecordView: batches of aborted transactions
 * and control records are passed over, as are records before the offset asked for, which the broker
 * sends along because it sends whole batches.
 */

const HEADER_BYTES = 61;
const LENGTH_AT = 8;
const LENGTH_FROM = 12;
const MAGIC_AT = 16;
const CRC_AT = 17;
const ATTRIBUTES_AT = 21;
const LAST_DELTA_AT = 23;
const PRODUCER_AT = 43;
const COUNT_AT = 57;
const TRANSACTIONAL = 0x10;
const CONTROL = 0x20;
const COMPRESSION = 0x07;
/** Version and type of a control record, in its key. */
const ABORT_MARKER = 0;
/** Length, attributes, two deltas, key, value and headers: one byte each at least. */
const SMALLEST_RECORD_BYTES = 7;

export interface ParsedBatches {
  readonly records: RecordView;
  /** Behind the last whole batch, whatever it held. */
  readonly nextOffset: number;
}

/** A batch whose records are to be delivered. */
interface Section {
  readonly bytes: Buffer;
  start: number;
  end: number;
  readonly baseOffset: number;
  readonly count: number;
}

/**
 * `bytes` begin at a batch; `offset` is where the reader stands. Rejects with EVT_UNDECODABLE when a
 * batch's checksum or structure is wrong.
 */
export async function parseBatches(
  bytes: Buffer,
  offset: number,
  aborted: readonly AbortedTransaction[],
): Promise<ParsedBatches> {
  const { sections, nextOffset, compressed } = chooseBatches(bytes, offset, aborted);
  const records = readRecords(compressed ? await unfold(sections) : sections, offset);
  return { records, nextOffset };
}

function chooseBatches(bytes: Buffer, offset: number, aborted: readonly AbortedTransaction[]) {
  const filter = new AbortFilter(aborted);
  const sections: Section[] = [];
  let nextOffset = offset;
  let compressed = false;
  for (let pos = 0; pos + HEADER_BYTES <= bytes.length;) {
    const end = pos + LENGTH_FROM + bytes.readInt32BE(pos + LENGTH_AT);
    if (end > bytes.length) break;
    checkBatch(bytes, pos, end);
    const baseOffset = readOffset(bytes, pos);
    const lastOffset = baseOffset + bytes.readInt32BE(pos + LAST_DELTA_AT);
    if (filter.delivers(bytes, pos, lastOffset) && lastOffset >= offset) {
      const count = bytes.readInt32BE(pos + COUNT_AT);
      sections.push({ bytes, start: pos + HEADER_BYTES, end, baseOffset, count });
      compressed ||= (bytes.readInt16BE(pos + ATTRIBUTES_AT) & COMPRESSION) !== 0;
    }
    nextOffset = Math.max(nextOffset, lastOffset + 1);
    pos = end;
  }
  return { sections, nextOffset, compressed };
}

function checkBatch(bytes: Buffer, pos: number, end: number): void {
  if (bytes[pos + MAGIC_AT] !== 2 || end < pos + HEADER_BYTES) {
    throw new PipelineError('EVT_UNDECODABLE', 'a record batch is not of format 2', {
      details: { offset: readOffset(bytes, pos) },
    });
  }
  const crc = crc32c(bytes.subarray(pos + ATTRIBUTES_AT, end));
  if (crc !== bytes.readUInt32BE(pos + CRC_AT)) {
    throw new PipelineError('EVT_UNDECODABLE', 'the checksum of a record batch is wrong', {
      details: { offset: readOffset(bytes, pos) },
    });
  }
}

function readOffset(bytes: Buffer, pos: number): number {
  return bytes.readInt32BE(pos) * 0x1_0000_0000 + bytes.readUInt32BE(pos + 4);
}

/**
 * Which batches belong to aborted transactions. The broker lists every aborted transaction that
 * overlaps the answer, including those begun before it and those whose marker comes later; a
 * producer's batches are dropped from the first offset of its aborted transaction until its marker.
 */
class AbortFilter {
  private readonly waiting: AbortedTransaction[];
  private readonly aborting = new Set<number>();

  constructor(aborted: readonly AbortedTransaction[]) {
    this.waiting = [...aborted].sort((a, b) => b.firstOffset - a.firstOffset);
  }

  /** To be asked of every batch in its order. */
  delivers(bytes: Buffer, pos: number, lastOffset: number): boolean {
    for (let next = this.waiting.at(-1); next !== undefined; next = this.waiting.at(-1)) {
      if (next.firstOffset > lastOffset) break;
      this.aborting.add(next.producerId);
      this.waiting.pop();
    }
    const attributes = bytes.readInt16BE(pos + ATTRIBUTES_AT);
    if ((attributes & CONTROL) !== 0) {
      if (controlType(bytes, pos) === ABORT_MARKER) {
        this.aborting.delete(readOffset(bytes, pos + PRODUCER_AT));
      }
      return false;
    }
    if ((attributes & TRANSACTIONAL) === 0) return true;
    return !this.aborting.has(readOffset(bytes, pos + PRODUCER_AT));
  }
}

/** A control batch holds one record: length, attributes, two deltas, key length (one byte each at
 * these sizes), then the key: version and type. */
function controlType(bytes: Buffer, pos: number): number {
  cursor = pos + HEADER_BYTES;
  readVarint(bytes);
  cursor++;
  readVarint(bytes);
  readVarint(bytes);
  readVarint(bytes);
  return bytes.readInt16BE(cursor + 2);
}

/** Sections with their records unfolded, behind one another in one buffer: a view has one. */
async function unfold(sections: readonly Section[]): Promise<Section[]> {
  const bodies = await Promise.all(
    sections.map(({ bytes, start, end }) => {
      const codec = codecOf(bytes.readInt16BE(start - HEADER_BYTES + ATTRIBUTES_AT));
      return decompress(codec, bytes.subarray(start, end));
    }),
  );
  const all = Buffer.concat(bodies);
  let start = 0;
  return sections.map((section, index) => {
    const end = start + (bodies[index] as Buffer).length;
    const unfolded = { ...section, bytes: all, start, end };
    start = end;
    return unfolded;
  });
}

function readRecords(sections: readonly Section[], offset: number): RecordView {
  let most = 0;
  for (const { count, start, end } of sections) {
    if (count < 0 || count * SMALLEST_RECORD_BYTES > end - start) throw brokenRecord();
    most += count;
  }
  const view = new RecordRun(sections[0]?.bytes ?? EMPTY, most);
  for (const section of sections) view.read(section, offset);
  return view;
}

const EMPTY = Buffer.alloc(0);

function brokenRecord(): PipelineError {
  return new PipelineError('EVT_UNDECODABLE', 'a record leads past the end of its batch');
}

class RecordRun implements RecordView {
  readonly bytes: Buffer;
  readonly offsets: Float64Array;
  readonly keyStarts: Int32Array;
  readonly keyEnds: Int32Array;
  readonly valueStarts: Int32Array;
  readonly valueEnds: Int32Array;
  count = 0;

  constructor(bytes: Buffer, most: number) {
    this.bytes = bytes;
    this.offsets = new Float64Array(most);
    this.keyStarts = new Int32Array(most);
    this.keyEnds = new Int32Array(most);
    this.valueStarts = new Int32Array(most);
    this.valueEnds = new Int32Array(most);
  }

  read(section: Section, offset: number): void {
    const { bytes, keyStarts, keyEnds, valueStarts, valueEnds } = this;
    let { count } = this;
    cursor = section.start;
    for (let left = section.count; left > 0; left--) {
      const end = readVarint(bytes) + cursor;
      cursor++;
      passVarint(bytes);
      const at = section.baseOffset + readVarint(bytes);
      const keyLength = readVarint(bytes);
      const keyStart = cursor;
      if (keyLength > 0) cursor += keyLength;
      const valueLength = readVarint(bytes);
      if (cursor + Math.max(0, valueLength) > end || end > section.end) throw brokenRecord();
      if (at >= offset) {
        this.offsets[count] = at;
        keyStarts[count] = keyLength < 0 ? -1 : keyStart;
        keyEnds[count] = keyLength < 0 ? -1 : keyStart + keyLength;
        valueStarts[count] = valueLength < 0 ? -1 : cursor;
        valueEnds[count] = valueLength < 0 ? -1 : cursor + valueLength;
        count++;
      }
      cursor = end;
    }
    this.count = count;
  }
}

/** Position of the varint readers: a global, instead of an object or a pair per number. */
let cursor = 0;

/** A signed varint of 32 bits. */
function readVarint(bytes: Buffer): number {
  let byte = bytes[cursor++] as number;
  let n = byte & 0x7f;
  for (let shift = 7; byte >= 0x80 && shift < 35; shift += 7) {
    byte = bytes[cursor++] as number;
    n |= (byte & 0x7f) << shift;
  }
  return (n >>> 1) ^ -(n & 1);
}

function passVarint(bytes: Buffer): void {
  while ((bytes[cursor++] as number) >= 0x80);
}
