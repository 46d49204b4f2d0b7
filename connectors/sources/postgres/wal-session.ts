import type pg from 'pg';
import { PipelineError } from '../../../core/errors/pipeline-error.ts';
import { failpoint } from '../../../core/run/failpoints.ts';
import { classify } from './errors.ts';
import { serverError } from './frames.ts';
import { lsnForServer } from './position.ts';
import { quoteIdentifier, quoteLiteral } from './session.ts';
import { PAUSED_TO_COALESCE, SocketTakeover } from './socket-takeover.ts';

export interface WalHandler {
  /** One pgoutput message in [start, end); false stops until `unblock`. */
  message(bytes: Buffer, start: number, end: number): boolean;
  /** The server has sent everything up to `end`. */
  heard(end: bigint): void;
  /** A received chunk was worked through. */
  chunkDone(): void;
  oversized(head: Buffer, length: number): void;
  /** What may be forgotten by the server (invariant 1); 0 while nothing may. */
  acknowledged(): bigint;
  failed(error: PipelineError): void;
}

const FEEDBACK_MS = 1_000;
const COALESCE_BELOW_BYTES = 16 * 1024;
/** Log that the server has still to send, from which on rare reading is worth its latency. */
const COALESCE_FROM_LAG_BYTES = 256 * 1024;
const COALESCE_MS = 1;
const BURST_WINDOW_MS = 5;
const BURST_CHUNKS = 16;

const COPY_DATA = 0x64;
const XLOG_DATA = 0x77;
const KEEPALIVE = 0x6b;
/** `w`, start, end and send time before the message of pgoutput. */
const XLOG_HEADER = 25;

/**
 * The replication protocol on one session. Its timer reports what was acknowledged and asks for an
 * answer, whatever the data path does: a stalled consumer neither loses the connection nor moves the
 * slot, and a peer that went silent is found.
 */
export class WalSession {
  private readonly socket: SocketTakeover;
  private readonly handler: WalHandler;
  private readonly silenceMs: number;
  private readonly timer: NodeJS.Timeout;
  private lastHeard = Date.now();
  private ended = false;
  private burstStart = 0;
  /** Bytes of log between the last message and the server's newest position when it sent it. */
  private serverLag = 0;
  private burst = 0;
  private started: (() => void) | null = null;

  constructor(client: pg.Client, handler: WalHandler, limit: number, silenceMs: number) {
    this.handler = handler;
    this.silenceMs = silenceMs;
    this.socket = new SocketTakeover(client, this, limit, (bytes) => this.afterChunk(bytes));
    this.socket.socket.on('close', () => this.fail(connectionLost('the connection was closed')));
    this.socket.socket.on('error', (error) => this.fail(classify(error, 'replication stream')));
    this.timer = setInterval(() => this.onTimer(), FEEDBACK_MS);
  }

  /** Resolves when the server streams; a refusal goes to the handler's `failed`. */
  start(slot: string, from: bigint, publications: readonly string[]): Promise<void> {
    const names = publications.map(quoteIdentifier).join(',');
    return new Promise((resolve) => {
      this.started = resolve;
      this.socket.send(
        `START_REPLICATION SLOT ${quoteIdentifier(slot)} LOGICAL ${lsnForServer(from)} ` +
          `(proto_version '1', publication_names ${quoteLiteral(names)})`,
      );
    });
  }

  frame(tag: number, bytes: Buffer, start: number, end: number): boolean {
    if (this.ended) return true;
    try {
      if (tag === COPY_DATA) return this.copyData(bytes, start, end);
      this.control(tag, bytes, start, end);
    } catch (error) {
      this.fail(classify(error, 'replication stream'));
    }
    return true;
  }

  oversized(tag: number, head: Buffer, length: number): void {
    if (tag !== COPY_DATA || head[0] !== XLOG_DATA) {
      this.fail(new PipelineError('SRC_PROTOCOL', `a message of ${length} bytes`));
      return;
    }
    try {
      this.handler.oversized(head.subarray(XLOG_HEADER), length);
    } catch (error) {
      this.fail(classify(error, 'replication stream'));
    }
  }

  private copyData(bytes: Buffer, start: number, end: number): boolean {
    const kind = bytes[start];
    if (kind === XLOG_DATA) {
      this.serverLag = distance(bytes, start + 1, start + 9);
      return this.handler.message(bytes, start + XLOG_HEADER, end);
    }
    if (kind === KEEPALIVE) {
      this.handler.heard(bytes.readBigUInt64BE(start + 1));
      if (bytes[start + 17] === 1) this.sendFeedback(false);
    }
    return true;
  }

