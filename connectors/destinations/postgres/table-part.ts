import { PipelineError } from '../../../core/errors/pipeline-error.ts';
import type { SchemaLookup } from '../../spi/destination.ts';
import { collectSchemaIds } from './open-table.ts';
import type { MisfitCells } from './misfit-cells.ts';
import type { PreparedBatch, StreamTable } from './stream-table.ts';
import type { EncodeOptions, RecordSlice, TableStatements } from './table-batch.ts';

/** One table's part of a `write` call. */
export class TablePart {
  readonly table: StreamTable;
  readonly slices: RecordSlice[] = [];
  /** Of the schemas of the records' values. */
  readonly valueIds = new Set<number>();
  prepared: PreparedBatch | null = null;
  isReplay = false;
  /** Values that become NULL; null as long as none was refused. */
  misfits: MisfitCells | null = null;

  constructor(table: StreamTable) {
    this.table = table;
  }

  /** Takes the records, and loads the schemas that they name. */
  async add(slice: RecordSlice, schemas: SchemaLookup): Promise<void> {
    const keyIds = new Set<number>();
    collectSchemaIds(slice.batch, this.valueIds, keyIds);
    this.slices.push(slice);
    for (const id of this.valueIds) if (schemas.value(id) === undefined) await schemas.load(id);
    for (const id of keyIds) if (schemas.key(id) === undefined) await schemas.load(id);
  }

  async prepare(options: EncodeOptions): Promise<void> {
    const { table, valueIds, slices, isReplay } = this;
    this.prepared = await table.prepare(valueIds, slices, { ...options, isReplay });
  }

  /** After it was prepared. */
  encode(options: EncodeOptions): TableStatements {
    const { prepared, slices, isReplay, table, misfits } = this;
    const how = misfits === null ? { isReplay } : { isReplay, misfits };
    try {
      return (prepared as PreparedBatch).encode(slices, { ...options, ...how });
    } catch (error) {
      if (!(error instanceof PipelineError)) throw error;
      const details = { ...error.details, stream: table.stream };
      const named = error.message.startsWith('stream ') ? '' : `stream ${table.stream}: `;
      throw new PipelineError(error.code, `${named}${error.message}`, { details });
    }
  }
}
