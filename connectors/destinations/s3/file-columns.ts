import { PipelineError } from '../../../core/errors/pipeline-error.ts';
import type { ColumnType } from '../../../schemas/values/column-type.ts';
import type { Column } from '../../../schemas/envelope/stream-schema.ts';
import { fieldKey, fieldName, type FoundField } from './json-fields.ts';

/**
 * The columns of a stream's Parquet files. Readers of a folder disagree about a column that changes
 * its type from one file to the next, so a column keeps one form for life: every integer is INT64,
 * every float DOUBLE, every decimal DECIMAL(38, s). Columns are only ever added; rows of an older
 * schema, or of a newer one that has dropped a column, have null there.
 */
export type FileForm =
  | 'boolean'
  | 'int64'
  | 'double'
  | 'decimal'
  | 'text'
  | 'bytes'
  | 'date'
  | 'time'
  | 'timestamp'
  | 'timestamptz'
  | 'timestamptz-millis';

export interface FileColumn {
  /** Name of the source's column. */
  readonly source: string;
  /** Name in the file: letters, digits and `_`. */
  readonly name: string;
  readonly form: FileForm;
  /** decimal only. */
  readonly scale?: number;
  /** Of a column for a field of JSON documents (json-fields.ts): where it is in those of `source`. */
  readonly path?: readonly string[];
  /** Of a column that was added later: what rows of before have in it. For one row per key alone; in
   * a history of changes the column was not there. */
  readonly initial?: { readonly type: ColumnType; readonly avro: string };
}

/** The key's bytes as the topic has them: how a row is found again. Last in files with one row per key. */
export const KEY_COLUMN: FileColumn = { source: '', name: '_headrace_key', form: 'bytes' };

/** The columns that every file ends with, filled by change-rows.ts. */
export const CHANGE_COLUMNS: readonly FileColumn[] = [
  { source: '', name: '_airbyte_ab_id', form: 'text' },
  { source: '', name: '_airbyte_emitted_at', form: 'timestamptz-millis' },
  { source: '', name: '_ab_cdc_lsn', form: 'int64' },
  { source: '', name: '_ab_cdc_updated_at', form: 'timestamptz' },
  { source: '', name: '_ab_cdc_deleted_at', form: 'timestamptz' },
  { source: '', name: '_headrace_epoch', form: 'int64' },
  { source: '', name: '_headrace_seq', form: 'int64' },
  { source: '', name: '_headrace_unchanged', form: 'text' },
  { source: '', name: '_headrace_unrepresentable', form: 'text' },
];

export const MAX_PRECISION = 38;

export function fileForm(type: ColumnType): { form: FileForm; scale?: number } {
  switch (type.kind) {
    case 'boolean':
      return { form: 'boolean' };
    case 'int16':
    case 'int32':
    case 'int64':
      return { form: 'int64' };
    case 'float32':
    case 'float64':
      return { form: 'double' };
    case 'decimal':
      return decimalForm(type);
    case 'bytes':
      return { form: 'bytes' };
    case 'date':
    case 'time':
    case 'timestamp':
    case 'timestamptz':
      return { form: type.kind };
    case 'string':
    case 'timetz':
    case 'interval':
    case 'uuid':
    case 'json':
    case 'xml':
    case 'enum':
    case 'bits':
    case 'array':
      return { form: 'text' };
  }
}

/** A decimal without a limit, or past Parquet's, keeps its digits as text. */
function decimalForm({ precision, scale = 0 }: ColumnType): { form: FileForm; scale?: number } {
  if (precision === undefined) return { form: 'text' };
  const digits = precision + Math.max(0, -scale);
  if (digits > MAX_PRECISION || scale > MAX_PRECISION) return { form: 'text' };
  return { form: 'decimal', scale: Math.max(0, scale) };
}

/**
 * `known` with the columns of `columns` that it lacks behind; `known` itself when it lacks none.
 * Throws DST_SCHEMA_INCOMPATIBLE, naming the column, when one has taken another form.
 */
export function withColumns(
  known: readonly FileColumn[],
  columns: readonly Column[],
): readonly FileColumn[] {
  const whole = known.filter(({ path }) => path === undefined);
  const bySource = new Map(whole.map((column) => [column.source, column]));
  const added: FileColumn[] = [];
  const taken = takenNames(known);
  for (const { name: source, type, initial } of columns) {
    const { form, scale } = fileForm(type);
    const before = bySource.get(source);
    if (before === undefined) {
      const name = freeName(source, taken);
      added.push({
        source,
        name,
        form,
        ...(scale === undefined ? {} : { scale }),
        ...(initial === undefined ? {} : { initial: { type, avro: initial.avro } }),
      });
    } else if (before.form !== form || before.scale !== scale) {
      throw incompatible(before, form, scale, type);
    }
  }
  return added.length === 0 ? known : [...known, ...added];
}

/** `known` with columns for the fields that it lacks behind; `known` itself when it lacks none. */
export function withFields(
  known: readonly FileColumn[],
  fields: readonly FoundField[],
): readonly FileColumn[] {
  const present = new Set(known.map(({ source, path = [] }) => fieldKey({ source, path })));
  const missing = fields.filter((field) => !present.has(fieldKey(field)));
  if (missing.length === 0) return known;
  const initials = new Map(
    known.filter(({ path }) => path === undefined).map(({ source, initial }) => [source, initial]),
  );
  const taken = takenNames(known);
  const added = missing.map((field): FileColumn => {
    const initial = initials.get(field.source);
    const name = freeName(fieldName(field), taken);
    return { ...field, name, form: 'text', ...(initial === undefined ? {} : { initial }) };
  });
  return [...known, ...added];
}

/** Compared without case: most readers of Parquet do not tell `Id` from `id`. */
function takenNames(known: readonly FileColumn[]): Set<string> {
  return new Set([...CHANGE_COLUMNS, KEY_COLUMN, ...known].map(({ name }) => name.toLowerCase()));
}

function freeName(source: string, taken: Set<string>): string {
  const legal = source.replace(/[^A-Za-z0-9_]/gu, '_');
  const base = legal === '' || /^[0-9]/.test(legal) ? `_${legal}` : legal;
  let name = base;
  for (let n = 2; taken.has(name.toLowerCase()); n++) name = `${base}_${n}`;
  taken.add(name.toLowerCase());
  return name;
}

function incompatible(
  before: FileColumn,
  form: FileForm,
  scale: number | undefined,
  type: ColumnType,
): PipelineError {
  const was = formText(before.form, before.scale);
  const now = formText(form, scale);
  return new PipelineError(
    'DST_SCHEMA_INCOMPATIBLE',
    `column ${before.source} is ${was} in the files written so far and is now ${type.native ?? type.kind}, which would be ${now}`,
    { details: { column: before.source, was, now } },
  );
}

function formText(form: FileForm, scale: number | undefined): string {
  return form === 'decimal' ? `DECIMAL(${MAX_PRECISION},${scale ?? 0})` : form.toUpperCase();
}
