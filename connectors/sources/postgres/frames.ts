/**
 * Cuts the server's byte stream into messages without copying: a message that lies whole in a
 * received chunk is handed over where it lies; only one that straddles chunks is put together.
 */
export interface FrameSink {
  /** One message: its body is [start, end). Valid until the handler returns. Answering false stops
   * before the next message until `unblock`; the one at hand counts as taken. */
  frame(tag: number, bytes: Buffer, start: number, end: number): boolean;
  /** A message above the limit: its first bytes and its length. The rest is passed over unread, so
   * that one row cannot fill the memory (invariant 9). */
  oversized(tag: number, head: Buffer, length: number): void;
}

const HEADER = 5;
/** So much of a message is looked at before it is passed over; the limit is far above it. */
const HEAD_KEPT = 64;

export class FrameReader {
  blocked = false;
  private readonly sink: FrameSink;
  private readonly limit: number;
  /** Chunks that arrived while blocked. */
  private waiting: Buffer[] = [];
  /** Too few bytes to judge a message by, left from the last chunk. */
  private scrap: Buffer | null = null;
  private straddling: Buffer | null = null;
  private filled = 0;
  /** Bytes still to pass over of an oversized message. */
  private skipping = 0;

  constructor(sink: FrameSink, limit: number) {
    this.sink = sink;
    this.limit = limit;
  }

  push(chunk: Buffer): void {
    if (this.blocked) this.waiting.push(chunk);
    else this.scan(chunk);
  }

  unblock(): void {
    this.blocked = false;
    while (!this.blocked) {
      const chunk = this.waiting.shift();
      if (chunk === undefined) return;
      this.scan(chunk);
    }
  }

  private scan(received: Buffer): void {
    let chunk = received;
    if (this.scrap !== null) {
      chunk = Buffer.concat([this.scrap, received]);
      this.scrap = null;
    }
    let pos = this.straddling !== null || this.skipping > 0 ? this.finish(chunk) : 0;
    while (!this.blocked && pos + HEADER <= chunk.length) {
      const next = pos + 1 + chunk.readInt32BE(pos + 1);
      if (next - pos > this.limit) {
        if (chunk.length - pos < HEAD_KEPT) break;
        pos = this.passOver(chunk, pos, next);
        continue;
      }
      if (next > chunk.length) {
        this.begin(chunk, pos, next - pos);
        return;
      }
      this.deliver(chunk, pos, next);
      pos = next;
    }
    if (pos >= chunk.length) return;
    if (this.blocked) this.waiting.unshift(chunk.subarray(pos));
    else this.scrap = chunk.subarray(pos);
  }

  private deliver(bytes: Buffer, pos: number, end: number): void {
    if (!this.sink.frame(bytes[pos] as number, bytes, pos + HEADER, end)) this.blocked = true;
  }

  private passOver(chunk: Buffer, pos: number, next: number): number {
    this.sink.oversized(
      chunk[pos] as number,
      chunk.subarray(pos + HEADER, pos + HEAD_KEPT),
      next - pos,
    );
    this.skipping = Math.max(0, next - chunk.length);
    return Math.min(next, chunk.length);
  }

  /** A message of which only the beginning is here. */
  private begin(chunk: Buffer, pos: number, length: number): void {
    this.straddling = Buffer.allocUnsafe(length);
    this.filled = chunk.copy(this.straddling, 0, pos);
  }

  /** Goes on with a straddling or oversized message; answers where the next one begins. */
  private finish(chunk: Buffer): number {
    if (this.skipping > 0) {
      const passed = Math.min(this.skipping, chunk.length);
      this.skipping -= passed;
      return passed;
    }
    const message = this.straddling as Buffer;
    const taken = Math.min(message.length - this.filled, chunk.length);
    this.filled += chunk.copy(message, this.filled, 0, taken);
    if (this.filled === message.length) {
      this.straddling = null;
      this.deliver(message, 0, message.length);
    }
    return taken;
  }
}

/** The fields of an ErrorResponse, as pg's own errors carry them. */
export function serverError(bytes: Buffer, start: number, end: number): Error & { code: string } {
  let message = 'unknown error';
  let code = 'XX000';
  for (let pos = start; pos < end && bytes[pos] !== 0;) {
    const stop = bytes.indexOf(0, pos + 1);
    const text = bytes.toString('utf8', pos + 1, stop);
    if (bytes[pos] === 0x4d) message = text; // M
    if (bytes[pos] === 0x43) code = text; // C
    pos = stop + 1;
  }
  return Object.assign(new Error(message), { code });
}
