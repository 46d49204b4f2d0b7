import { crc32c } from '@node-rs/crc32';
import type { RecordArena } from '../../schemas/envelope/record-arena.ts';
import type { ByteWriter } from '../wire/bytes.ts';
import type { Codec } from '../wire/codec.ts';

/**
 * Kafka record batches (magic 2) built from an arena in one pass. Sizes are computed first, with
 * integer arithmetic only, so that every length is known before its bytes are written and a batch
 * can be cut below the topic's limit.
 */

export const BATCH_HEADER_BYTES = 61;
/** From the batch's start to the first byte that its checksum covers. */
const CRC_AT = 17;
const ATTRIBUTES_AT = 21;
const TRANSACTIONAL = 0x10;
export const CODEC_BITS: Record<Codec, number> = { none: 0, gzip: 1, snappy: 2, lz4: 3, zstd: 4 };

/** Records [from, to) of an arena as one batch; `bytes` is its size without compression. */
export interface BatchCut {
  readonly arena: RecordArena;
  readonly from: number;
  readonly to: number;
  readonly bytes: number;
}

/** Who writes the batch; -1 throughout for a writer without a producer id. */
export interface BatchProducer {
  readonly producerId: number;
  readonly epoch: number;
  readonly sequence: number;
  readonly transactional: boolean;
}

/**
 * Cuts an arena into batches of at most `maxBytes`. A record that is larger by itself gets a batch
 * of its own; `onTooLarge` is told its size and is expected to throw.
 */
export function cutBatches(
  arena: RecordArena,
  maxBytes: number,
  onTooLarge: (bytes: number) => void,
): BatchCut[] {
  const cuts: BatchCut[] = [];
  let from = 0;
  let bytes = BATCH_HEADER_BYTES;
  for (let i = 0; i < arena.count; i++) {
    let size = recordSize(arena, i, i - from);
    if (bytes + size > maxBytes && i > from) {
      cuts.push({ arena, from, to: i, bytes });
      from = i;
      bytes = BATCH_HEADER_BYTES;
      size = recordSize(arena, i, 0);
    }
    if (bytes + size > maxBytes) onTooLarge(bytes + size);
    bytes += size;
  }
  if (arena.count > from) cuts.push({ arena, from, to: arena.count, bytes });
  return cuts;
}

/** Bytes that a signed varint takes for a non-negative number. */
function varintSize(value: number): number {
  const zigzag = value * 2;
  return zigzag < 0x80
    ? 1
    : zigzag < 0x4000
      ? 2
      : zigzag < 0x20_0000
        ? 3
        : zigzag < 0x1000_0000
          ? 4
          : 5;
}

/** Attributes, time delta and header count are one byte each. */
const RECORD_FIXED_BYTES = 3;

function recordBodySize(arena: RecordArena, i: number, delta: number): number {
  const start = i === 0 ? 0 : (arena.valueEnds[i - 1] as number);
  const keyLength = (arena.keyEnds[i] as number) - start;
  const valueLength = (arena.valueEnds[i] as number) - (arena.keyEnds[i] as number);
  // A null's length, -1, takes one byte, as the 0 does that stands for it in the arena.
  return (
    RECORD_FIXED_BYTES +
    varintSize(delta) +
    varintSize(keyLength) +
    keyLength +
    varintSize(valueLength) +
    valueLength
  );
}

function recordSize(arena: RecordArena, i: number, delta: number): number {
  const body = recordBodySize(arena, i, delta);
  return varintSize(body) + body;
}

/** Writes the cut's records, without the batch header, into `out`. */
export function writeRecords(out: ByteWriter, cut: BatchCut): void {
  const { arena, from, to } = cut;
  out.ensure(cut.bytes);
  const target = out.bytes;
  const source = arena.out.bytes;
  let { pos } = out;
  let start = from === 0 ? 0 : (arena.valueEnds[from - 1] as number);
  for (let i = from; i < to; i++) {
    const keyEnd = arena.keyEnds[i] as number;
    const valueEnd = arena.valueEnds[i] as number;
    pos = putVarint(target, pos, recordBodySize(arena, i, i - from));
    target[pos++] = 0;
    target[pos++] = 0;
    pos = putVarint(target, pos, i - from);
    pos = putBytes(target, pos, source, start, keyEnd);
    pos = putBytes(target, pos, source, keyEnd, valueEnd);
    target[pos++] = 0;
    start = valueEnd;
  }
  out.pos = pos;
}

/** A non-negative number as a signed varint. */
function putVarint(target: Buffer, pos: number, value: number): number {
  let n = (value << 1) >>> 0;
  while (n > 0x7f) {
    target[pos++] = (n & 0x7f) | 0x80;
    n >>>= 7;
  }
  target[pos++] = n;
  return pos;
}

const NULL_LENGTH = 1; // -1 as a signed varint
const SHORT_RUN = 32;

/** Length and bytes of a key or value; an empty run is a null. Short ones are copied by hand, which
 * costs less than a call into the engine. */
function putBytes(target: Buffer, pos: number, source: Buffer, start: number, end: number): number {
  const length = end - start;
  if (length === 0) {
    target[pos++] = NULL_LENGTH;
    return pos;
  }
  pos = putVarint(target, pos, length);
  if (length < SHORT_RUN) {
    for (let i = start; i < end; i++) target[pos++] = source[i] as number;
    return pos;
  }
  source.copy(target, pos, start, end);
  return pos + length;
}

/**
 * Writes a whole batch into `out`: the header, then the records, or `compressed` in their place.
 * `timeMs` is the time of every record in it.
 */
export function writeBatch(
  out: ByteWriter,
  cut: BatchCut,
  producer: BatchProducer,
  timeMs: number,
  compressed?: { codec: Codec; bytes: Buffer },
): void {
  const start = out.pos;
  const count = cut.to - cut.from;
  const size = compressed === undefined ? cut.bytes : BATCH_HEADER_BYTES + compressed.bytes.length;
  const attributes =
    CODEC_BITS[compressed?.codec ?? 'none'] | (producer.transactional ? TRANSACTIONAL : 0);
  out.ensure(size);
  out
    .int64(0)
    .int32(size - 12)
    .int32(-1)
    .int8(2)
    .int32(0);
  out
    .int16(attributes)
    .int32(count - 1)
    .int64(timeMs)
    .int64(timeMs);
  out.int64(producer.producerId).int16(producer.epoch).int32(producer.sequence).int32(count);
  if (compressed === undefined) writeRecords(out, cut);
  else out.raw(compressed.bytes);
  out.bytes.writeUInt32BE(
    crc32c(out.bytes.subarray(start + ATTRIBUTES_AT, out.pos)),
    start + CRC_AT,
  );
}
