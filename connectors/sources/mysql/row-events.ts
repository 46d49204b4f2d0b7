import { OP_CREATE, OP_DELETE, OP_UPDATE } from '../../../schemas/envelope/change-decoder.ts';
import type { ChangeWriter, StreamLane } from '../../capture/event-writer.ts';
import { NULL_CELL, UNCHANGED_CELL, type RowCodec } from '../../capture/row-codec.ts';
import type { WirePlan } from './column-types.ts';
import type { CopiedParts } from './copied-parts.ts';
import type { NoDayTest } from './encode-times.ts';
import { logIncomplete, protocolError } from './errors.ts';
import { patchedJson } from './json-patch.ts';
import { JSON_AS_TEXT } from './json-text.ts';
import { lengthAt, lengthBytes } from './packets.ts';
import type { RowImages } from './row-images.ts';
import { uint16At, uint24At, uint32At } from './wire-integers.ts';

const MAX_COLUMNS = 4096;

/** Finds the cells of a row image. */
export class RowShape {
  readonly columns: number;
  /** Ordinals of the JSON columns: the log tells changes of them in parts if asked to. */
  readonly json: readonly number[];
  private readonly widths: Int16Array;
  private readonly noDay: readonly (NoDayTest | null)[];

  constructor(plans: readonly WirePlan[]) {
    this.columns = plans.length;
    this.json = plans.flatMap(({ type }, index) => (type.kind === 'json' ? [index] : []));
    this.widths = Int16Array.from(plans, (plan) => plan.width);
    this.noDay = plans.map((plan) => plan.noDay);
  }

