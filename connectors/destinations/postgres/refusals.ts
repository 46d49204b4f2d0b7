import type { PipelineError } from '../../../core/errors/pipeline-error.ts';
import type { SchemaLookup } from '../../spi/destination.ts';
import { classify } from './errors.ts';
import { MisfitCells } from './misfit-cells.ts';
import { findMisfits, locateRefused, type RefusedBatch } from './refused-value.ts';
import type { Sessions, TransactionLimits } from './sessions.ts';
import type { PreparedBatch, StreamTable } from './stream-table.ts';
import type { EncodeOptions } from './table-batch.ts';
import type { TablePart } from './table-part.ts';

export interface RefusalsOptions {
  readonly sessions: Sessions;
  readonly schemas: SchemaLookup;
  readonly limits: TransactionLimits;
  /** A value that does not fit is never NULL instead. */
  readonly stopsAtMisfits: boolean;
  /** Runs work again while what stops it passes by itself. */
  retrying<T>(table: StreamTable, work: () => Promise<T>): Promise<T>;
}

/** What becomes of a table's part of a batch that the server refused. */
export class Refusals {
  private readonly options: RefusalsOptions;

  constructor(options: RefusalsOptions) {
    this.options = options;
  }

  /** Finds the values that do not fit, once per batch, and makes room for the record of them. Columns
   * that somebody narrowed are as wide as the source's again before that. False where the batch stays
   * refused. */
  async madeToFit({ code }: PipelineError, part: TablePart, how: EncodeOptions): Promise<boolean> {
    const { sessions, limits, stopsAtMisfits, retrying } = this.options;
    const { table } = part;
    if (code !== 'DST_VALUE' || stopsAtMisfits || part.misfits !== null) return false;
    const misfits = new MisfitCells();
    await retrying(table, async () => {
      await table.verify();
      await part.prepare(how);
      await findMisfits(sessions, this.batchOf(part, how), limits, misfits);
    });
    if (misfits.counts.size > 0) {
      if (!(await retrying(table, () => table.recordChanges()))) return false;
      await retrying(table, () => part.prepare(how));
    }
    part.misfits = misfits;
    return true;
  }

  /** Finds out more: which value it was, or what happened to the table. */
  async explained(
    error: PipelineError,
    part: TablePart,
    how: EncodeOptions,
  ): Promise<PipelineError> {
    const { sessions, limits } = this.options;
    const { table } = part;
    try {
      if (error.code === 'DST_VALUE' && error.details['column'] === undefined) {
        return await locateRefused(sessions, this.batchOf(part, how), limits, error);
      }
      if (error.code === 'DST_TABLE_CHANGED') await table.verify();
    } catch (better) {
      return classify(better, `stream ${table.stream}`, table.stream);
    }
    return error;
  }

  private batchOf({ table, prepared, slices, isReplay }: TablePart, how: EncodeOptions) {
    const batch: RefusedBatch = {
      stream: table.stream,
      prepared: prepared as PreparedBatch,
      slices,
      options: { ...how, isReplay },
      schemas: this.options.schemas,
    };
    return batch;
  }
}
