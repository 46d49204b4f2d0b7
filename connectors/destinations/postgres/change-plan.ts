import { PipelineError } from '../../../core/errors/pipeline-error.ts';
import type { ChangeSchema, KeySchema } from '../../../schemas/envelope/change-decoder.ts';
import { KIND_IN_AVRO, type ColumnType } from '../../../schemas/values/column-type.ts';
import { cellEncoder, type CellEncoder } from './cell-encoder.ts';
import type { StagedForm } from './column-type.ts';
import { columnName } from './identifiers.ts';
import {
  changesFor,
  columnsOfSchema,
  showsRows,
  type TableColumn,
  type TableLayout,
} from './table-layout.ts';

/** How cells of one schema go into one layout; compiled once per pair. */
export interface ChangePlan {
  readonly schema: ChangeSchema;
  /** For each source column of the layout: its index in the schema, -1 where the schema has none; the
   * encoder then writes what such rows have in it. */
  readonly cellOf: Int32Array;
  readonly encoders: readonly CellEncoder[];
}

const nothing: CellEncoder = (out) => out.null();

/** Events of the time before a column: NULL, or what the source put into the rows that were there. */
export function absentEncoder(
  layout: Pick<TableLayout, 'mode'>,
  { form, initial }: TableColumn,
  encoderOf: (type: ColumnType, form: StagedForm) => CellEncoder | null = (type) =>
    cellEncoder(type.kind, form),
): CellEncoder {
  if (initial === undefined || !showsRows(layout.mode)) return nothing;
  const encode = encoderOf(initial, form);
  if (encode === null) return nothing;
  const cell = Buffer.from(initial.avro, 'base64');
  const { primitive } = KIND_IN_AVRO[initial.kind];
  const isSized = primitive === 'string' || primitive === 'bytes';
  const start = isSized ? lengthBytes(cell) : 0;
  return (out) => encode(out, cell, start, cell.length);
}

/** Bytes of the length in front of an Avro string. */
function lengthBytes(cell: Buffer): number {
  let count = 0;
  while (((cell[count++] as number) & 0x80) !== 0);
  return count;
}

/** Null when the table has to be changed before rows of this schema fit. */
export function compilePlan(layout: TableLayout, schema: ChangeSchema): ChangePlan | null {
  // One document takes any schema.
  if (layout.mode === 'raw') return { schema, cellOf: new Int32Array(0), encoders: [] };
  const wanted = columnsOfSchema(schema, layout.stream);
  const source = layout.columns.slice(0, layout.sourceColumns);
  if (changesFor(source, wanted, layout.stream).length > 0) return null;
  if (layout.mode === 'append_dedup') checkKey(layout, schema);
  const cellOf = new Int32Array(source.length).fill(-1);
  const encoders = source.map((column, index) => {
    const cell = wanted.findIndex(({ name }) => name === column.name);
    cellOf[index] = cell;
    if (cell === -1) return absentEncoder(layout, column);
    return encoderFor(layout, index, schema.columns[cell] as ChangeSchema['columns'][number]);
  });
  return { schema, cellOf, encoders };
}

/** The record's key decides what is one row; a table keyed otherwise would mix or split rows. */
function checkKey(layout: TableLayout, schema: ChangeSchema): void {
  const recordKey = schema.columns.filter((c) => c.inKey).map((c) => columnName(c.name));
  const tableKey = layout.keys.map((index) => layout.columns[index]?.name);
  if (recordKey.length === tableKey.length && recordKey.every((k) => tableKey.includes(k))) return;
  const { stream } = layout;
  throw new PipelineError(
    'DST_KEY_MISMATCH',
    `stream ${stream}: the table's key is (${tableKey.join(', ')}), the records' key is (${recordKey.join(', ')})`,
    { details: { stream } },
  );
}

/** Throws DST_SCHEMA_INCOMPATIBLE when the column cannot hold the cell exactly. */
export function encoderFor(
  layout: TableLayout,
  index: number,
  cell: ChangeSchema['columns'][number],
): CellEncoder {
  const column = layout.columns[index] as TableLayout['columns'][number];
  const encoder = cellEncoder(cell.type.kind, column.form);
  if (encoder !== null) return encoder;
  const { stream } = layout;
  throw new PipelineError(
    'DST_SCHEMA_INCOMPATIBLE',
    `stream ${stream}: column "${column.name}" of type ${column.ddl} cannot hold ${cell.type.kind} exactly`,
    { details: { stream, column: column.name, to: cell.type.kind } },
  );
}

/** How a record's key becomes the key's columns, in the table's order. */
export interface KeyPlan {
  readonly schema: KeySchema;
  readonly cellOf: readonly number[];
  readonly encoders: readonly CellEncoder[];
}

export function compileKeyPlan(layout: TableLayout, schema: KeySchema): KeyPlan {
  const names = schema.columns.map((column) => columnName(column.name));
  const cellOf = layout.keys.map((index) => names.indexOf(layout.columns[index]?.name as string));
  if (cellOf.includes(-1) || names.length !== cellOf.length) {
    const { stream } = layout;
    const message = `stream ${stream}: the records' key is (${names.join(', ')}), not the table's`;
    throw new PipelineError('DST_KEY_MISMATCH', message, { details: { stream } });
  }
  const encoders = layout.keys.map((index, i) =>
    encoderFor(layout, index, schema.columns[cellOf[i] as number] as KeySchema['columns'][number]),
  );
  return { schema, cellOf, encoders };
}
