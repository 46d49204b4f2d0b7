import { literal, quoted } from './identifiers.ts';
import type { StagedColumn } from './staged-rows.ts';
import {
  eventIdOf,
  metaColumnOf,
  V2_NAMES,
  type TableColumn,
  type TableLayout,
} from './table-layout.ts';

/** SQL over staged rows: `$1`, `$2`, ... are one array per staged column. */

export function tableOf(layout: { readonly schema: string; readonly table: string }): string {
  return `${quoted(layout.schema)}.${quoted(layout.table)}`;
}

/** Staged rows as `s(c0, c1, ...)`; their parameters begin at `first`. */
export function staged(columns: readonly StagedColumn[], first = 1): string {
  const arrays = columns.map(({ form }, i) => `$${first + i}::${form}[]`);
  return `unnest(${arrays.join(',')}) AS s(${columns.map((_, i) => `c${i}`).join(',')})`;
}

export function value({ cast }: StagedColumn, index: number): string {
  return cast === null ? `s.c${index}` : `s.c${index}::${cast}`;
}

const POSITION = ['_headrace_epoch', '_ab_cdc_lsn', '_headrace_seq'];

function position(alias: string): string {
  return `(${POSITION.map((name) => `${alias}.${name}`).join(',')})`;
}

function stagedPosition(columns: readonly { readonly name: string }[]): string {
  const indexes = POSITION.map((name) => columns.findIndex((column) => column.name === name));
  return `(${indexes.map((i) => `s.c${i}`).join(',')})`;
}

function keyColumns(layout: TableLayout): TableColumn[] {
  return layout.keys.map((index) => layout.columns[index] as TableColumn);
}

function keyEquals(layout: TableLayout, columns: readonly TableColumn[]): string {
  return keyColumns(layout)
    .map((key) => {
      const index = columns.findIndex(({ name }) => name === key.name);
      return `t.${quoted(key.name)} = ${value(key, index)}`;
    })
    .join(' AND ');
}

/** Types of which two different encodings may be equal (1.0 and 1.00), so that one batch may hold
 * a key twice although its bytes differ. */
function mayHaveEqualKeys(layout: TableLayout): boolean {
  const loose = new Set(['numeric', 'float4', 'float8']);
  return keyColumns(layout).some(
    ({ form, cast, ddl }) => loose.has(form) || cast !== null || ddl.startsWith('character('),
  );
}

export function appendStatement(layout: TableLayout): string {
  const names = layout.columns.map(({ name }) => quoted(name)).join(',');
  const values = layout.columns.map(value).join(',');
  return `INSERT INTO ${tableOf(layout)} (${names}) SELECT ${values} FROM ${staged(layout.columns)}`;
}

/** Adds the rows of events that have none yet. An event's rows are all added at once. */
export function appendMissingStatement(layout: TableLayout): string {
  const id = eventIdOf(layout);
  const index = layout.columns.findIndex(({ name }) => name === id);
  return `${appendStatement(layout)} WHERE NOT EXISTS (SELECT FROM ${tableOf(layout)} AS t WHERE t.${id} = s.c${index})`;
}

export function copyStatement(layout: TableLayout): string {
  const names = layout.columns.map(({ name }) => quoted(name)).join(',');
  return `COPY ${tableOf(layout)} (${names}) FROM STDIN (FORMAT binary)`;
}

/**
 * Inserts or replaces rows by key; a row is only replaced by a newer event (invariant 4). Sorted by
 * key, so that two writers lock rows in one order. Columns that are not given keep their value.
 */
export function upsertStatement(layout: TableLayout, columns: readonly TableColumn[]): string {
  const keys = keyColumns(layout);
  const keyNames = keys.map(({ name }) => quoted(name)).join(',');
  const order = keys.map((key) => value(key, columns.indexOf(key))).join(',');
  const newest = stagedPosition(columns).slice(1, -1).split(',').join(' DESC,');
  const [distinct, then] = mayHaveEqualKeys(layout)
    ? [`DISTINCT ON (${order}) `, `,${newest} DESC`]
    : ['', ''];
  const updates = columns
    .filter((column) => !keys.includes(column))
    .map(({ name }) => `${quoted(name)}=excluded.${quoted(name)}`);
  return (
    `INSERT INTO ${tableOf(layout)} AS t (${columns.map(({ name }) => quoted(name)).join(',')}) ` +
    `SELECT ${distinct}${columns.map(value).join(',')} FROM ${staged(columns)} ORDER BY ${order}${then} ` +
    `ON CONFLICT (${keyNames}) DO UPDATE SET ${updates.join(',')} ` +
    `WHERE ${position('excluded')} > ${position('t')}`
  );
}

