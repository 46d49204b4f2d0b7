import { OP_CREATE, OP_DELETE, OP_UPDATE } from '../../../schemas/envelope/change-decoder.ts';
import type { EventWriter, StreamLane } from '../../capture/event-writer.ts';
import * as pgoutput from './pgoutput.ts';
import { NULL_CELL, type RowCodec } from '../../capture/row-codec.ts';

const MAX_COLUMNS = 1664;

/** Makes events of row messages. The caller settles or rolls back what one message became. */
export class RowEvents {
  private readonly writer: EventWriter;
  private readonly tuple = new pgoutput.TupleReader();
  private readonly before = new Int32Array(MAX_COLUMNS * 2);
  private readonly after = new Int32Array(MAX_COLUMNS * 2);

  constructor(writer: EventWriter) {
    this.writer = writer;
  }

  insert(lane: StreamLane, codec: RowCodec, bytes: Buffer, start: number, end: number): void {
    this.tuple.read(bytes, start + 6, codec.columns, this.after);
    this.writer.seq++;
    this.writer.change(lane, codec, OP_CREATE, bytes, null, this.after, 0, end - start);
  }

  delete(lane: StreamLane, codec: RowCodec, bytes: Buffer, start: number, end: number): void {
    this.tuple.read(bytes, start + 6, codec.columns, this.before);
    this.writer.seq++;
    this.writer.change(lane, codec, OP_DELETE, bytes, this.before, null, 0, end - start);
  }

  /** False when a key change left cells out and they were not asked for yet. */
  update(
    lane: StreamLane,
    codec: RowCodec,
    bytes: Buffer,
    start: number,
    end: number,
    completed: boolean,
  ): boolean {
    const { tuple, before, after, writer } = this;
    const kind = bytes[start + 5];
    let pos = start + 6;
    if (kind !== pgoutput.NEW_TUPLE) {
      tuple.read(bytes, pos, codec.columns, before);
      pos = tuple.end + 1;
    }
    tuple.read(bytes, pos, codec.columns, after);
    let { unchanged } = tuple;
    let rekeyed = false;
    if (kind !== pgoutput.NEW_TUPLE) {
      if (unchanged > 0) {
        codec.takeKeyFrom(after, before);
        if (kind === pgoutput.OLD_TUPLE) takeUnchanged(after, before, codec.columns);
        unchanged = countUnchanged(after, codec.columns);
      }
      rekeyed = codec.keyed && codec.keyDiffers(bytes, before, after);
    }
    if (rekeyed && unchanged > 0 && !completed) return false;
    const old = kind === pgoutput.OLD_TUPLE || rekeyed ? before : null;
    writer.seq++;
    if (!rekeyed) {
      writer.change(lane, codec, OP_UPDATE, bytes, old, after, unchanged, end - start);
      return true;
    }
    writer.change(lane, codec, OP_DELETE, bytes, before, null, 0, end - start);
    writer.seq++;
    writer.change(lane, codec, OP_CREATE, bytes, null, after, unchanged, end - start);
    return true;
  }
}

function takeUnchanged(after: Int32Array, before: Int32Array, columns: number): void {
  for (let i = 0; i < columns * 2; i += 2) {
    if ((after[i] as number) >= NULL_CELL) continue;
    after[i] = before[i] as number;
    after[i + 1] = before[i + 1] as number;
  }
}

function countUnchanged(spans: Int32Array, columns: number): number {
  let count = 0;
  for (let i = 0; i < columns * 2; i += 2) if ((spans[i] as number) < NULL_CELL) count++;
  return count;
}
