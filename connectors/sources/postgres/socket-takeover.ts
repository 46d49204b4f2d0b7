import type pg from 'pg';
import type { Socket } from 'node:net';
import { FrameReader, type FrameSink } from './frames.ts';
import { socketOf } from './session.ts';

/** Why the socket is not being read; it is read again when no reason is left. */
export const PAUSED_BY_BUFFER = 1;
export const PAUSED_BY_SCHEMA = 2;
export const PAUSED_TO_COALESCE = 4;

/**
 * Reads an idle session's socket in place of pg, which logged in on it (and encrypted it): pg's own
 * path makes an object and an event of every message. Only for statements that stream.
 */
export class SocketTakeover {
  readonly socket: Socket;
  readonly frames: FrameReader;
  private readonly client: pg.Client;
  private readonly pgListeners: readonly ((chunk: Buffer) => void)[];
  private readonly onData: (chunk: Buffer) => void;
  private reasons = 0;

  constructor(
    client: pg.Client,
    sink: FrameSink,
    limit: number,
    afterChunk: (bytes: number) => void,
  ) {
    this.client = client;
    this.socket = socketOf(client);
    this.frames = new FrameReader(sink, limit);
    this.pgListeners = this.socket.listeners('data') as ((chunk: Buffer) => void)[];
    this.socket.removeAllListeners('data');
    this.onData = (chunk) => {
      this.frames.push(chunk);
      afterChunk(chunk.length);
    };
    this.socket.on('data', this.onData);
  }

  /** Sends a simple query. */
  send(statement: string): void {
    (this.client as unknown as { connection: { query(text: string): void } }).connection.query(
      statement,
    );
  }

  get paused(): boolean {
    return this.reasons !== 0;
  }

  pause(reason: number): void {
    if (this.reasons === 0) this.socket.pause();
    this.reasons |= reason;
  }

  resume(reason: number): void {
    if (this.reasons === 0) return;
    this.reasons &= ~reason;
    if (this.reasons === 0) this.socket.resume();
  }

  /** Gives the socket back to pg, after the server is ready for a query again. */
  giveBack(): void {
    this.socket.off('data', this.onData);
    for (const listener of this.pgListeners) this.socket.on('data', listener);
  }
}
