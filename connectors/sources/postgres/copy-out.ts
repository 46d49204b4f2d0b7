import type pg from 'pg';
import { PipelineError } from '../../../core/errors/pipeline-error.ts';
import { classify } from './errors.ts';
import { serverError } from './frames.ts';
import { NULL_CELL } from '../../capture/row-codec.ts';
import { PAUSED_BY_BUFFER, SocketTakeover } from './socket-takeover.ts';

const BACKSLASH = 0x5c;
const TAB = 0x09;
const NEWLINE = 0x0a;

export interface CopyHandler {
  /** One row in COPY's text format, [start, end) with its newline; the bytes may be changed. */
  row(bytes: Buffer, start: number, end: number): void;
  /** A row above the limit, which was not read in; throws. */
  oversized(length: number): never;
  /** A handler threw: the rest is passed over, and the copy may be cancelled from another session. */
  abandoned(): void;
  /** After each received chunk; a promise is waited for before more is read (invariant 9). */
  chunkDone(): Promise<void> | null;
}

/** Runs `COPY ... TO STDOUT` on an idle session and hands over its rows where they lie. */
export function copyOut(
  client: pg.Client,
  statement: string,
  limit: number,
  handler: CopyHandler,
): Promise<void> {
  return new Promise((resolve, reject) => {
    let failure: unknown = null;

    const finish = (): void => {
      takeover.socket.off('close', onClose);
      takeover.giveBack();
      if (failure === null) resolve();
      else reject(classify(failure, 'copying a table'));
    };
    const sink = {
      frame(tag: number, bytes: Buffer, start: number, end: number): boolean {
        try {
          if (tag === 0x64 && failure === null) handler.row(bytes, start, end);
          else if (tag === 0x45) failure ??= serverError(bytes, start, end);
          else if (tag === 0x5a) finish(); // ReadyForQuery
        } catch (error) {
          failure ??= error;
          handler.abandoned();
        }
        return true;
      },
      oversized(_tag: number, _head: Buffer, length: number): void {
        try {
          handler.oversized(length);
        } catch (error) {
          failure ??= error;
          handler.abandoned();
        }
      },
    };
    const takeover = new SocketTakeover(client, sink, limit, () => {
      const wait = failure === null ? handler.chunkDone() : null;
      if (wait === null) return;
      takeover.pause(PAUSED_BY_BUFFER);
      void wait.then(() => takeover.resume(PAUSED_BY_BUFFER));
    });
    const onClose = (): void => {
      failure ??= new PipelineError('SRC_CONNECTION_LOST', 'the connection of a copy was closed');
      finish();
    };
    takeover.socket.once('close', onClose);
    takeover.send(statement);
  });
}

/** Finds the cells of a row of COPY's text format and undoes its escapes in place, so that a cell is
 * the very text that the replication stream carries. */
export function splitCopyRow(bytes: Buffer, start: number, end: number, spans: Int32Array): number {
  let column = 0;
  let from = start;
  let escaped = false;
  for (let pos = start; pos < end; pos++) {
    const byte = bytes[pos] as number;
    if (byte > BACKSLASH) continue;
    if (byte === BACKSLASH) {
      escaped = true;
      pos++;
    } else if (byte === TAB || byte === NEWLINE) {
      endCell(bytes, from, pos, escaped, spans, column++);
      from = pos + 1;
      escaped = false;
    }
  }
  return column;
}

function endCell(
  bytes: Buffer,
  from: number,
  to: number,
  escaped: boolean,
  spans: Int32Array,
  column: number,
): void {
  if (escaped && to - from === 2 && bytes[from + 1] === 0x4e) {
    spans[column * 2] = NULL_CELL;
    return;
  }
  spans[column * 2] = from;
  spans[column * 2 + 1] = escaped ? unescape(bytes, from, to) : to;
}

const ESCAPES = new Map([
  [0x62, 0x08],
  [0x66, 0x0c],
  [0x6e, 0x0a],
  [0x72, 0x0d],
  [0x74, 0x09],
  [0x76, 0x0b],
]);

function unescape(bytes: Buffer, from: number, to: number): number {
  let write = from;
  for (let read = from; read < to; read++) {
    const byte = bytes[read] as number;
    if (byte !== BACKSLASH) bytes[write++] = byte;
    else {
      const next = bytes[++read] as number;
      bytes[write++] = ESCAPES.get(next) ?? next;
    }
  }
  return write;
}
