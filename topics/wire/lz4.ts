import { PipelineError } from '../../core/errors/pipeline-error.ts';

/**
 * LZ4 frames as Kafka's clients write them. Written here because Node has none, and a topic whose
 * `compression.type` is lz4 must be readable whoever wrote it.
 */
const MAGIC = 0x184d2204;
/** Version 1, independent blocks, no checksums; blocks of up to 64 KiB; the checksum of these two. */
const FRAME_HEADER = Buffer.from([0x04, 0x22, 0x4d, 0x18, 0x60, 0x40, 0x82]);
const BLOCK_BYTES = 64 * 1024;
const UNCOMPRESSED = 0x8000_0000;
const HAS_BLOCK_CHECKSUMS = 0x10;
const HAS_CONTENT_SIZE = 0x08;
const HAS_DICTIONARY = 0x01;

const SHORTEST_MATCH = 4;
/** The format ends every block with literals: no match begins in the last twelve bytes, or reaches
 * into the last five. */
const NO_MATCH_FROM_END = 12;
const LITERALS_AT_END = 5;
const HASH_BITS = 13;

/** Throws EVT_UNDECODABLE when the bytes are no frame, or unfold to more than `most`. */
export function unfoldLz4(frame: Buffer, most: number): Buffer {
  try {
    return unfoldFrame(frame, most);
  } catch (error) {
    if (error instanceof RangeError) throw broken('it ends too early');
    throw error;
  }
}

function unfoldFrame(frame: Buffer, most: number): Buffer {
  if (frame.readUInt32LE(0) !== MAGIC) throw broken('it has no frame');
  const flags = frame.readUInt8(4);
  if ((flags & HAS_DICTIONARY) !== 0) throw broken('it needs a dictionary');
  let pos = 7 + ((flags & HAS_CONTENT_SIZE) === 0 ? 0 : 8);
  const out = new Unfolded(most);
  for (;;) {
    const word = frame.readUInt32LE(pos);
    if (word === 0) return out.view();
    const size = word & ~UNCOMPRESSED;
    const block = frame.subarray(pos + 4, pos + 4 + size);
    if (block.length < size) throw broken('it ends too early');
    if ((word & UNCOMPRESSED) === 0) out.block(block);
    else out.literals(block, 0, size);
    pos += 4 + size + ((flags & HAS_BLOCK_CHECKSUMS) === 0 ? 0 : 4);
  }
}

class Unfolded {
  private bytes = Buffer.allocUnsafe(4 * BLOCK_BYTES);
  private pos = 0;
  private readonly most: number;

  constructor(most: number) {
    this.most = most;
  }

  view(): Buffer {
    return this.bytes.subarray(0, this.pos);
  }

  literals(from: Buffer, start: number, end: number): void {
    if (end > from.length) throw broken('it ends too early');
    this.ensure(end - start);
    from.copy(this.bytes, this.pos, start, end);
    this.pos += end - start;
  }

  block(block: Buffer): void {
    for (let at = 0; at < block.length;) {
      const token = block.readUInt8(at++);
      let length = token >> 4;
      if (length === 15) [length, at] = longLength(block, at);
      this.literals(block, at, at + length);
      at += length;
      // The last sequence is literals only.
      if (at === block.length) return;
      const distance = block.readUInt16LE(at);
      at += 2;
      length = token & 15;
      if (length === 15) [length, at] = longLength(block, at);
      this.repeat(distance, length + SHORTEST_MATCH);
    }
  }

  /** A run may repeat itself: byte by byte, or whole when it lies behind what is written. */
  private repeat(distance: number, length: number): void {
    if (distance === 0 || distance > this.pos) throw broken('it points outside of itself');
    this.ensure(length);
    const { bytes } = this;
    const from = this.pos - distance;
    if (distance >= length) bytes.copyWithin(this.pos, from, from + length);
    else for (let i = 0; i < length; i++) bytes[this.pos + i] = bytes[from + i] as number;
    this.pos += length;
  }

