import { OP_CREATE, OP_DELETE, type OP_UPDATE } from '../../../schemas/envelope/change-decoder.ts';
import type { EventWriter, StreamLane } from '../../capture/event-writer.ts';
import { NULL_CELL, type RowCodec } from '../../capture/row-codec.ts';
import type { WirePlan } from './column-types.ts';
import { logIncomplete, protocolError } from './errors.ts';
import { lengthAt, lengthBytes } from './packets.ts';
import type { NoDayTest } from './encode-times.ts';

const MAX_COLUMNS = 4096;

/** Finds the cells of a row image. */
export class RowShape {
  readonly columns: number;
  private readonly widths: Int16Array;
  private readonly noDay: readonly (NoDayTest | null)[];

  constructor(plans: readonly WirePlan[]) {
    this.columns = plans.length;
    this.widths = Int16Array.from(plans, (plan) => plan.width);
    this.noDay = plans.map((plan) => plan.noDay);
  }

  /** Fills `spans` with [start, end) per column; answers where the image ends. */
  read(src: Buffer, start: number, end: number, spans: Int32Array): number {
    const { widths, noDay, columns } = this;
    let pos = start + ((columns + 7) >> 3);
    for (let i = 0; i < columns; i++) {
      if ((((src[start + (i >> 3)] as number) >> (i & 7)) & 1) === 1) {
        spans[i * 2] = NULL_CELL;
        continue;
      }
      const width = widths[i] as number;
      let length = width;
      if (width < 0) {
        length = width === -1 ? (src[pos] as number) : src.readUIntLE(pos, -width);
        pos -= width;
      }
      const test = noDay[i] as NoDayTest | null;
      if (test !== null && test(src, pos, pos + length)) spans[i * 2] = NULL_CELL;
      else {
        spans[i * 2] = pos;
        spans[i * 2 + 1] = pos + length;
      }
      pos += length;
    }
    if (pos > end) throw protocolError('a row that is longer than its event');
    return pos;
  }
}

export type RowOperation = typeof OP_CREATE | typeof OP_UPDATE | typeof OP_DELETE;

/** Makes events of the rows of one row event. */
export class RowEvents {
  private readonly writer: EventWriter;
  private readonly before = new Int32Array(MAX_COLUMNS * 2);
  private readonly after = new Int32Array(MAX_COLUMNS * 2);

  constructor(writer: EventWriter) {
    this.writer = writer;
  }

  rows(
    lane: StreamLane,
    codec: RowCodec,
    shape: RowShape,
    op: RowOperation,
    src: Buffer,
    pos: number,
    end: number,
  ): void {
    const { before, after, writer } = this;
    while (pos < end) {
      const start = pos;
      if (op !== OP_CREATE) pos = shape.read(src, pos, end, before);
      if (op !== OP_DELETE) pos = shape.read(src, pos, end, after);
      const room = pos - start;
      writer.seq++;
      if (op === OP_CREATE) writer.change(lane, codec, op, src, null, after, 0, room);
      else if (op === OP_DELETE) writer.change(lane, codec, op, src, before, null, 0, room);
      else if (codec.keyed && codec.keyDiffers(src, before, after)) {
        writer.change(lane, codec, OP_DELETE, src, before, null, 0, room);
        writer.seq++;
        writer.change(lane, codec, OP_CREATE, src, null, after, 0, room);
      } else writer.change(lane, codec, op, src, before, after, 0, room);
      writer.settle();
    }
  }
}

/** Where the rows begin, behind the column count and the bitmaps of the columns that are there. */
export function rowsAt(
  src: Buffer,
  pos: number,
  columns: number,
  images: number,
  label: string,
): number {
  const count = lengthAt(src, pos);
  if (count !== columns) throw protocolError(`rows of ${label} that do not fit its description`);
  let at = pos + lengthBytes;
  for (let image = 0; image < images; image++) {
    for (let i = 0; i < columns; i++) {
      if ((((src[at + (i >> 3)] as number) >> (i & 7)) & 1) === 1) continue;
      throw logIncomplete(
        label,
        "a change was logged without all columns; run: SET GLOBAL binlog_row_image = 'FULL'",
      );
    }
    at += (columns + 7) >> 3;
  }
  return at;
}
