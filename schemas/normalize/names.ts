import { createHash } from 'node:crypto';

/**
 * Names of normalized tables and columns by Airbyte's rules. What they leave open (an empty name,
 * letters of several bytes) ends in a name that Postgres keeps whole.
 */

/** What Postgres keeps of a name, less room for prefixes (`_airbyte_`, 12) and suffixes (8). */
const LIMIT = 43;
/** Bytes of an identifier that Postgres keeps; it cuts the rest off in silence. */
const MAX_IDENTIFIER_BYTES = 63;

/** The name as it is, or cut to length with a hash of the whole behind, always the same. */
export function fittingName(name: string): string {
  const bytes = Buffer.from(name);
  if (bytes.length <= MAX_IDENTIFIER_BYTES) return name;
  const hash = createHash('sha256').update(bytes).digest('hex').slice(0, 8);
  let keep = MAX_IDENTIFIER_BYTES - 9;
  while (((bytes[keep] as number) & 0xc0) === 0x80) keep--;
  return `${bytes.toString('utf8', 0, keep)}_${hash}`;
}

/** The first and the last part of a name that is longer than `limit`, two underscores between. */
export function shortened(name: string, limit: number = LIMIT): string {
  if (name.length <= limit) return name;
  const half = Math.floor(limit / 2);
  // Halves are rounded to the even number.
  const middle = limit % 2 === 0 || half % 2 === 0 ? half : half + 1;
  return `${name.slice(0, limit - middle - 1)}__${name.slice(name.length - middle + 1)}`;
}

function reduced(name: string): string {
  return name
    .trim()
    .normalize('NFD')
    .replace(/\p{M}/gu, '')
    .replace(/\s+/gu, '_')
    .replace(/[^A-Za-z0-9_]/gu, '_');
}

/** The standard form of a schema's or table's name. */
export function standardName(name: string): string {
  return shortened(reduced(name)).toLowerCase() || '_';
}

/** The table of a nested array: the whole JSON path, the stream's name in front. */
export function nestedTableName(path: readonly string[]): string {
  return standardName(path.map(reduced).join('_'));
}

/** The name of a table whose plain name is taken in its schema. */
export function hashedTableName(schema: string, path: readonly string[]): string {
  const text = [schema, ...path].join('&airbyte&').toLowerCase();
  const hash = createHash('sha1').update(text).digest('hex').slice(0, 3);
  const child = reduced(path[path.length - 1] as string);
  if (path.length === 1) return standardName(`${path[0] as string}_${hash}`);
  const parent = path.slice(0, -1).map(reduced).join('_');
  const room = LIMIT - hash.length - 2;
  if (parent.length + child.length < room) return `${parent}_${hash}_${child}`.toLowerCase();
  if (Math.min(10, parent.length) + child.length < room) {
    return `${parent.slice(0, room - child.length)}_${hash}_${child}`.toLowerCase();
  }
  return `${parent.slice(0, 10)}_${hash}_${shortened(child, room - 10 - 1)}`.toLowerCase();
}

/** The column of a field: lower case where it may stand without quotes, else as it is. */
export function columnNameOf(path: readonly string[]): string {
  const name = path.join('_').replaceAll('\0', '_');
  const isPlain = /^[A-Za-z_][A-Za-z0-9_]*$/.test(name) && !RESERVED.has(name.toLowerCase());
  const short = shortened(name).toWellFormed();
  return fittingName(isPlain ? short.toLowerCase() : short || '_');
}

/** A name that is kept as it is where Postgres can have it. */
export function keptName(name: string): string {
  return fittingName(name.replaceAll('\0', '_').toWellFormed()) || '_';
}

/** `name`, or with the first of the suffixes `_1`, `_2`, ... that is free; case makes no difference. */
export function freeName(name: string, isTaken: (lowerCase: string) => boolean): string {
  let free = name;
  for (let n = 1; isTaken(free.toLowerCase()); n++) free = fittingName(`${name}_${n}`);
  return free;
}

/** Postgres' reserved words, those that may name functions or types among them. */
const RESERVED: ReadonlySet<string> = new Set(
  (
    'all analyse analyze and any array as asc asymmetric authorization between bigint binary bit ' +
    'boolean both case cast char character check coalesce collate collation column concurrently ' +
    'constraint create cross current_catalog current_date current_role current_schema current_time ' +
    'current_timestamp current_user default deferrable desc distinct do else end except exists ' +
    'extract false fetch for foreign freeze from full grant group having ilike in initially inner ' +
    'intersect into is isnull join lateral leading left like limit localtime localtimestamp natural ' +
    'not notnull null offset on only or order outer overlaps placing primary references returning ' +
    'right select session_user similar some symmetric system_user table tablesample then to trailing ' +
    'true union unique user using variadic verbose when where window with'
  ).split(' '),
);
