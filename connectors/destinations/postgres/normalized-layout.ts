import { PipelineError } from '../../../core/errors/pipeline-error.ts';
import { pathKey } from '../../../schemas/normalize/flatten.ts';
import type { Rules } from '../../../schemas/normalize/rules.ts';
import type { Shape, TableShape } from '../../../schemas/normalize/shape.ts';
import { typeOfSpelling } from './column-type.ts';
import { historyLayout } from './history-layout.ts';
import { METADATA_COLUMNS, SYSTEM_COLUMNS } from './identifiers.ts';
import type { InitialValues } from './initial-values.ts';
import type { QualifiedTable } from './stream-tables.ts';
import {
  layoutOf,
  metadataColumns,
  V2_NAMES,
  withMeta,
  type TableColumn,
  type TableLayout,
  type TableMode,
  type TableName,
} from './table-layout.ts';

/** Behind the columns that every flat row has, and in front of what tells a child row's place. */
const NORMALIZED_AT = column('_airbyte_normalized_at', 'timestamp with time zone');
const POSITION = column('_headrace_position', 'integer');
const UNIQUE_KEY = column('_airbyte_unique_key', 'text');

const V2_EVENT = [
  column(V2_NAMES.id, 'character varying'),
  column(V2_NAMES.extractedAt, 'timestamp with time zone'),
];
const V2_ROW = [column(V2_NAMES.meta, 'jsonb'), column(V2_NAMES.generation, 'bigint')];
const V2_DOCUMENT = [
  column('_airbyte_loaded_at', 'timestamp with time zone'),
  column('_airbyte_data', 'jsonb'),
];

/** Names that no field of a document may take, in lower case. */
export const RESERVED_FIELDS: ReadonlySet<string> = new Set([
  ...METADATA_COLUMNS,
  ...SYSTEM_COLUMNS,
  ...[NORMALIZED_AT, POSITION, UNIQUE_KEY, ...V2_EVENT, ...V2_ROW].map(({ name }) => name),
]);

/** What decides about a stream's tables beside the flat table's own name. */
export interface NormalizedNames {
  readonly rules: Rules;
  readonly raw: QualifiedTable;
  /** The table of the versions of rows, beside the flat one; null where none are kept. */
  readonly history: string | null;
  /** Flat and raw tables say what became of fields; by the v2 rules they always do. */
  readonly recordsChanges: boolean;
  /** The stream's name as the connection lands it, before it is made a table's. */
  readonly stream: string;
}

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

/** Columns in front of the fields. */
function leadingColumns(rules: Rules, mode: TableMode): TableColumn[] {
  if (rules === 'v2') return [...V2_EVENT, ...V2_ROW];
  return rules === 'classic' && mode === 'append_dedup' ? [UNIQUE_KEY] : [];
}

/** Columns behind the fields: Airbyte's, in its order, then those that only we have. */
function trailingColumns(rules: Rules, mode: TableMode, hashColumn: string): TableColumn[] {
  const metadata = metadataColumns(mode);
  const own = [NORMALIZED_AT, column(hashColumn, 'text')];
  if (rules === 'basic') return [...metadata, ...own];
  const [event, cdc, place] = [metadata.slice(0, 2), metadata.slice(2, 5), metadata.slice(5)];
  return rules === 'v2' ? [...cdc, ...place] : [...cdc, ...event, ...own, ...place];
}

/** The stream's own table: one row per change, per key or per row of the last copy. */
export function flatLayout(
  name: TableName,
  { rules, recordsChanges }: Pick<NormalizedNames, 'rules' | 'recordsChanges'>,
  shape: TableShape,
  initials: InitialValues,
): TableLayout {
  const { schema, table, mode, stream } = name;
  const source = [...leadingColumns(rules, mode), ...fieldColumns(shape, initials)];
  const columns = [...source, ...trailingColumns(rules, mode, shape.hashColumn)];
  const keys = mode === 'append_dedup' ? keyFields(name, shape, columns) : [];
  const layout = { schema, table, mode, stream, columns, sourceColumns: source.length, keys };
  return recordsChanges && rules !== 'v2' ? withMeta(layout) : layout;
}

/** Indexes of the key's columns among `columns`. */
function keyFields(
  { stream, primaryKey }: TableName,
  { fields }: TableShape,
  columns: readonly TableColumn[],
): number[] {
  return primaryKey.map((key) => {
    const wanted = pathKey([key]);
    const field = fields.find(({ path }) => pathKey(path) === wanted);
    if (field !== undefined) return columns.findIndex(({ name }) => name === field.column);
    const message = `stream ${stream}: key column "${key}" does not exist`;
    throw new PipelineError('DST_KEY_MISMATCH', message, { details: { stream } });
  });
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

export function rawLayout(
  name: TableName,
  { rules, raw, recordsChanges }: NormalizedNames,
): TableLayout {
  const named: TableName = { ...name, ...raw, mode: 'raw' };
  if (rules !== 'v2') {
    const layout = layoutOf(named, []);
    return recordsChanges ? withMeta(layout) : layout;
  }
  const columns = [...V2_EVENT, ...V2_DOCUMENT, ...V2_ROW];
  return { ...raw, mode: 'raw', stream: name.stream, columns, sourceColumns: 0, keys: [0] };
}

/** All tables of a stream as they are live. */
export interface NormalizedTables {
  readonly flat: TableLayout;
  readonly raw: TableLayout;
  readonly history: TableLayout | null;
  readonly children: readonly TableLayout[];
}

export function normalizedTables(
  name: TableName,
  names: NormalizedNames,
  [own, ...children]: Shape,
  initials: InitialValues,
): NormalizedTables {
  const { history } = names;
  const shape = own as TableShape;
  const flat = flatLayout(name, names, shape, initials);
  return {
    flat,
    raw: rawLayout(name, names),
    history: history === null ? null : historyLayout(flat, history),
    children: children.map((table) => childLayout(name, table)),
  };
}

/** The tables in one list, the flat one first. */
export function listed({ flat, raw, history, children }: NormalizedTables): TableLayout[] {
  return [flat, raw, ...(history === null ? [] : [history]), ...children];
}