  private control(tag: number, bytes: Buffer, start: number, end: number): void {
    switch (tag) {
      case 0x57: // CopyBothResponse
        this.started?.();
        return;
      case 0x45: // ErrorResponse
        throw serverError(bytes, start, end);
      case 0x63: // CopyDone
        throw connectionLost('the server ended the stream');
      default: // notices and parameters
    }
  }

  private afterChunk(bytes: number): void {
    this.lastHeard = Date.now();
    if (this.ended) return;
    this.handler.chunkDone();
    const behind = this.serverLag >= COALESCE_FROM_LAG_BYTES;
    if (behind && bytes < COALESCE_BELOW_BYTES) this.coalesce();
  }

  /** The server sends every change by itself, and waking up for each costs both sides more than the
   * change. In a burst of small chunks the socket rests for a millisecond, but only while the server
   * is behind: a rested socket gives back one chunk at a time, and a stream of small transactions
   * would be read more slowly than it is written. */
  private coalesce(): void {
    const now = performance.now();
    if (now - this.burstStart > BURST_WINDOW_MS) {
      this.burstStart = now;
      this.burst = 0;
    }
    if (++this.burst < BURST_CHUNKS) return;
    this.socket.pause(PAUSED_TO_COALESCE);
    setTimeout(() => {
      this.burst = 0;
      this.burstStart = performance.now();
      this.socket.resume(PAUSED_TO_COALESCE);
    }, COALESCE_MS);
  }

  pause(reason: number): void {
    this.socket.pause(reason);
  }

  resume(reason: number): void {
    this.lastHeard = Date.now();
    this.socket.resume(reason);
  }

  /** Goes on after a message that had to wait. */
  unblock(): void {
    if (this.ended) return;
    this.socket.frames.unblock();
    this.handler.chunkDone();
  }

  get blocked(): boolean {
    return this.socket.frames.blocked;
  }

  private onTimer(): void {
    if (this.ended) return;
    if (!this.socket.paused && Date.now() - this.lastHeard > this.silenceMs) {
      this.fail(
        new PipelineError(
          'SRC_CONNECTION_LOST',
          `the server has been silent for ${Math.round(this.silenceMs / 1000)} s`,
        ),
      );
      return;
    }
    this.sendFeedback(true);
    failpoint('source.acknowledged')?.catch((error: unknown) =>
      this.fail(classify(error, 'replication stream')),
    );
  }

  /** Reports exactly what was acknowledged, never a byte more: a commit record may begin there. */
  sendFeedback(wantsReply: boolean): void {
    const message = Buffer.alloc(39);
    message[0] = COPY_DATA;
    message.writeInt32BE(38, 1);
    message[5] = 0x72; // r
    const lsn = this.handler.acknowledged();
    message.writeBigUInt64BE(lsn, 6);
    message.writeBigUInt64BE(lsn, 14);
    message.writeBigUInt64BE(lsn, 22);
    message.writeBigInt64BE((BigInt(Date.now()) - 946_684_800_000n) * 1000n, 30);
    message[38] = wantsReply ? 1 : 0;
    if (this.socket.socket.writable) this.socket.socket.write(message);
  }

  private fail(error: PipelineError): void {
    if (this.ended) return;
    this.stop();
    this.handler.failed(error);
  }

  private stop(): void {
    this.ended = true;
    clearInterval(this.timer);
    this.started?.();
    this.socket.socket.destroy();
  }

  /** Tells the server once more what it may forget, and leaves. */
  async close(): Promise<void> {
    if (this.ended) return;
    this.sendFeedback(false);
    this.ended = true;
    clearInterval(this.timer);
    const { socket } = this.socket;
    await new Promise<void>((resolve) => {
      socket.once('close', () => resolve());
      // CopyDone and Terminate; a server that does not answer them is not waited for.
      socket.write(Buffer.from([0x63, 0, 0, 0, 4, 0x58, 0, 0, 0, 4]), () => socket.end());
      socket.resume();
      setTimeout(() => socket.destroy(), 500).unref();
    });
  }
}

/** Bytes from one LSN on the wire to another. */
function distance(bytes: Buffer, from: number, to: number): number {
  const high = bytes.readUInt32BE(to) - bytes.readUInt32BE(from);
  return high * 0x1_0000_0000 + bytes.readUInt32BE(to + 4) - bytes.readUInt32BE(from + 4);
}

function connectionLost(what: string): PipelineError {
  return new PipelineError('SRC_CONNECTION_LOST', `replication stream: ${what}`);
}
