import type { ChangeBatch } from '../../spi/destination.ts';
import type { CompiledTable, EncodeOptions, RecordSlice, TableStatements } from './table-batch.ts';

interface Ahead {
  readonly compiled: CompiledTable;
  readonly slices: readonly RecordSlice[];
  readonly softDeletes: boolean;
  readonly statements: TableStatements;
}

/**
 * Statements that were made while the server worked on those before, so that neither waits for the
 * other. They are used for exactly the records and the table that they were made for, and made again for
 * any other.
 */
export class EncodedAhead {
  /** By the first batch; what is never asked for goes with it. */
  private readonly byBatch = new WeakMap<ChangeBatch, Ahead>();

  /** A record that cannot be encoded is told of when its turn comes. */
  add(
    compiled: CompiledTable,
    slices: readonly RecordSlice[],
    { softDeletes }: EncodeOptions,
    encode: () => TableStatements,
  ): void {
    const first = slices[0];
    if (first === undefined || this.byBatch.has(first.batch)) return;
    try {
      this.byBatch.set(first.batch, { compiled, slices, softDeletes, statements: encode() });
    } catch {
      return;
    }
  }

  take(
    compiled: CompiledTable,
    slices: readonly RecordSlice[],
    options: EncodeOptions,
  ): TableStatements | null {
    const first = slices[0];
    const ahead = first === undefined ? undefined : this.byBatch.get(first.batch);
    if (first === undefined || ahead === undefined) return null;
    this.byBatch.delete(first.batch);
    const fits =
      ahead.compiled === compiled &&
      ahead.softDeletes === options.softDeletes &&
      options.misfits === undefined &&
      options.isReplay !== true &&
      options.isProbe !== true &&
      sameRecords(ahead.slices, slices);
    return fits ? ahead.statements : null;
  }
}

function sameRecords(a: readonly RecordSlice[], b: readonly RecordSlice[]): boolean {
  return (
    a.length === b.length &&
    a.every(({ batch, from, to }, i) => {
      const other = b[i] as RecordSlice;
      return batch === other.batch && from === other.from && to === other.to;
    })
  );
}
