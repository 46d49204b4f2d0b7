import { OP_READ } from '../../../schemas/envelope/change-decoder.ts';
import type { EventWriter, StreamLane } from '../../capture/event-writer.ts';
import { type RowCodec } from '../../capture/row-codec.ts';
import type { TableFacts } from './catalog.ts';
import type { CellPlan } from './column-types.ts';
import type { CopyPiece, CopyProgress } from './copy-progress.ts';
import type { Ask } from './key-ranks.ts';
import type { CaptureState, StreamMark } from './position.ts';
import type { RowQuery } from './row-query.ts';
import { forgetNoDays } from './text-rows.ts';
import { KeyText, type RowImage, type RowsBefore } from './touched-rows.ts';

/** A session that reads under the view, and the events that it writes. */
export interface CopyReader {
  readonly rows: RowQuery;
  readonly writer: EventWriter;
}

export interface TableCopyParts {
  readonly lane: StreamLane;
  readonly table: TableFacts;
  readonly codec: RowCodec;
  readonly plans: readonly CellPlan[];
  readonly progress: CopyProgress;
  /** Rows as they were before the view's start, of those that it may show later. */
  readonly before: RowsBefore;
  /** What is stored of the table besides. */
  readonly mark: Pick<StreamMark, 'key' | 'ids' | 'shapes'>;
}

/** The copy of one table under way, by one reader or several. */
export class TableCopy {
  readonly lane: StreamLane;
  readonly progress: CopyProgress;
  readonly parts: TableCopyParts;
  /** Ordinal of the copy's rows. */
  seq = 0;
  /** All rows were read, of a table that did not change meanwhile. */
  isWhole = false;
  private readonly before: RowsBefore;
  private readonly state: CaptureState;
  private readonly keyText = new KeyText();

  constructor(parts: TableCopyParts, state: CaptureState) {
    this.parts = parts;
    this.lane = parts.lane;
    this.progress = parts.progress;
    this.before = new Map(parts.before);
    this.state = state;
  }

  /** Rows that the view may show later are those of the copy, but for what earlier views gave. */
  async begin(ask: Ask): Promise<void> {
    if (!this.progress.resumed) return;
    for (const key of await this.progress.among(ask, [...this.before.keys()])) {
      this.before.delete(key);
    }
  }

  /** Several readers cut a table among them as they come to it. */
  nextPiece(reader: CopyReader, isShared: boolean): Promise<CopyPiece | null> {
    const { progress } = this;
    return progress.take(
      isShared
        ? async (sql) => {
            let found: ReturnType<CopyProgress['placeOf']> | null = null;
            await reader.rows.run(sql, progress.cells, {
              row: (bytes, spans, length) => {
                found = progress.placeOf(bytes, spans, length);
              },
              chunkDone: () => null,
            });
            return found;
          }
        : null,
    );
  }

  async read(
    { rows, writer }: CopyReader,
    piece: CopyPiece,
    afterChunk: () => Promise<void> | null,
  ): Promise<void> {
    const { lane, progress } = this;
    const { plans } = this.parts;
    writer.seq = this.seq;
    let count = 0;
    let last: { bytes: Buffer; spans: Int32Array; length: number } | null = null;
    await rows.run(piece.select, progress.cells, {
      row: (bytes, spans, length) => {
        forgetNoDays(plans, bytes, spans);
        count++;
        progress.wrote(length);
        last = { bytes, spans, length };
        this.write(writer, bytes, spans, length);
      },
      chunkDone: () => {
        // The next row's cells are found in the same place: what is behind the last one is told now.
        if (last !== null) progress.passed(piece, last.bytes, last.spans, last.length);
        last = null;
        this.state.countRow(lane.label, count);
        count = 0;
        writer.tick();
        return afterChunk();
      },
    });
    progress.ended(piece);
  }

  /** A row that was changed while the view was started is written as it was before, so that the log's
   * changes follow on it. */
  private write(writer: EventWriter, bytes: Buffer, spans: Int32Array, length: number): void {
    const { lane, before } = this;
    const { codec } = this.parts;
    if (lane.stopped) return;
    if (before.size > 0) {
      const key = this.keyText.of(codec, bytes, spans, length);
      const image = before.get(key);
      if (image !== undefined) {
        before.delete(key);
        return this.writeImage(writer, image);
      }
    }
    writer.change(lane, codec, OP_READ, bytes, null, spans, 0, length);
    writer.settle();
  }

  private writeImage(writer: EventWriter, image: RowImage | null): void {
    if (image === null) return;
    const { codec, bytes, spans } = image;
    writer.change(this.lane, codec, OP_READ, bytes, null, spans, 0, bytes.length);
    writer.settle();
  }

  /** Rows that the view does not show, for they were removed while it was started, belong to the copy
   * all the same: the log tells that they are gone. Which they are in what was read so far. */
  async gone(ask: Ask): Promise<readonly string[]> {
    return this.before.size === 0 ? [] : this.progress.among(ask, [...this.before.keys()]);
  }

  writeGone(writer: EventWriter, keys: readonly string[]): void {
    const { seq } = writer;
    writer.seq = this.seq;
    for (const key of keys) {
      const image = this.before.get(key);
      this.before.delete(key);
      if (image !== undefined) this.writeImage(writer, image);
    }
    writer.seq = seq;
  }
}
