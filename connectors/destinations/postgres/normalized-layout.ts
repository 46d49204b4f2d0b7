import { PipelineError } from '../../../core/errors/pipeline-error.ts';
import type { ChangeSchema, KeySchema } from '../../../schemas/envelope/change-decoder.ts';
import { schemaIdAt } from '../../../schemas/envelope/record-view.ts';
import { pathKey } from '../../../schemas/normalize/flatten.ts';
import type { Shape, TableShape } from '../../../schemas/normalize/shape.ts';
import type { SchemaLookup } from '../../spi/destination.ts';
import type { CellEncoder } from './cell-encoder.ts';
import { absentEncoder, encoderFor } from './change-plan.ts';
import { typeOfSpelling } from './column-type.ts';
import { METADATA_COLUMNS, stagingName, SYSTEM_COLUMNS } from './identifiers.ts';
import type { InitialValues } from './initial-values.ts';
import { CompiledTable } from './table-batch.ts';
import {
  layoutOf,
  metadataColumns,
  type TableColumn,
  type TableLayout,
  type TableName,
} from './table-layout.ts';

/** Behind the columns that every flat row has, and in front of what tells a child row's place. */
const NORMALIZED_AT = column('_airbyte_normalized_at', 'timestamp with time zone');
const POSITION = column('_headrace_position', 'integer');

/** Names that no field of a document may take, in lower case. */
export const RESERVED_FIELDS: ReadonlySet<string> = new Set([
  ...METADATA_COLUMNS,
  ...SYSTEM_COLUMNS,
  NORMALIZED_AT.name,
  POSITION.name,
]);

function column(name: string, ddl: string): TableColumn {
  return { name, ...typeOfSpelling(ddl) };
}

function fieldColumns({ fields }: TableShape, initials?: InitialValues): TableColumn[] {
  return fields.map((field) => {
    const initial = initials?.ofColumn(field.path);
    const known = initial === undefined ? {} : { initial };
    return { ...column(field.column, field.type), ...known };
  });
}

/** Fields, metadata, `_airbyte_normalized_at`, hash id. */
export function flatLayout(
  name: TableName,
  shape: TableShape,
  initials: InitialValues,
): TableLayout {
  const source = fieldColumns(shape, initials);
  const keys =
    name.mode === 'append_dedup' ? name.primaryKey.map((key) => keyField(name, shape, key)) : [];
  const { schema, table, mode, stream } = name;
  const own = [NORMALIZED_AT, column(shape.hashColumn, 'text')];
  const columns = [...source, ...metadataColumns(mode), ...own];
  return { schema, table, mode, stream, columns, sourceColumns: source.length, keys };
}

function keyField({ stream }: TableName, { fields }: TableShape, key: string): number {
  const wanted = pathKey([key]);
  const index = fields.findIndex(({ path }) => pathKey(path) === wanted);
  if (index !== -1) return index;
  throw new PipelineError(
    'DST_KEY_MISMATCH',
    `stream ${stream}: key column "${key}" does not exist`,
    {
      details: { stream },
    },
  );
}

/** The parent's hash id, fields, `_airbyte_ab_id` of the event, times, own hash id, position. */
export function childLayout({ schema, stream }: TableName, shape: TableShape): TableLayout {
  const columns = [
    column(shape.parentHashColumn as string, 'text'),
    ...fieldColumns(shape),
    ...metadataColumns('append').slice(0, 2),
    NORMALIZED_AT,
    column(shape.hashColumn, 'text'),
    POSITION,
  ];
  const sourceColumns = shape.fields.length + 1;
  return { schema, table: shape.name, mode: 'append', stream, columns, sourceColumns, keys: [] };
}

export function rawLayout(name: TableName, table: string): TableLayout {
  return layoutOf({ ...name, table, mode: 'raw' }, []);
}

