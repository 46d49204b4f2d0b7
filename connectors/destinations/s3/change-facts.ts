import { OP_DELETE, type ChangeCursor } from '../../../schemas/envelope/change-decoder.ts';
import type { ColumnBuffer } from './column-buffer.ts';
import type { RowIds } from './row-ids.ts';

/** What rows have of their changes themselves: numbers, kept as such until their columns are filled. */
export class ChangeFacts {
  private ids: RowIds | null = null;
  private offsets = new Float64Array(0);
  private times = new Float64Array(0);
  private epochs = new Float64Array(0);
  private seqs = new Float64Array(0);
  private deletes = new Uint8Array(0);
  /** Two halves per row. */
  private lsns = new Int32Array(0);

  begin(ids: RowIds, rows: number): void {
    this.ids = ids;
    if (this.offsets.length >= rows) return;
    this.offsets = new Float64Array(rows);
    this.times = new Float64Array(rows);
    this.epochs = new Float64Array(rows);
    this.seqs = new Float64Array(rows);
    this.deletes = new Uint8Array(rows);
    this.lsns = new Int32Array(rows * 2);
  }

  set(row: number, change: ChangeCursor, offset: number): void {
    this.offsets[row] = offset;
    this.times[row] = change.tsUs;
    this.epochs[row] = change.epoch;
    this.seqs[row] = change.seq;
    this.deletes[row] = change.op === OP_DELETE ? 1 : 0;
    this.lsns[row * 2] = change.lsnLow;
    this.lsns[row * 2 + 1] = change.lsnHigh;
  }

  /** `name`: of one of CHANGE_COLUMNS. */
  fill(name: string | undefined, into: ColumnBuffer): void {
    if (name === '_ab_cdc_deleted_at') return this.fillDeleted(into);
    into.levels.fill(1, 0, into.rows);
    switch (name) {
      case '_airbyte_ab_id':
        return this.fillIds(into);
      case '_airbyte_emitted_at':
        return this.fillMillis(into);
      case '_ab_cdc_lsn':
        return this.fillLsns(into);
      case '_ab_cdc_updated_at':
        return fillNumbers(into, this.times);
      case '_headrace_epoch':
        return fillNumbers(into, this.epochs);
      case '_headrace_seq':
        return fillNumbers(into, this.seqs);
      default:
        throw new TypeError(`no change fills column ${name}`);
    }
  }

  private fillIds(into: ColumnBuffer): void {
    for (let row = 0; row < into.rows; row++) this.ids?.append(into, this.offsets[row] as number);
  }

  private fillMillis(into: ColumnBuffer): void {
    for (let row = 0; row < into.rows; row++) {
      into.pushSafe(Math.floor((this.times[row] as number) / 1000));
    }
  }

  private fillLsns(into: ColumnBuffer): void {
    const { lsns } = this;
    for (let i = 0; i < into.rows * 2; i += 2) {
      into.pushHalves(lsns[i + 1] as number, lsns[i] as number);
    }
  }

  private fillDeleted(into: ColumnBuffer): void {
    into.levels.set(this.deletes.subarray(0, into.rows));
    for (let row = 0; row < into.rows; row++) {
      if (this.deletes[row] === 1) into.pushSafe(this.times[row] as number);
    }
  }
}

function fillNumbers(into: ColumnBuffer, numbers: Float64Array): void {
  for (let row = 0; row < into.rows; row++) into.pushSafe(numbers[row] as number);
}
