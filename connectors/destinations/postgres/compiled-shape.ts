import { PipelineError } from '../../../core/errors/pipeline-error.ts';
import type { ChangeSchema, KeySchema } from '../../../schemas/envelope/change-decoder.ts';
import { schemaIdAt } from '../../../schemas/envelope/record-view.ts';
import type { Column } from '../../../schemas/envelope/stream-schema.ts';
import { pathKey } from '../../../schemas/normalize/flatten.ts';
import type { Shape, TableShape } from '../../../schemas/normalize/shape.ts';
import type { SchemaLookup } from '../../spi/destination.ts';
import { airbyteEncoder, isDocument } from './airbyte-types.ts';
import type { CellEncoder } from './cell-encoder.ts';
import { absentEncoder, encoderFor } from './change-plan.ts';
import { stagingName } from './identifiers.ts';
import type { InitialValues } from './initial-values.ts';
import {
  normalizedTables,
  type NormalizedNames,
  type NormalizedTables,
} from './normalized-layout.ts';
import { CompiledTable } from './table-batch.ts';
import type { TableColumn, TableLayout, TableName } from './table-layout.ts';

/** How one schema's cells go into the flat table. */
export interface FlatPlan {
  readonly schema: ChangeSchema;
  /** For each field: the cell that fills it, or -1 for one that a document fills, or nothing: the
   * encoder then writes what rows of the time before the column have. */
  readonly cellOf: Int32Array;
  readonly encoders: readonly CellEncoder[];
}

export interface FlatKeyPlan {
  readonly schema: KeySchema;
  readonly cellOf: readonly number[];
  readonly encoders: readonly CellEncoder[];
}

/** A stream's tables with everything that is compiled for them; replaced as a whole when they change. */
export class CompiledShape {
  readonly shape: Shape;
  readonly names: NormalizedNames;
  /** As they are made and listed. */
  readonly tables: NormalizedTables;
  readonly flat: TableLayout;
  readonly raw: CompiledTable;
  readonly history: TableLayout | null;
  readonly children: readonly TableLayout[];
  /** How many columns of the flat table are in front of its fields. */
  readonly leading: number;
  private readonly name: TableName;
  private readonly initials: InitialValues;
  private readonly schemas: SchemaLookup;
  private readonly plans = new Map<number, FlatPlan>();
  private readonly keyPlans = new Map<number, FlatKeyPlan>();
  private readonly texts = new Map<string, string>();

  constructor(
    name: TableName,
    names: NormalizedNames,
    shape: Shape,
    schemas: SchemaLookup,
    initials: InitialValues,
  ) {
    this.name = name;
    this.names = names;
    this.initials = initials;
    this.shape = shape;
    this.schemas = schemas;
    this.tables = normalizedTables(name, names, shape, initials);
    const { flat, raw, history, children } = this.tables;
    this.flat = flat;
    this.raw = new CompiledTable(raw, schemas);
    this.history = history;
    this.children = children;
    this.leading = flat.sourceColumns - (shape[0] as TableShape).fields.length;
  }

  /** The same for the tables that a generation gathers in. */
  staging(): CompiledShape {
    const { name, names, shape, schemas, initials } = this;
    const { raw, history } = names;
    const staged = { ...name, table: stagingName(name.table) };
    const stagedNames = {
      ...names,
      raw: { ...raw, table: stagingName(raw.table) },
      history: history === null ? null : stagingName(history),
    };
    const tables = shape.map((table) => ({ ...table, name: stagingName(table.name) }));
    return new CompiledShape(staged, stagedNames, tables, schemas, initials);
  }

  plan(bytes: Buffer, start: number, end: number): FlatPlan {
    const id = schemaIdAt(bytes, start, end);
    let plan = this.plans.get(id);
    if (plan === undefined) {
      const schema = this.schemas.value(id);
      if (schema === undefined) throw undecodable();
      this.plans.set(id, (plan = this.compile(schema)));
    }
    return plan;
  }

  keyPlan(bytes: Buffer, start: number, end: number): FlatKeyPlan {
    const id = schemaIdAt(bytes, start, end);
    let plan = this.keyPlans.get(id);
    if (plan === undefined) {
      const schema = this.schemas.key(id);
      if (schema === undefined) throw undecodable();
      this.keyPlans.set(id, (plan = this.compileKey(schema)));
    }
    return plan;
  }

  /** A statement's text, made once. */
  text(name: string, make: () => string): string {
    let text = this.texts.get(name);
    if (text === undefined) this.texts.set(name, (text = make()));
    return text;
  }

  private compile(schema: ChangeSchema): FlatPlan {
    const { fields } = this.shape[0] as TableShape;
    const cells = new Map(schema.columns.map(({ name }, cell) => [pathKey([name]), cell]));
    const cellOf = new Int32Array(fields.length).fill(-1);
    const encoders = fields.map(({ path }, index): CellEncoder => {
      const at = this.leading + index;
      const cell = cells.get(pathKey(path));
      if (cell === undefined) return this.absentEncoder(this.flat.columns[at] as TableColumn);
      const column = schema.columns[cell] as Column;
      if (isDocument(column.type, this.names.rules)) return (out) => out.null();
      cellOf[index] = cell;
      return this.encoder(at, column);
    });
    return { schema, cellOf, encoders };
  }

  private encoder(at: number, column: Column): CellEncoder {
    const { flat, names } = this;
    if (names.rules === 'basic') return encoderFor(flat, at, column);
    const { name, ddl, form } = flat.columns[at] as TableColumn;
    const encoder = airbyteEncoder(column.type, form);
    if (encoder !== null) return encoder;
    const { stream } = flat;
    throw new PipelineError(
      'DST_SCHEMA_INCOMPATIBLE',
      `stream ${stream}: column "${name}" of type ${ddl} cannot hold ${column.type.kind}`,
      { details: { stream, column: name, to: column.type.kind } },
    );
  }

  private absentEncoder(column: TableColumn): CellEncoder {
    const { flat, names } = this;
    const encode = names.rules === 'basic' ? undefined : airbyteEncoder;
    return absentEncoder(flat, column, encode);
  }

  private compileKey(schema: KeySchema): FlatKeyPlan {
    const { primaryKey, stream } = this.name;
    const cellOf = primaryKey.map((key) => schema.columns.findIndex(({ name }) => name === key));
    if (cellOf.includes(-1) || schema.columns.length !== cellOf.length) {
      const message = `stream ${stream}: the records' key is not (${primaryKey.join(', ')})`;
      throw new PipelineError('DST_KEY_MISMATCH', message, { details: { stream } });
    }
    const encoders = this.flat.keys.map((index, i) =>
      this.encoder(index, schema.columns[cellOf[i] as number] as Column),
    );
    return { schema, cellOf, encoders };
  }
}

function undecodable(): PipelineError {
  return new PipelineError('EVT_UNDECODABLE', 'a record names a schema that cannot be read');
}
