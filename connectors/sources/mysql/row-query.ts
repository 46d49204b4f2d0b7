import type { Socket } from 'node:net';
import type { Connection } from 'mysql2';
import { PipelineError, toPipelineError } from '../../../core/errors/pipeline-error.ts';
import { NULL_CELL } from '../../capture/row-codec.ts';
import { classify } from './errors.ts';
import {
  errorOf,
  lengthAt,
  lengthBytes,
  PacketReader,
  sendCommand,
  type Packet,
} from './packets.ts';
import { takeSocket } from './session.ts';
import { readInto } from './session-socket.ts';

const COM_QUERY = 0x03;

export interface RowHandler {
  /** Cells as [start, end) per column, the start NULL_CELL for NULL; the row's own bytes begin at `start`. */
  row(bytes: Buffer, spans: Int32Array, length: number, start: number): void;
  /** What was received has been handled; a promise keeps the socket from being read meanwhile. */
  chunkDone(): Promise<void> | null;
}

/** Runs queries whose rows stay bytes, over the socket of a session that mysql2 has logged in. */
export class RowQuery {
  private readonly socket: Socket;
  private readonly packets = new PacketReader();
  private onChunk: (() => void) | null = null;
  private onEnd: ((error: PipelineError) => void) | null = null;

  constructor(connection: Connection) {
    this.socket = takeSocket(connection);
    readInto(this.socket, this.packets, () => this.onChunk?.());
    this.socket.on('error', (error) => this.onEnd?.(classify(error, 'copying a table')));
    this.socket.on('close', () =>
      this.onEnd?.(new PipelineError('SRC_CONNECTION_LOST', 'the copy session ended')),
    );
  }

  get usable(): boolean {
    return !this.socket.destroyed;
  }

  destroy(): void {
    this.socket.destroy();
  }

  run(sql: string, columns: number, handler: RowHandler): Promise<void> {
    return new Promise((resolve, reject) => {
      const rows = new ResultRows(columns, handler);
      const finish = (error: PipelineError | null): void => {
        this.onChunk = null;
        this.onEnd = null;
        if (error === null) resolve();
        else {
          this.socket.destroy();
          reject(error);
        }
      };
      this.onEnd = finish;
      this.onChunk = () => this.handle(rows, handler, finish);
      sendCommand(this.socket, COM_QUERY, Buffer.from(sql));
      this.socket.resume();
    });
  }

  private handle(
    rows: ResultRows,
    handler: RowHandler,
    finish: (error: PipelineError | null) => void,
  ): void {
    try {
      for (let packet = this.packets.next(); packet !== null; packet = this.packets.next()) {
        if (!rows.packet(packet)) continue;
        const last = handler.chunkDone() ?? Promise.resolve();
        last.then(
          () => finish(null),
          (error: unknown) => finish(toPipelineError(error)),
        );
        return;
      }
      const wait = handler.chunkDone();
      if (wait === null) return;
      this.socket.pause();
      wait.then(
        () => this.socket.resume(),
        (error: unknown) => finish(toPipelineError(error)),
      );
    } catch (error) {
      finish(toPipelineError(error));
    }
  }
}

/** A text result: column count, definitions, EOF, rows, EOF. */
class ResultRows {
  private readonly columns: number;
  private readonly handler: RowHandler;
  private readonly spans: Int32Array;
  private heads = 0;
  private inRows = false;

  constructor(columns: number, handler: RowHandler) {
    this.columns = columns;
    this.handler = handler;
    this.spans = new Int32Array(columns * 2);
  }

  /** True at the end of the result. */
  packet(packet: Packet): boolean {
    const { bytes, start, end } = packet;
    const tag = bytes[start];
    if (tag === 0xff) {
      const { number, text } = errorOf(packet);
      throw classify(Object.assign(new Error(text), { errno: number }), 'copying a table');
    }
    const isEof = tag === 0xfe && end - start < 9;
    if (!this.inRows) {
      if (isEof) this.inRows = true;
      else if (this.heads++ === 0 && lengthAt(bytes, start) !== this.columns) {
        throw new PipelineError('SRC_PROTOCOL', 'a result has other columns than were asked for');
      }
      return false;
    }
    if (isEof) return true;
    let pos = start;
    for (let i = 0; i < this.columns; i++) {
      const length = lengthAt(bytes, pos);
      pos += lengthBytes;
      this.spans[i * 2] = length < 0 ? NULL_CELL : pos;
      if (length > 0) pos += length;
      this.spans[i * 2 + 1] = pos;
    }
    this.handler.row(bytes, this.spans, end - start, start);
    return false;
  }
}