  private ensure(more: number): void {
    const needed = this.pos + more;
    if (needed > this.most) throw broken('it unfolds to too much');
    if (needed <= this.bytes.length) return;
    const grown = Buffer.allocUnsafe(Math.max(needed, this.bytes.length * 2));
    this.bytes.copy(grown, 0, 0, this.pos);
    this.bytes = grown;
  }
}

/** Bytes of 255 are added up until another one ends the number; answers it and where it ends. */
function longLength(block: Buffer, start: number): [number, number] {
  let length = 15;
  for (let at = start; ; at++) {
    const byte = block.readUInt8(at);
    length += byte;
    if (byte !== 255) return [length, at + 1];
  }
}

export function foldLz4(bytes: Buffer): Buffer {
  const blocks = Math.ceil(bytes.length / BLOCK_BYTES);
  // A block that does not shrink is stored as it is.
  const out = Buffer.allocUnsafe(FRAME_HEADER.length + bytes.length + blocks * 4 + 4);
  let pos = FRAME_HEADER.copy(out);
  const table = new Int32Array(1 << HASH_BITS);
  const scratch = Buffer.allocUnsafe(BLOCK_BYTES + BLOCK_BYTES / 255 + 16);
  for (let start = 0; start < bytes.length; start += BLOCK_BYTES) {
    const block = bytes.subarray(start, start + BLOCK_BYTES);
    const size = foldBlock(block, scratch, table);
    const stored = size >= block.length;
    out.writeUInt32LE(stored ? (block.length | UNCOMPRESSED) >>> 0 : size, pos);
    pos += 4;
    pos += stored ? block.copy(out, pos) : scratch.copy(out, pos, 0, size);
  }
  out.writeUInt32LE(0, pos);
  return out.subarray(0, pos + 4);
}

/** Writes the block into `out`, which has room for the worst case; answers its size. */
function foldBlock(block: Buffer, out: Buffer, table: Int32Array): number {
  table.fill(-1);
  const lastMatch = block.length - NO_MATCH_FROM_END;
  let pos = 0;
  let anchor = 0;
  let at = 0;
  let misses = 0;
  while (at < lastMatch) {
    const word = block.readInt32LE(at);
    const slot = Math.imul(word, -1640531535) >>> (32 - HASH_BITS);
    const candidate = table[slot] as number;
    table[slot] = at;
    if (candidate < 0 || block.readInt32LE(candidate) !== word) {
      // What does not repeat is passed over faster and faster.
      at += 1 + (misses++ >> 6);
      continue;
    }
    misses = 0;
    const end = matchEnd(block, candidate + SHORTEST_MATCH, at + SHORTEST_MATCH);
    pos = putSequence(out, pos, block, anchor, at, at - candidate, end - at - SHORTEST_MATCH);
    at = end;
    anchor = end;
  }
  return putLiterals(out, pos, block, anchor, block.length, 0);
}

function matchEnd(block: Buffer, from: number, start: number): number {
  const limit = block.length - LITERALS_AT_END;
  let at = start;
  for (let back = from; at < limit && block[at] === block[back]; back++) at++;
  return at;
}

function putSequence(
  out: Buffer,
  pos: number,
  block: Buffer,
  anchor: number,
  at: number,
  distance: number,
  length: number,
): number {
  let end = putLiterals(out, pos, block, anchor, at, Math.min(length, 15));
  out[end++] = distance & 0xff;
  out[end++] = distance >> 8;
  return length < 15 ? end : putLength(out, end, length - 15);
}

function putLiterals(
  out: Buffer,
  pos: number,
  block: Buffer,
  start: number,
  end: number,
  low: number,
): number {
  const length = end - start;
  out[pos] = (Math.min(length, 15) << 4) | low;
  const at = length < 15 ? pos + 1 : putLength(out, pos + 1, length - 15);
  block.copy(out, at, start, end);
  return at + length;
}

function putLength(out: Buffer, pos: number, length: number): number {
  let left = length;
  for (; left >= 255; left -= 255) out[pos++] = 255;
  out[pos++] = left;
  return pos;
}

function broken(why: string): PipelineError {
  return new PipelineError('EVT_UNDECODABLE', `a batch cannot be decompressed (lz4): ${why}`);
}
