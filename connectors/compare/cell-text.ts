import type { ColumnKind } from '../../schemas/values/column-type.ts';

/**
 * The bytes by which servers that print values each in their own way say the same of equal cells. A row's
 * hash is made of its cells' hashes one behind the other, `~` for NULL: of each the first half of its
 * SHA-256 in hexadecimal, for newer releases of MySQL have no MD5. Hashed of a
 * - float32, float64: the eight bytes of the double, the highest first; no two servers print all alike
 * - bytes: the bytes
 * - decimal: the number without zeros at the end of its fraction, for a column may have been widened
 * - interval: its microseconds
 * - json: what `jsonbText` makes of it
 * - everything else: what Postgres prints, in UTF-8.
 */
export function hashOfCell(column: string, kind: ColumnKind): string {
  switch (kind) {
    case 'bytes':
      return hashOfBytes(`${column}::bytea`);
    case 'float32':
    case 'float64':
      return hashOfBytes(`float8send(${column}::float8)`);
    case 'interval':
      return hashOfText(`(extract(epoch FROM ${column}::interval) * 1000000)::bigint::text`);
    default:
      return hashOfText(textOfKey(column, kind));
  }
}

/** Of kinds that can be a key: all but floats, json and interval. */
export function textOfKey(column: string, kind: ColumnKind): string {
  return kind === 'decimal' ? `trim_scale(${column}::numeric)::text` : `${column}::text`;
}

/** What is left of a cell's SHA-256 in hexadecimal. */
export const CELL_HASH_DIGITS = 32;

export function rowOfCells(hashes: readonly string[]): string {
  return hashes.map((hash) => `coalesce(${hash},'~')`).join('||');
}

function hashOfText(text: string): string {
  return hashOfBytes(`convert_to(${text},'UTF8')`);
}

function hashOfBytes(bytes: string): string {
  return `left(encode(sha256(${bytes}),'hex'),${CELL_HASH_DIGITS})`;
}
