import type { OwnedTable } from './owned-table.ts';
import type { Registration } from './registration.ts';
import type { Prepared } from './table-owner.ts';
import type { EncodeOptions, RecordSlice, TableStatements } from './table-batch.ts';
import type { TableLayout } from './table-layout.ts';

/** Records that the tables are ready for. */
export interface PreparedBatch {
  readonly layout: TableLayout;
  /** The statements of some of the records that were prepared; may be asked again. */
  encode(slices: readonly RecordSlice[], options: EncodeOptions): TableStatements;
}

/** What one stream becomes in the target, in the hands of one writer. */
export interface StreamTable {
  /** The table that the bookkeeping identifies. */
  readonly owned: OwnedTable;
  /** For messages: `namespace.name`. */
  readonly stream: string;
  /** False while no schema is known, so that there is no table. */
  readonly exists: boolean;
  /** Rows go to tables beside the live ones. */
  readonly isRebuilding: boolean;
  /** Registers a partition, after comparing the tables with the bookkeeping, and begins to replay it
   * if that is ordered. */
  register(registration: Registration): Promise<Prepared>;
  /** Puts what was rebuilt in the place of the live rows, if it has come that far. */
  finishRebuild(): Promise<void>;
  /** Brings the tables to where these records fit; `schemaIds` are those of their values. */
  prepare(
    schemaIds: ReadonlySet<number>,
    slices: readonly RecordSlice[],
    options: EncodeOptions,
  ): Promise<PreparedBatch>;
  /** Encodes records that will be prepared next, if the tables are ready for them as they are. */
  encodeAhead?(slices: readonly RecordSlice[], options: EncodeOptions): void;
  /** Makes room for the record of what became of fields, in `_airbyte_meta`; false where a column of
   * the source has that name. Batches are prepared anew afterwards. */
  recordChanges(): Promise<boolean>;
  /** Compares the tables with the bookkeeping again: throws the code of what happened to them. */
  verify(): Promise<Prepared>;
}