  /** Fills `spans` with [start, end) per column, UNCHANGED_CELL for one that is not there; answers where
   * the image ends. */
  read(
    src: Buffer,
    start: number,
    end: number,
    spans: Int32Array,
    present: Uint8Array | null,
  ): number {
    const { widths, noDay, columns } = this;
    let pos = start + (((present === null ? columns : count(present)) + 7) >> 3);
    for (let i = 0, nth = 0; i < columns; i++) {
      if (present !== null && present[i] === 0) {
        spans[i * 2] = UNCHANGED_CELL;
        continue;
      }
      const isNull = (((src[start + (nth >> 3)] as number) >> (nth & 7)) & 1) === 1;
      nth++;
      if (isNull) {
        spans[i * 2] = NULL_CELL;
        continue;
      }
      const width = widths[i] as number;
      let length = width;
      if (width < 0) {
        length = lengthOf(src, pos, -width);
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
    // Not a number where bytes were read behind the buffer.
    if (!(pos <= end)) throw protocolError('a row that is longer than its event');
    return pos;
  }
}

/** The length before a text or a document, in as many bytes as its column says. */
function lengthOf(src: Buffer, pos: number, width: number): number {
  switch (width) {
    case 1:
      return src[pos] as number;
    case 2:
      return uint16At(src, pos);
    case 3:
      return uint24At(src, pos);
    default:
      return uint32At(src, pos);
  }
}

function count(present: Uint8Array): number {
  return present.reduce((sum, each) => sum + each, 0);
}

export type RowOperation = typeof OP_CREATE | typeof OP_UPDATE | typeof OP_DELETE;

/** The rows of one event, all of one table and one kind of change. */
export interface LoggedRows {
  readonly lane: StreamLane;
  readonly codec: RowCodec;
  readonly shape: RowShape;
  readonly op: RowOperation;
  readonly images: RowImages;
  /** Set where the stream's snapshot holds the changes of some rows already. */
  readonly parts: Pick<CopiedParts, 'isDue'> | null;
  /** JSON cells of the rows after the change may be told as differences from those before. */
  readonly partialJson: boolean;
}

/** Makes events of the rows of one row event. */
export class RowEvents {
  private readonly writer: ChangeWriter;
  private readonly before = new Int32Array(MAX_COLUMNS * 2);
  private readonly after = new Int32Array(MAX_COLUMNS * 2);

  constructor(writer: ChangeWriter) {
    this.writer = writer;
  }

  rows(logged: LoggedRows, src: Buffer, start: number, end: number): void {
    const { shape, op, images } = logged;
    const { before, after } = this;
    const afterImage = op === OP_UPDATE ? images.second : images.first;
    for (let pos = start; pos < end;) {
      const from = pos;
      if (op !== OP_CREATE) pos = shape.read(src, pos, end, before, images.first);
      if (logged.partialJson) {
        pos = this.partialRow(logged, src, from, pos, end);
        continue;
      }
      if (op !== OP_DELETE) pos = shape.read(src, pos, end, after, afterImage);
      this.row(logged, src, pos - from);
    }
  }

  /** A row whose spans lie in `src`; `room` is its length. */
  private row(logged: LoggedRows, src: Buffer, room: number): void {
    const { lane, op, images } = logged;
    const { before, after, writer } = this;
    writer.seq++;
    if (op === OP_DELETE) this.tell(logged, op, src, before, null, 0, room);
    else if (op === OP_CREATE) {
      if (images.first !== null) throw notAllColumns(lane, 'a row was inserted');
      this.tell(logged, op, src, null, after, 0, room);
    } else this.update(logged, src, room);
    writer.settle();
  }

  /** Ordinals are counted for what the snapshot holds, too: an event's is the same at each reading. */
  private tell(
    { lane, codec, parts }: LoggedRows,
    op: RowOperation,
    src: Buffer,
    before: Int32Array | null,
    after: Int32Array | null,
    unchanged: number,
    room: number,
  ): void {
    const keyed = (after ?? before) as Int32Array;
    if (parts !== null && !parts.isDue(codec, src, keyed, room)) return;
    this.writer.change(lane, codec, op, src, before, after, unchanged, room);
  }

  private update(logged: LoggedRows, src: Buffer, room: number): void {
    const { lane, codec, images } = logged;
    const { before, after, writer } = this;
    const moved = codec.keyed && codec.keyDiffers(src, before, after);
    const unchanged = images.second === null ? 0 : this.fillFromBefore(codec.columns);
    if (moved) {
      if (unchanged > 0) throw notAllColumns(lane, 'a key was changed');
      this.tell(logged, OP_DELETE, src, before, null, 0, room);
      writer.seq++;
      this.tell(logged, OP_CREATE, src, null, after, 0, room);
      return;
    }
    // A part of the row before is no row: whoever reads it could not tell null from absent.
    const old = images.first === null ? before : null;
    this.tell(logged, OP_UPDATE, src, old, after, unchanged, room);
  }

  /** What is in the image before and not in the one after is as it was. Answers how many are in none. */
  private fillFromBefore(columns: number): number {
    const { before, after } = this;
    let unchanged = 0;
    for (let i = 0; i < columns; i++) {
      if (after[i * 2] !== UNCHANGED_CELL) continue;
      after[i * 2] = before[i * 2] as number;
      after[i * 2 + 1] = before[i * 2 + 1] as number;
      if (after[i * 2] === UNCHANGED_CELL) unchanged++;
    }
    return unchanged;
  }

  /** Between the images stands which JSON cells are differences; they are made whole behind a copy of
   * the row. Answers where the row ends. */
  private partialRow(
    logged: LoggedRows,
    src: Buffer,
    from: number,
    start: number,
    end: number,
  ): number {
    const { shape, images, lane } = logged;
    const { before, after } = this;
    const options = lengthAt(src, start);
    let pos = start + lengthBytes;
    const bits = pos;
    if ((options & 1) === 1) pos += (shape.json.length + 7) >> 3;
    pos = shape.read(src, pos, end, after, images.second);
    const wholes: Buffer[] = [];
    let row = src;
    let room = pos - from;
    if ((options & 1) === 1) {
      shape.json.forEach((column, nth) => {
        if ((((src[bits + (nth >> 3)] as number) >> (nth & 7)) & 1) === 0) return;
        const at = after[column * 2] as number;
        if (at < 0) return;
        const old = before[column * 2] as number;
        if (old < 0) throw notAllColumns(lane, 'a JSON value was changed in part');
        const document = src.subarray(old, before[column * 2 + 1]);
        const text = patchedJson(document, src.subarray(at, after[column * 2 + 1]));
        const whole = Buffer.from(`\0${text}`);
        whole[0] = JSON_AS_TEXT;
        after[column * 2] = from + room;
        room += whole.length;
        after[column * 2 + 1] = from + room;
        wholes.push(whole);
      });
    }
    if (wholes.length > 0) {
      row = Buffer.concat([src.subarray(from, pos), ...wholes]);
      for (const spans of [before, after]) shift(spans, shape.columns, from);
    }
    this.row(logged, row, room);
    return pos;
  }
}

function shift(spans: Int32Array, columns: number, by: number): void {
  for (let i = 0; i < columns; i++) {
    if ((spans[i * 2] as number) < 0) continue;
    (spans[i * 2] as number) -= by;
    (spans[i * 2 + 1] as number) -= by;
  }
}

function notAllColumns(lane: StreamLane, what: string): Error {
  return logIncomplete(
    lane.label,
    `${what} and was not logged with all columns; run: SET GLOBAL binlog_row_image = 'FULL'`,
  );
}
