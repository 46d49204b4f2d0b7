import { PipelineError } from '../../../core/errors/pipeline-error.ts';
import type { ChangeSchema } from '../../../schemas/envelope/change-decoder.ts';
import type { DestinationMode } from '../../spi/destination.ts';
import type { InitialValue } from '../../../schemas/envelope/stream-schema.ts';
import type { ColumnType } from '../../../schemas/values/column-type.ts';
import { covers, targetType, typeOfSpelling, widened, type TargetType } from './column-type.ts';
import { columnName, METADATA_COLUMNS, stagingName } from './identifiers.ts';

/** What the rows of a table are: changes, the newest of each key, the last whole copy, or changes as
 * JSON documents. */
export type TableMode = DestinationMode | 'raw';

/** Whether its rows are the source's rows as they are now, and not a history. */
export function showsRows(mode: TableMode): boolean {
  return mode === 'append_dedup' || mode === 'overwrite';
}

export interface TableColumn extends TargetType {
  readonly name: string;
  /** What rows of the time before the column have in it: see InitialValue. */
  readonly initial?: ColumnInitial;
}

export interface ColumnInitial extends InitialValue, ColumnType {}

/** A stream's table as we write it: the source's columns in front, our own behind. Columns that
 * others added to the table are not in it. */
export interface TableLayout {
  readonly schema: string;
  readonly table: string;
  readonly mode: TableMode;
  /** For messages: `namespace.name` of the stream. */
  readonly stream: string;
  readonly columns: readonly TableColumn[];
  /** How many of `columns` are the source's. */
  readonly sourceColumns: number;
  /** Indexes of the key's columns, in key order; empty in append mode, the event's id in raw mode. */
  readonly keys: readonly number[];
}

/** Types of METADATA_COLUMNS, in their order. */
const METADATA_TYPES = [
  'uuid',
  'timestamp with time zone',
  'bigint',
  'timestamp with time zone',
  'timestamp with time zone',
  'integer',
  'integer',
  'jsonb',
];

const RAW_COLUMNS: readonly TableColumn[] = [
  { name: '_airbyte_ab_id', ...typeOfSpelling('uuid') },
  { name: '_airbyte_emitted_at', ...typeOfSpelling('timestamp with time zone') },
  { name: '_airbyte_data', ...typeOfSpelling('jsonb') },
];

export function metadataColumns(mode: TableMode): TableColumn[] {
  if (mode === 'raw') return [...RAW_COLUMNS];
  const columns = METADATA_COLUMNS.map((name, i) => ({
    name,
    ...typeOfSpelling(METADATA_TYPES[i] as string),
  }));
  // A deduped row merges its events: what one of them left unchanged is known from the others.
  // A copy's rows have every cell.
  return mode === 'append' ? columns : columns.slice(0, -1);
}

/** Our columns in Airbyte's v2 tables. */
export const V2_NAMES = {
  id: '_airbyte_raw_id',
  extractedAt: '_airbyte_extracted_at',
  meta: '_airbyte_meta',
  generation: '_airbyte_generation_id',
} as const;

/** The column of the event's id. */
export function eventIdOf({ columns }: Pick<TableLayout, 'columns'>): string {
  const [id] = METADATA_COLUMNS;
  return columns.some(({ name }) => name === id) ? id : V2_NAMES.id;
}

export interface TableName {
  readonly schema: string;
  readonly table: string;
  readonly mode: TableMode;
  readonly stream: string;
  readonly primaryKey: readonly string[];
  /** The rows are those of the last whole generation; its documents too, in mode raw. */
  readonly isReplaced: boolean;
}

/** What became of a row's fields. A table gets it when the first value does not fit, behind all others. */
export const META_COLUMN: TableColumn = { name: V2_NAMES.meta, ...typeOfSpelling('jsonb') };

export function withMeta(layout: TableLayout): TableLayout {
  return { ...layout, columns: [...layout.columns, META_COLUMN] };
}

/** Number of our column `_airbyte_meta`, or -1. */
export function metaColumnOf({ columns, sourceColumns }: TableLayout): number {
  return columns.findIndex(({ name }, i) => name === META_COLUMN.name && i >= sourceColumns);
}