/** The staged columns of `maskedStatement`: the layout's, a bit per column that is kept, and the names
 * of those where the table has a record of changed fields. */
export function maskedColumns(layout: TableLayout): StagedColumn[] {
  const mask: StagedColumn[] = [{ form: 'bytea', cast: null }];
  if (metaColumnOf(layout) !== -1) mask.push({ form: 'jsonb', cast: null });
  return [...layout.columns, ...mask];
}

/** What became of the fields that are kept, and of those that came. */
function mergedMeta(staged: string, keptNames: string): string {
  const meta = `t.${quoted(V2_NAMES.meta)}`;
  const changes =
    `SELECT c FROM jsonb_array_elements(${meta}->'changes') AS k(c) WHERE ${keptNames} ? (c->>'field') ` +
    `UNION ALL SELECT c FROM jsonb_array_elements(${staged}->'changes') AS n(c)`;
  return (
    `CASE WHEN ${meta} IS NULL THEN ${staged} ELSE (SELECT CASE WHEN count(*) > 0 ` +
    `THEN jsonb_build_object('changes', jsonb_agg(c)) END FROM (${changes}) AS m) END`
  );
}

/**
 * Updates rows of which the source did not send every cell: a set bit keeps the row's own. Answers
 * how many rows it did not find; they cannot be made up.
 */
export function maskedStatement(layout: TableLayout): string {
  const mask = `s.c${layout.columns.length}`;
  const keptNames = `s.c${layout.columns.length + 1}`;
  const meta = metaColumnOf(layout);
  const updates = layout.columns.map((column, i) => {
    const name = quoted(column.name);
    if (layout.keys.includes(i)) return null;
    if (i === meta) return `${name}=${mergedMeta(value(column, i), keptNames)}`;
    if (i >= layout.sourceColumns) return `${name}=${value(column, i)}`;
    return `${name}=CASE WHEN get_bit(${mask},${i})=1 THEN t.${name} ELSE ${value(column, i)} END`;
  });
  const match = keyEquals(layout, layout.columns);
  return (
    `WITH s AS MATERIALIZED (SELECT * FROM ${staged(maskedColumns(layout))}), ` +
    `updated AS (UPDATE ${tableOf(layout)} AS t SET ${updates.filter((u) => u !== null).join(',')} ` +
    `FROM s WHERE ${match} AND ${position('t')} < ${stagedPosition(layout.columns)}) ` +
    `SELECT count(*) FROM s WHERE NOT EXISTS (SELECT FROM ${tableOf(layout)} AS t WHERE ${match})`
  );
}

/** The staged columns of `deleteStatement`: key, position, event id. */
export function deleteColumns(layout: TableLayout): TableColumn[] {
  const byName = (name: string) => layout.columns.find((c) => c.name === name) as TableColumn;
  return [...keyColumns(layout), ...POSITION.map(byName), byName(eventIdOf(layout))];
}

/** Whether `t` is the row of a staged delete (`deleteColumns`) and older than that. */
function isOlder(layout: TableLayout): string {
  const columns = deleteColumns(layout);
  return (
    `${keyEquals(layout, columns)} AND CASE WHEN ${stagedPosition(columns).slice(1).split(',')[0]} IS NULL ` +
    `THEN t.${eventIdOf(layout)} < s.c${columns.length - 1} ` +
    `ELSE ${position('t')} < ${stagedPosition(columns)} END`
  );
}

/**
 * Deletes rows by key that are older than the delete (invariant 4). A tombstone whose delete was
 * compacted away has no position; the event id, which grows with the offset, stands in for it.
 */
export function deleteStatement(layout: TableLayout, softly: boolean): string {
  const columns = deleteColumns(layout);
  const where = isOlder(layout);
  return softly
    ? `UPDATE ${tableOf(layout)} AS t SET _ab_cdc_deleted_at = coalesce(t._ab_cdc_deleted_at, now()) FROM ${staged(columns)} WHERE ${where}`
    : `DELETE FROM ${tableOf(layout)} AS t USING ${staged(columns)} WHERE ${where}`;
}

/** Empties the table of what is older than a TRUNCATE: `$1` epoch, `$2` lsn, `$3` seq, `$4` its
 * time in microseconds since 1970. */
