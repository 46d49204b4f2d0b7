import { PipelineError } from '../../../core/errors/pipeline-error.ts';
import { partOf } from '../../../schemas/envelope/record-view.ts';
import type { ChangeBatch, PartitionTarget } from '../../spi/destination.ts';
import type { StoredPartition } from './offset-store.ts';
import type { StreamTable } from './stream-table.ts';
import type { RecordSlice } from './table-batch.ts';

/** One partition as this writer has left it. */
export class PartitionState {
  readonly target: PartitionTarget;
  readonly table: StreamTable;
  /** What the bookkeeping table says; null before the first batch. */
  stored: number | null;
  /** Everything below is durable; ahead of `stored` by batches without records. */
  position: number | null;
  /** What `stored` is if an attempt that failed has committed after all; see `settle`. */
  uncertain: number | null = null;

  /** Events below are in the table's state already: they are replayed. Null when none are. */
  private readonly replayUntil: number | null;

  /** `row` is what the bookkeeping says of the partition. */
  constructor(target: PartitionTarget, table: StreamTable, row: StoredPartition | undefined) {
    this.target = target;
    this.table = table;
    this.stored = row?.nextOffset ?? null;
    this.position = this.stored;
    this.replayUntil = row === undefined || row.isRebuild ? null : row.replayUntil;
  }

  isReplay(next: number): boolean {
    return this.replayUntil !== null && next <= this.replayUntil;
  }

  /** Whether any of it is replayed. */
  replays({ firstOffset }: ChangeBatch): boolean {
    return this.replayUntil !== null && firstOffset < this.replayUntil;
  }

  /** A batch in two where its replay ends in the middle of it. */
  split(batch: ChangeBatch): ChangeBatch[] {
    const end = this.replayUntil;
    if (end === null || batch.firstOffset >= end || batch.nextOffset <= end) return [batch];
    const { records } = batch;
    const at = records.offsets.subarray(0, records.count).findIndex((offset) => offset >= end);
    const middle = at === -1 ? records.count : at;
    return [
      { ...batch, nextOffset: end, records: partOf(records, 0, middle) },
      { ...batch, firstOffset: end, records: partOf(records, middle, records.count) },
    ];
  }

  /** The records of a batch that are not applied yet. Throws SNK_FENCED when it leaves a gap. */
  unapplied(batch: ChangeBatch): RecordSlice {
    const { position } = this;
    const { records } = batch;
    if (position === null) return { batch, from: 0, to: records.count };
    if (batch.firstOffset > position) {
      throw fenced(this.target, `a batch begins at ${batch.firstOffset}, after ${position}`);
    }
    let from = 0;
    while (from < records.count && (records.offsets[from] as number) < position) from++;
    return { batch, from, to: records.count };
  }

  /** True when the row shows that the commit with the lost answer has happened; SNK_FENCED when
   * somebody else moved it. */
  confirms(stored: number | null): boolean {
    if (stored === this.stored) return false;
    if (this.uncertain !== null && stored === this.uncertain) return true;
    throw fenced(this.target, `the stored offset is ${stored}, not ${this.stored}`);
  }

  /** Takes what the bookkeeping table says after a failed attempt. A batch is cut to what is not
   * applied only after this: the next one need not end where the failed one did. */
  settle(stored: number | null): void {
    if (this.confirms(stored)) this.advance(stored as number);
    this.uncertain = null;
  }

  advance(next: number): void {
    this.stored = next;
    this.position = next;
    this.uncertain = null;
  }
}

export function fenced({ topic, partition }: PartitionTarget, what: string): PipelineError {
  const message = `topic ${topic}, partition ${partition}: ${what}`;
  return new PipelineError('SNK_FENCED', message, { details: { topic, partition } });
}
