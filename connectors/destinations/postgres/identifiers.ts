import { fittingName } from '../../../schemas/normalize/names.ts';

export const METADATA_COLUMNS = [
  '_airbyte_ab_id',
  '_airbyte_emitted_at',
  '_ab_cdc_lsn',
  '_ab_cdc_updated_at',
  '_ab_cdc_deleted_at',
  '_headrace_epoch',
  '_headrace_seq',
  '_headrace_unchanged',
] as const;

export const OFFSETS_TABLE = '_headrace_offsets';
export const SHAPES_TABLE = '_headrace_shapes';

/** The table beside `table` that its next generation gathers in. */
export function stagingName(table: string): string {
  return fittingName(`_headrace_new_${table}`);
}

export const SYSTEM_COLUMNS = ['tableoid', 'xmin', 'cmin', 'xmax', 'cmax', 'ctid'] as const;

const TAKEN_COLUMNS: ReadonlySet<string> = new Set<string>([
  ...SYSTEM_COLUMNS,
  ...METADATA_COLUMNS,
]);

/** A source column's name in the target: system columns and our own get a suffix. */
export function columnName(name: string): string {
  return fittingName(TAKEN_COLUMNS.has(name) ? `${name}_` : name);
}

export function quoted(name: string): string {
  return `"${name.replaceAll('"', '""')}"`;
}

export function literal(text: string): string {
  return `E'${text.replaceAll('\\', '\\\\').replaceAll("'", "\\'")}'`;
}

/** An array's literal, for a parameter. */
export function arrayLiteral(items: readonly (string | number | null)[]): string {
  return `{${items.map(arrayItem).join(',')}}`;
}

function arrayItem(item: string | number | null): string {
  return item === null ? 'NULL' : `"${String(item).replace(/(["\\])/g, '\\$1')}"`;
}

/** The items of a text array's literal as the server prints it. */
export function arrayItems(text: string): string[] {
  const items: string[] = [];
  for (const [, plain, escaped] of text.slice(1, -1).matchAll(/([^",]+)|"((?:[^"\\]|\\.)*)"/g)) {
    items.push(plain ?? (escaped as string).replace(/\\(.)/g, '$1'));
  }
  return items;
}
