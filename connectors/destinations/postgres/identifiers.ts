import { createHash } from 'node:crypto';

/** Bytes of an identifier that Postgres keeps; it cuts the rest off in silence. */
const MAX_IDENTIFIER_BYTES = 63;

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

const TAKEN_COLUMNS: ReadonlySet<string> = new Set([
  ...['tableoid', 'xmin', 'cmin', 'xmax', 'cmax', 'ctid'],
  ...METADATA_COLUMNS,
]);

/** The name as it is, or cut to length with a hash of the whole behind, always the same. */
export function fittingName(name: string): string {
  const bytes = Buffer.from(name);
  if (bytes.length <= MAX_IDENTIFIER_BYTES) return name;
  const hash = createHash('sha256').update(bytes).digest('hex').slice(0, 8);
  let keep = MAX_IDENTIFIER_BYTES - 9;
  while (((bytes[keep] as number) & 0xc0) === 0x80) keep--;
  return `${bytes.toString('utf8', 0, keep)}_${hash}`;
}

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

/** A text array's literal, for a parameter. */
export function arrayLiteral(items: readonly (string | number)[]): string {
  return `{${items.map((item) => `"${String(item).replace(/(["\\])/g, '\\$1')}"`).join(',')}}`;
}

/** The items of a text array's literal as the server prints it. */
export function arrayItems(text: string): string[] {
  const items: string[] = [];
  for (const [, plain, escaped] of text.slice(1, -1).matchAll(/([^",]+)|"((?:[^"\\]|\\.)*)"/g)) {
    items.push(plain ?? (escaped as string).replace(/\\(.)/g, '$1'));
  }
  return items;
}
