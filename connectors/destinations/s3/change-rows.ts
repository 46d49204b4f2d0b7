import { CELL_UNCHANGED, type ChangeCursor } from '../../../schemas/envelope/change-decoder.ts';
import { cellText, type CellReader } from './cell-readers.ts';
import { ChangeFacts } from './change-facts.ts';
import { ColumnBuffer, KEPT_BYTES } from './column-buffer.ts';
import { CHANGE_COLUMNS, type FileColumn } from './file-columns.ts';
import type { RowGroupCells } from './file-values.ts';
import type { Projection } from './projection.ts';
import type { RowIds } from './row-ids.ts';

/** Rows one after the other whose cells lie in the same buffer and in the same places. */
interface Stretch {
  readonly bytes: Buffer;
  readonly projection: Projection;
  readonly firstRow: number;
  /** Where the spans of the first row are. */
  readonly firstSpan: number;
  endRow: number;
}

/**
 * The rows that changes leave in a row group: where their cells are in the records' bytes. They are
 * read column by column, so that memory holds the values of one column at a time (invariant 9).
 */
export class ChangeRows implements RowGroupCells {
  rows = 0;
  private columns: readonly FileColumn[] = [];
  private stretches: Stretch[] = [];
  /** [start, end) per cell of a row, as the decoder gives them. */
  private spans = new Int32Array(0);
  private spansEnd = 0;
  private readonly facts = new ChangeFacts();
  /** By row, file columns whose value the source did not send. */
  private readonly unchanged = new Map<number, number[]>();
  /** By row and file column's name, texts of values that the column cannot hold. */
  private readonly unrepresentable = new Map<number, Record<string, string>>();
  /** Columns for fields of documents, which are read together. */
  private readonly fields = new Map<number, ColumnBuffer>();

  /** Empties it and makes room for `rows` rows. */
  begin(columns: readonly FileColumn[], ids: RowIds, rows: number): void {
    this.clear();
    this.columns = columns;
    this.facts.begin(ids, rows);
  }

  /** Lets go of the records. */
  clear(): void {
    this.rows = 0;
    this.spansEnd = 0;
    this.stretches = [];
    this.unchanged.clear();
    this.unrepresentable.clear();
    this.fields.clear();
    if (this.spans.byteLength > KEPT_BYTES) this.spans = new Int32Array(0);
  }

  /** The record's bytes must stay as they are until the rows are cleared. */
  add(change: ChangeCursor, projection: Projection, bytes: Buffer, offset: number): void {
    this.stretchOf(projection, bytes).endRow = this.rows + 1;
    const cells = change.hasAfter ? change.after : change.before;
    const end = this.spansEnd + cells.length;
    if (end > this.spans.length) this.growSpans(end);
    this.spans.set(cells, this.spansEnd);
    this.spansEnd = end;
    if (change.hasUnchanged) this.noteUnchanged(projection, cells);
    this.facts.set(this.rows++, change, offset);
  }

  private stretchOf(projection: Projection, bytes: Buffer): Stretch {
    const last = this.stretches.at(-1);
    if (last !== undefined && last.bytes === bytes && last.projection === projection) return last;
    const { rows: firstRow, spansEnd: firstSpan } = this;
    const next = { bytes, projection, firstRow, firstSpan, endRow: firstRow };
    this.stretches.push(next);
    return next;
  }

  private growSpans(needed: number): void {
    const { spans } = this;
    this.spans = new Int32Array(Math.max(needed, spans.length * 2));
    this.spans.set(spans);
  }

  private noteUnchanged({ cells }: Projection, spans: Int32Array): void {
    const found: number[] = [];
    for (let i = 0; i < cells.length; i++) {
      if (spans[(cells[i] as number) * 2] === CELL_UNCHANGED) found.push(i);
    }
    if (found.length > 0) this.unchanged.set(this.rows, found);
  }

  /** File columns of a row whose value the source did not send. */
  unchangedAt(row: number): readonly number[] {
    return this.unchanged.get(row) ?? [];
  }