export function layoutOf(name: TableName, source: readonly TableColumn[]): TableLayout {
  const { schema, table, mode, stream } = name;
  const columns = [...source, ...metadataColumns(mode)];
  const keyNames = keyColumnNames(name);
  const keys = keyNames.map((key) => columns.findIndex((column) => column.name === key));
  if (keys.includes(-1)) {
    throw new PipelineError('DST_KEY_MISMATCH', `stream ${stream}: a key column does not exist`, {
      details: { stream, key: keyNames.join(', ') },
    });
  }
  return { schema, table, mode, stream, columns, sourceColumns: source.length, keys };
}

function keyColumnNames({ mode, primaryKey }: TableName): string[] {
  if (mode === 'raw') return ['_airbyte_ab_id'];
  return mode === 'append_dedup' ? primaryKey.map(columnName) : [];
}

/** The layout of the table that a generation gathers in: the live one's, without a key to keep. */
export function stagingLayout<L extends TableLayout>(live: L): L {
  return { ...live, table: stagingName(live.table), keys: [] };
}

/** The layout with the initial values that others know of its columns; the catalog does not tell them. */
export function withInitials(layout: TableLayout, others: readonly TableColumn[]): TableLayout {
  const initials = new Map(others.map(({ name, initial }) => [name, initial]));
  const columns = layout.columns.map((column) => {
    const initial = column.initial ?? initials.get(column.name);
    return initial === undefined ? column : { ...column, initial };
  });
  return { ...layout, columns };
}

/** The columns that a schema asks for. Refuses two source columns that would land in one. */
export function columnsOfSchema(schema: ChangeSchema, stream: string): TableColumn[] {
  const taken = new Map<string, string>();
  return schema.columns.map((column) => {
    const name = columnName(column.name);
    const other = taken.get(name);
    if (other !== undefined) {
      const message = `stream ${stream}: columns "${other}" and "${column.name}" both become "${name}"`;
      throw new PipelineError('DST_NAME_CONFLICT', message, { details: { stream, column: name } });
    }
    taken.set(name, column.name);
    const { initial, type } = column;
    const known = initial === undefined ? {} : { initial: { ...initial, ...type } };
    return { name, ...targetType(type), ...known };
  });
}

export interface ColumnChange {
  readonly kind: 'add' | 'widen';
  readonly name: string;
  readonly ddl: string;
  readonly initial?: Pick<InitialValue, 'text'>;
}

/** What the table must become before rows of `wanted` fit; DST_SCHEMA_INCOMPATIBLE when it cannot
 * without losing something. */
export function changesFor(
  existing: readonly TableColumn[],
  wanted: readonly TableColumn[],
  stream: string,
): ColumnChange[] {
  const byName = new Map(existing.map((column) => [column.name, column]));
  const changes: ColumnChange[] = [];
  for (const { name, ddl, initial } of wanted) {
    const column = byName.get(name);
    if (column === undefined) {
      changes.push({ kind: 'add', name, ddl, ...(initial === undefined ? {} : { initial }) });
    } else if (!covers(column.ddl, ddl)) {
      const wide = widened(column.ddl, ddl);
      if (wide === null) throw incompatible(stream, name, column.ddl, ddl);
      changes.push({ kind: 'widen', name, ddl: wide });
    }
  }
  return changes;
}

/** What a table must become to have the columns of another one of ours. */
export function changesTo(
  existing: readonly TableColumn[],
  wanted: readonly TableColumn[],
): ColumnChange[] {
  const types = new Map(existing.map(({ name, ddl }) => [name, ddl]));
  return wanted.flatMap(({ name, ddl, initial }): ColumnChange[] => {
    const known = types.get(name);
    if (known === ddl) return [];
    if (known !== undefined) return [{ kind: 'widen', name, ddl }];
    return [{ kind: 'add', name, ddl, ...(initial === undefined ? {} : { initial }) }];
  });
}

function incompatible(stream: string, column: string, from: string, to: string): PipelineError {
  return new PipelineError(
    'DST_SCHEMA_INCOMPATIBLE',
    `stream ${stream}: column "${column}" is ${from} in the destination and became ${to}; that cannot be changed without losing values`,
    { details: { stream, column, from, to } },
  );
}
