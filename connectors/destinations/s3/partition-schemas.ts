import { PipelineError } from '../../../core/errors/pipeline-error.ts';
import type { ChangeSchema } from '../../../schemas/envelope/change-decoder.ts';
import type { ChangeBatch, PartitionTarget, SchemaLookup } from '../../spi/destination.ts';
import { withColumns, type FileColumn } from './file-columns.ts';
import { indexAtOffset, schemaIdsOf } from './record-run.ts';

/** The schemas that a partition's records were met with, and the columns of all of them. */
export class PartitionSchemas {
  columns: readonly FileColumn[] = [];
  private readonly target: PartitionTarget;
  private readonly lookup: SchemaLookup;
  private readonly met = new Map<number, ChangeSchema>();

  constructor(target: PartitionTarget, lookup: SchemaLookup) {
    this.target = target;
    this.lookup = lookup;
  }

  known(): Iterable<ChangeSchema> {
    return this.met.values();
  }

  schema(id: number): ChangeSchema | undefined {
    return this.met.get(id);
  }

  /** Makes sure that a batch can be taken from `next` on: no gap, no schema that is not known and fits. */
  async prepare(batch: ChangeBatch, next: number | null): Promise<void> {
    const { topic, partition } = this.target;
    if (next !== null && batch.firstOffset > next) {
      throw new PipelineError('SNK_FENCED', `partition ${topic}-${partition} would get a gap`, {
        details: { expected: next, found: batch.firstOffset },
      });
    }
    const from = indexAtOffset(batch.records, next ?? batch.firstOffset);
    for (const id of schemaIdsOf(batch.records, from)) {
      if (this.met.has(id)) continue;
      if (id === -1) {
        throw this.undecodable('does not begin with the header of a registered schema');
      }
      if (this.lookup.value(id) === undefined) await this.lookup.load(id);
      const schema = this.lookup.value(id);
      if (schema === undefined)
        throw this.undecodable(`names schema ${id}, which is not registered`);
      this.add(schema);
    }
  }

  /** The newest schema that the topic has now, if it has one. */
  async loadLatest(): Promise<void> {
    const latest = await this.lookup.latest(this.target.topic);
    if (latest !== null) this.add(latest.value);
  }

  /** The files have these columns now: their names stand, and what was met since comes behind. */
  goOnFrom(columns: readonly FileColumn[]): void {
    this.columns = columns;
    for (const schema of this.met.values())
      this.columns = withColumns(this.columns, schema.columns);
  }

  private add(schema: ChangeSchema): void {
    this.columns = withColumns(this.columns, schema.columns);
    this.met.set(schema.id, schema);
  }

  private undecodable(what: string): PipelineError {
    const { topic, partition } = this.target;
    return new PipelineError(
      'EVT_UNDECODABLE',
      `a record of partition ${topic}-${partition} ${what}`,
    );
  }
}
