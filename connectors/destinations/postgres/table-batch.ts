import { PipelineError } from '../../../core/errors/pipeline-error.ts';
import type { RecordView } from '../../../schemas/envelope/record-view.ts';
import type { ChangeBatch, SchemaLookup } from '../../spi/destination.ts';
import { schemaIdAt } from '../../../schemas/envelope/record-view.ts';
import type { ChangePlan, KeyPlan } from './change-plan.ts';
import { compileKeyPlan, compilePlan } from './change-plan.ts';
import type { Statement } from './exchange.ts';
import type { MisfitCells } from './misfit-cells.ts';
import { stagingName } from './identifiers.ts';
import { metaColumnOf, stagingLayout, type TableLayout } from './table-layout.ts';

/** Below this many records a COPY costs more than it saves. */
export const COPY_FROM_RECORDS = 50;

/** Records [from, to) of one batch. */
export interface RecordSlice {
  readonly batch: ChangeBatch;
  readonly from: number;
  readonly to: number;
}

/** What a table's part of a transaction consists of. */
export interface TableStatements {
  readonly statements: readonly Statement[];
  /** Statements of these numbers answer how many rows they missed; none may. */
  readonly mustMissNone: readonly number[];
  /** May take long (a TRUNCATE of a large table): no limit of time applies. */
  readonly isLong: boolean;
}

export interface EncodeOptions {
  readonly softDeletes: boolean;
  readonly emittedAtMs: number;
  /** Values that become NULL, because their columns refuse them. */
  readonly misfits?: MisfitCells;
  /** The events are in the table's state: those whose rows are there already, or gone again, change
   * nothing. */
  readonly isReplay?: boolean;
  /** Part of a batch is tried alone, and rolled back. */
  readonly isProbe?: boolean;
}

/** A layout with everything that is compiled for it; replaced as a whole when the table changes. */
export class CompiledTable {
  readonly layout: TableLayout;
  /** Number of the column `_airbyte_meta`, or -1. */
  readonly metaColumn: number;
  private readonly schemas: SchemaLookup;
  private readonly plans: Map<number, ChangePlan>;
  private readonly keyPlans = new Map<number, KeyPlan>();
  private readonly texts = new Map<string, string>();
  private rebuilt: CompiledTable | null = null;

  constructor(layout: TableLayout, schemas: SchemaLookup, plans = new Map<number, ChangePlan>()) {
    this.layout = layout;
    this.metaColumn = metaColumnOf(layout);
    this.schemas = schemas;
    this.plans = plans;
  }

  /** The same for the table that a generation gathers in. */
  staging(): CompiledTable {
    return new CompiledTable(stagingLayout(this.layout), this.schemas, this.plans);
  }

  /** The same for the table that a rebuild fills. */
  rebuild(): CompiledTable {
    const { layout, schemas, plans } = this;
    const table = stagingName(layout.table);
    return (this.rebuilt ??= new CompiledTable({ ...layout, table }, schemas, plans));
  }

  /** False when the table must be changed before records of this schema fit. */
  accepts(schemaId: number): boolean {
    if (this.plans.has(schemaId)) return true;
    const schema = this.schemas.value(schemaId);
    if (schema === undefined) throw undecodable('a record names a schema that cannot be read');
    const plan = compilePlan(this.layout, schema);
    if (plan === null) return false;
    this.plans.set(schemaId, plan);
    return true;
  }

  /** The plan of the record at [start, end); `accepts` has been asked for its schema. */
  plan(bytes: Buffer, start: number, end: number): ChangePlan {
    const plan = this.plans.get(schemaIdAt(bytes, start, end));
    if (plan === undefined) throw undecodable('a record has no schema');
    return plan;
  }

  keyPlan(bytes: Buffer, start: number, end: number): KeyPlan {
    const id = schemaIdAt(bytes, start, end);
    const known = this.keyPlans.get(id);
    if (known !== undefined) return known;
    const schema = this.schemas.key(id);
    if (schema === undefined) throw undecodable("a record's key has no schema");
    const plan = compileKeyPlan(this.layout, schema);
    this.keyPlans.set(id, plan);
    return plan;
  }

  /** A statement's text, made once. */
  text(name: string, make: (layout: TableLayout) => string): string {
    let text = this.texts.get(name);
    if (text === undefined) {
      text = make(this.layout);
      this.texts.set(name, text);
    }
    return text;
  }
}

function undecodable(message: string): PipelineError {
  return new PipelineError('EVT_UNDECODABLE', message);
}

/** Adds to an error of one record where that record is. */
export function located(error: unknown, slice: RecordSlice, index: number): unknown {
  if (!(error instanceof PipelineError)) return error;
  const { target, records } = slice.batch;
  return recordError(error, target, records, index);
}

export function recordError(
  error: PipelineError,
  target: ChangeBatch['target'],
  records: RecordView,
  index: number,
): PipelineError {
  const { topic, partition } = target;
  const offset = records.offsets[index] as number;
  const message = `${error.message} (topic ${topic}, partition ${partition}, offset ${offset})`;
  return new PipelineError(error.code, message, {
    details: { ...error.details, topic, partition, offset },
  });
}
