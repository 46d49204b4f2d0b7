import { AvroWriter } from '../../../schemas/avro/avro-writer.ts';
import { OP_CREATE } from '../../../schemas/envelope/change-decoder.ts';
import { WIRE_HEADER_BYTES } from '../../../schemas/envelope/record-view.ts';
import type { ChangeWriter, StreamLane } from '../../capture/event-writer.ts';
import { UNCHANGED_CELL, type RowCodec } from '../../capture/row-codec.ts';

/** A row as it was before a change, to be written with the codec of its shape. */
export interface RowImage {
  readonly codec: RowCodec;
  readonly bytes: Buffer;
  readonly spans: Int32Array;
}

/** Rows that a few transactions touched: how each was before them, null where there was none. */
export type RowsBefore = Map<string, RowImage | null>;

/** More is a bulk change, which is better waited for. */
const MAX_BYTES = 16 * 1024 * 1024;
const ROW_OVERHEAD = 200;

/** A row's key as a text to compare: the same for a row that was logged and one that was queried. */
export class KeyText {
  private readonly out = new AvroWriter(1024);

  of(codec: RowCodec, src: Buffer, spans: Int32Array, room: number): string {
    const { out } = this;
    out.pos = 0;
    out.ensure(room + codec.overhead);
    codec.writeKey(out, src, spans);
    return out.bytes.toString('latin1', WIRE_HEADER_BYTES, out.pos);
  }
}

/** Takes the changes of a stretch of the log in place of the topics' writer. */
export class TouchedRows implements ChangeWriter {
  seq = 0;
  /** Why the rows before cannot be told; null as long as they can. */
  unclear: string | null = null;
  readonly tables = new Map<string, RowsBefore>();
  private readonly key = new KeyText();
  private bytes = 0;

  change(
    lane: StreamLane,
    codec: RowCodec,
    op: number,
    src: Buffer,
    before: Int32Array | null,
    after: Int32Array | null,
    unchanged: number,
    room: number,
  ): void {
    if (!codec.keyed) return this.doubt(`${lane.label}, which has no primary key, is written to`);
    const whole = before === null ? op === OP_CREATE : isWhole(before, codec.columns);
    if (unchanged > 0 || !whole) {
      return this.doubt(`changes of ${lane.label} are logged without all columns`);
    }
    let rows = this.tables.get(lane.label);
    if (rows === undefined) this.tables.set(lane.label, (rows = new Map()));
    if (before !== null) this.note(rows, codec, src, before, before, room);
    if (after !== null) this.note(rows, codec, src, after, null, room);
  }

  /** The first that is said of a row is how it was. */
  private note(
    rows: RowsBefore,
    codec: RowCodec,
    src: Buffer,
    spans: Int32Array,
    image: Int32Array | null,
    room: number,
  ): void {
    const key = this.key.of(codec, src, spans, room);
    if (rows.has(key)) return;
    rows.set(key, image === null ? null : imageOf(codec, src, image));
    this.bytes += key.length + ROW_OVERHEAD + (image === null ? 0 : room);
    if (this.bytes > MAX_BYTES) this.doubt('a large transaction is being committed');
  }

  /** A whole table was emptied. */
  truncate(lane: StreamLane): void {
    this.doubt(`${lane.label} is being emptied`);
  }

  doubt(why: string): void {
    this.unclear ??= why;
  }

  beginTransaction(): void {}

  settle(): void {}

  rollback(): void {}
}

function isWhole(spans: Int32Array, columns: number): boolean {
  for (let i = 0; i < columns; i++) if (spans[i * 2] === UNCHANGED_CELL) return false;
  return true;
}

/** A copy of the row's cells: the bytes at hand are overwritten by what follows. */
function imageOf(codec: RowCodec, src: Buffer, spans: Int32Array): RowImage {
  const cells = spans.slice(0, codec.columns * 2);
  let [from, to] = [src.length, 0];
  for (let i = 0; i < cells.length; i += 2) {
    if ((cells[i] as number) < 0) continue;
    from = Math.min(from, cells[i] as number);
    to = Math.max(to, cells[i + 1] as number);
  }
  for (let i = 0; i < cells.length; i += 2) {
    if ((cells[i] as number) < 0) continue;
    (cells[i] as number) -= from;
    (cells[i + 1] as number) -= from;
  }
  return { codec, bytes: Buffer.from(src.subarray(from, Math.max(from, to))), spans: cells };
}