  fill(column: number, into: ColumnBuffer): void {
    const own = this.columns[column];
    if (own === undefined)
      this.fillChange(CHANGE_COLUMNS[column - this.columns.length]?.name, into);
    else if (own.path === undefined || this.rows === 1) this.fillCells(column, into);
    else into.copy(this.fieldsOf(column, own.source));
  }

  private fillCells(column: number, into: ColumnBuffer): void {
    for (const stretch of this.stretches) {
      this.fillRows(column, into, stretch, stretch.firstRow, stretch.endRow);
    }
  }

  private fillRows(
    column: number,
    into: ColumnBuffer,
    { bytes, projection, firstRow, firstSpan }: Stretch,
    from: number,
    to: number,
  ): void {
    const { levels } = into;
    const { spans } = this;
    const cell = projection.cells[column] as number;
    if (cell === -1) {
      levels.fill(0, from, to);
      return;
    }
    const reader = projection.readers[column] as CellReader;
    const step = projection.schema.columns.length * 2;
    let at = firstSpan + (from - firstRow) * step + cell * 2;
    for (let row = from; row < to; row++, at += step) {
      const start = spans[at] as number;
      levels[row] = 0;
      if (start < 0) continue;
      const end = spans[at + 1] as number;
      const outcome = reader(into, bytes, start, end);
      if (outcome === 'appended') levels[row] = 1;
      else if (outcome === 'unrepresentable') {
        this.noteText(row, column, cellTextOf(projection, cell, bytes, start, end));
      }
    }
  }

  private noteText(row: number, column: number, text: string): void {
    const texts = this.unrepresentable.get(row) ?? {};
    texts[this.nameOf(column)] = text;
    this.unrepresentable.set(row, texts);
  }

  private nameOf(column: number): string {
    return (this.columns[column] as FileColumn).name;
  }

  /** A document is taken apart once for all columns of its fields. */
  private fieldsOf(column: number, source: string): ColumnBuffer {
    if (!this.fields.has(column)) this.readFields(source);
    return this.fields.get(column) as ColumnBuffer;
  }

  private readFields(source: string): void {
    this.columns.forEach((column, index) => {
      if (column.path === undefined || column.source !== source) return;
      const buffer = new ColumnBuffer(0);
      buffer.begin(this.rows);
      this.fields.set(index, buffer);
    });
    const mine = [...this.fields].filter(([index]) => this.columns[index]?.source === source);
    for (const stretch of this.stretches) {
      for (let row = stretch.firstRow; row < stretch.endRow; row++) {
        for (const [index, buffer] of mine) this.fillRows(index, buffer, stretch, row, row + 1);
      }
    }
  }

  private fillChange(name: string | undefined, into: ColumnBuffer): void {
    switch (name) {
      case '_headrace_unchanged':
        return this.fillJson(into, this.unchanged, (found) => found.map((i) => this.nameOf(i)));
      case '_headrace_unrepresentable':
        return this.fillJson(into, this.unrepresentable, (texts) => texts);
      default:
        this.facts.fill(name, into);
    }
  }

  private fillJson<T>(
    into: ColumnBuffer,
    byRow: ReadonlyMap<number, T>,
    contentOf: (value: T) => unknown,
  ): void {
    into.levels.fill(0, 0, this.rows);
    if (byRow.size === 0) return;
    for (let row = 0; row < this.rows; row++) {
      const value = byRow.get(row);
      if (value === undefined) continue;
      const json = Buffer.from(JSON.stringify(contentOf(value)));
      into.levels[row] = 1;
      into.pushBytes(json, 0, json.length);
    }
  }
}

function cellTextOf(
  { schema }: Projection,
  cell: number,
  bytes: Buffer,
  start: number,
  end: number,
): string {
  const type = schema.columns[cell]?.type;
  return type === undefined ? '' : cellText(type, bytes, start, end);
}
