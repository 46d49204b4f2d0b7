import type { ChangeCursor } from '../../../schemas/envelope/change-decoder.ts';
import { ChangeRows } from './change-rows.ts';
import { ColumnBuffers } from './column-buffer.ts';
import { CHANGE_COLUMNS, type FileColumn } from './file-columns.ts';
import { valueAt, type FileValue } from './file-values.ts';
import type { Projection } from './projection.ts';
import type { RowIds } from './row-ids.ts';

/** For one change at a time, whose row is taken apart into values at once. */
const changed = new ChangeRows();
const buffers = new ColumnBuffers();

/** The rows of one row group as values, column by column: those of a file with one row per key,
 * which are compared, copied and completed one by one. */
export class RowGroup {
  readonly columns: FileValue[][];
  rows = 0;
  /** File columns of the row added last whose value the source did not send. */
  unchanged: readonly number[] = [];
  private readonly own: readonly FileColumn[];
  private readonly all: readonly FileColumn[];
  private readonly ids: RowIds;
  private readonly absent: readonly FileValue[];

  /** `absent`: what rows of a schema without a column have in it, per column. */
  constructor(columns: readonly FileColumn[], ids: RowIds, absent: readonly FileValue[]) {
    this.own = columns;
    this.all = [...columns, ...CHANGE_COLUMNS];
    this.ids = ids;
    this.absent = absent;
    this.columns = this.all.map(() => []);
  }

  add(change: ChangeCursor, projection: Projection, bytes: Buffer, offset: number): void {
    changed.begin(this.own, this.ids, 1);
    changed.add(change, projection, bytes, offset);
    this.unchanged = changed.unchangedAt(0);
    this.addValues(
      this.all.map(({ form }, index) => {
        if (projection.cells[index] === -1) return this.absent[index] ?? null;
        const buffer = buffers.begin(form, 1);
        changed.fill(index, buffer);
        const value = buffer.count === 0 ? null : valueAt(form, buffer, 0);
        buffer.release();
        return value;
      }),
    );
    changed.clear();
  }

  /** A row as it was before, in the order of the columns. */
  addValues(values: readonly FileValue[]): void {
    for (let i = 0; i < values.length; i++) {
      (this.columns[i] as FileValue[]).push(values[i] as FileValue);
    }
    this.rows++;
  }

  /** Puts another value into the row added last. */
  replaceLast(column: number, value: FileValue): void {
    (this.columns[column] as FileValue[])[this.rows - 1] = value;
  }

  /** Adds texts of values that no column can hold to those of the row added last. */
  addTexts(column: number, texts: Readonly<Record<string, string>>): void {
    if (Object.keys(texts).length === 0) return;
    const cell = this.columns[column]?.[this.rows - 1];
    const own =
      cell instanceof Uint8Array ? (JSON.parse(Buffer.from(cell).toString()) as object) : {};
    this.replaceLast(column, Buffer.from(JSON.stringify({ ...own, ...texts })));
  }
}