export function truncateStatement(layout: TableLayout, softly: boolean): string {
  const where = `WHERE ${position('t')} < ($1::int4,$2::int8,$3::int4)`;
  if (!softly) return `DELETE FROM ${tableOf(layout)} AS t ${where} AND $4::int8 IS NOT NULL`;
  return (
    `UPDATE ${tableOf(layout)} AS t SET _headrace_epoch=$1::int4,_ab_cdc_lsn=$2::int8,_headrace_seq=$3::int4,` +
    `_ab_cdc_deleted_at=coalesce(t._ab_cdc_deleted_at,'epoch'::timestamptz+$4::int8*interval '1 microsecond') ${where}`
  );
}

/** Takes away the child rows of rows that the staged events (`deleteColumns`) replace or delete. */
export function goneStatement(layout: TableLayout, children: readonly TableLayout[]): string {
  const columns = deleteColumns(layout);
  return deleteChildren(
    `${tableOf(layout)} AS t, ${staged(columns)} WHERE ${isOlder(layout)}`,
    children,
  );
}

/** The same of rows older than a TRUNCATE, with the parameters of `truncateStatement`. */
export function truncatedStatement(layout: TableLayout, children: readonly TableLayout[]): string {
  const older = `${position('t')} < ($1::int4,$2::int8,$3::int4) AND $4::int8 IS NOT NULL`;
  return deleteChildren(`${tableOf(layout)} AS t WHERE ${older}`, children);
}

/** Child rows belong to the event that brought their parent as it stands. */
function deleteChildren(from: string, children: readonly TableLayout[]): string {
  const deletes = children.map(
    (child, i) =>
      `, d${i} AS (DELETE FROM ${tableOf(child)} c USING gone WHERE c._airbyte_ab_id = gone.id)`,
  );
  return `WITH gone AS MATERIALIZED (SELECT t._airbyte_ab_id AS id FROM ${from})${deletes.join('')} SELECT 1`;
}

/** Inserts or replaces rows and adds the children of those that were taken: not of rows that a newer
 * event keeps as they are. The children's parameters follow the row's. */
export function upsertWithChildren(layout: TableLayout, children: readonly TableLayout[]): string {
  let first = layout.columns.length + 1;
  const inserts = children.map((child, i) => {
    const { columns } = child;
    const id = columns.findIndex(({ name }) => name === '_airbyte_ab_id');
    const names = columns.map(({ name }) => quoted(name)).join(',');
    const rows = `SELECT ${columns.map(value).join(',')} FROM ${staged(columns, first)}`;
    first += columns.length;
    return `, i${i} AS (INSERT INTO ${tableOf(child)} (${names}) ${rows} WHERE s.c${id} IN (SELECT id FROM taken))`;
  });
  const upsert = upsertStatement(layout, layout.columns);
  return `WITH taken AS (${upsert} RETURNING t.${eventIdOf(layout)} AS id)${inserts.join('')} SELECT 1`;
}

/** A column of the flat table; or a document of the raw row, and what is there in one of the time
 * before the column. */
export type FetchedFrom =
  { readonly column: string } | { readonly document: string; readonly absent: string | null };

/**
 * Cells of rows by key, as text: `keys` staged with a number behind. A column of the flat table prints
 * as the server prints it, binary as base64; a document comes from the raw row of the event that the
 * row stands at. Answers the number, whether that raw row is there, and the cells.
 */
export function fetchStatement(
  layout: TableLayout,
  raw: TableLayout,
  cells: readonly FetchedFrom[],
): string {
  const keys = [...keyColumns(layout), { form: 'int4' as const, cast: null }];
  const match = layout.keys.map(
    (index, i) =>
      `t.${quoted(layout.columns[index]?.name as string)} = ${value(keys[i] as StagedColumn, i)}`,
  );
  const texts = cells.map((cell) => {
    if ('document' in cell) {
      const field = literal(cell.document);
      const text = `(r._airbyte_data->${field})::text`;
      if (cell.absent === null) return text;
      return `CASE WHEN r._airbyte_data ? ${field} THEN ${text} ELSE ${literal(cell.absent)} END`;
    }
    const column = layout.columns.find(({ name }) => name === cell.column) as TableColumn;
    const name = `t.${quoted(cell.column)}`;
    return column.form === 'bytea' ? `encode(${name},'base64')` : `${name}::text`;
  });
  return (
    `SELECT s.c${keys.length - 1}, r.${eventIdOf(raw)} IS NOT NULL${texts.map((text) => `,${text}`).join('')} ` +
    `FROM ${staged(keys)} JOIN ${tableOf(layout)} AS t ON ${match.join(' AND ')} ` +
    `LEFT JOIN ${tableOf(raw)} AS r ON r.${eventIdOf(raw)} = t.${eventIdOf(layout)}`
  );
}