/** All tables of a stream, the flat one first. */
export function liveLayouts(
  name: TableName,
  raw: string,
  shape: Shape,
  initials: InitialValues,
): TableLayout[] {
  const [flat, ...children] = shape;
  return [
    flatLayout(name, flat as TableShape, initials),
    rawLayout(name, raw),
    ...children.map((table) => childLayout(name, table)),
  ];
}

/** How one schema's cells go into the flat table. */
export interface FlatPlan {
  readonly schema: ChangeSchema;
  /** For each field: the cell that fills it, or -1 for one that a document fills, or nothing: the
   * encoder then writes what rows of the time before the column have. */
  readonly cellOf: Int32Array;
  readonly encoders: readonly CellEncoder[];
  /** Cells that hold documents. */
  readonly documents: readonly number[];
}

export interface FlatKeyPlan {
  readonly schema: KeySchema;
  readonly cellOf: readonly number[];
  readonly encoders: readonly CellEncoder[];
}

/** A stream's tables with everything that is compiled for them; replaced as a whole when they change. */
export class CompiledShape {
  readonly shape: Shape;
  readonly raw: CompiledTable;
  readonly flat: TableLayout;
  readonly children: readonly TableLayout[];
  private readonly name: TableName;
  private readonly rawName: string;
  private readonly initials: InitialValues;
  private readonly schemas: SchemaLookup;
  private readonly plans = new Map<number, FlatPlan>();
  private readonly keyPlans = new Map<number, FlatKeyPlan>();
  private readonly texts = new Map<string, string>();

  constructor(
    name: TableName,
    raw: string,
    shape: Shape,
    schemas: SchemaLookup,
    initials: InitialValues,
  ) {
    this.name = name;
    this.initials = initials;
    this.shape = shape;
    this.schemas = schemas;
    this.rawName = raw;
    this.raw = new CompiledTable(rawLayout(name, raw), schemas);
    this.flat = flatLayout(name, shape[0] as TableShape, initials);
    this.children = shape.slice(1).map((table) => childLayout(name, table));
  }

  /** The same for the tables that a generation gathers in. */
  staging(): CompiledShape {
    const { name, rawName, shape, schemas, initials } = this;
    const staged = { ...name, table: stagingName(name.table) };
    const tables = shape.map((table) => ({ ...table, name: stagingName(table.name) }));
    return new CompiledShape(staged, stagingName(rawName), tables, schemas, initials);
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
    const isDocument = (cell: number) => schema.columns[cell]?.type.kind === 'json';
    const cellOf = new Int32Array(fields.length).fill(-1);
    const encoders = fields.map(({ path }, index): CellEncoder => {
      const cell = cells.get(pathKey(path));
      if (cell === undefined) {
        return absentEncoder(this.flat, this.flat.columns[index] as TableColumn);
      }
      if (isDocument(cell)) return (out) => out.null();
      cellOf[index] = cell;
      return encoderFor(this.flat, index, schema.columns[cell] as ChangeSchema['columns'][number]);
    });
    const documents = schema.columns.flatMap((_, cell) => (isDocument(cell) ? [cell] : []));
    return { schema, cellOf, encoders, documents };
  }

  private compileKey(schema: KeySchema): FlatKeyPlan {
    const { primaryKey, stream } = this.name;
    const cellOf = primaryKey.map((key) => schema.columns.findIndex(({ name }) => name === key));
    if (cellOf.includes(-1) || schema.columns.length !== cellOf.length) {
      const message = `stream ${stream}: the records' key is not (${primaryKey.join(', ')})`;
      throw new PipelineError('DST_KEY_MISMATCH', message, { details: { stream } });
    }
    const encoders = this.flat.keys.map((index, i) =>
      encoderFor(
        this.flat,
        index,
        schema.columns[cellOf[i] as number] as KeySchema['columns'][number],
      ),
    );
    return { schema, cellOf, encoders };
  }
}

function undecodable(): PipelineError {
  return new PipelineError('EVT_UNDECODABLE', 'a record names a schema that cannot be read');
}
