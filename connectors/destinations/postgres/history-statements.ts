import { HISTORY_NAMES, PLACE_COLUMNS } from './history-layout.ts';
import { quoted } from './identifiers.ts';
import { appendStatement, staged, tableOf, value } from './table-statements.ts';
import { eventIdOf, type TableColumn, type TableLayout } from './table-layout.ts';

/** SQL over staged versions of rows: see historyLayout. */

const { from, until, active } = HISTORY_NAMES;

function keyOf(layout: TableLayout): TableColumn[] {
  return layout.keys.map((index) => layout.columns[index] as TableColumn);
}

/** The columns of the row's own key, without the version's place. */
function rowKeyOf(layout: TableLayout): TableColumn[] {
  return keyOf(layout).slice(0, -PLACE_COLUMNS.length);
}

function place(alias: string): string {
  return `(${PLACE_COLUMNS.map((name) => `${alias}.${name}`).join(',')})`;
}

function sameRow(layout: TableLayout, a: string, b: string): string {
  return rowKeyOf(layout)
    .map(({ name }) => `${a}.${quoted(name)} = ${b}.${quoted(name)}`)
    .join(' AND ');
}

/** An event that comes again has its version already. */
export function addVersions(layout: TableLayout): string {
  return `${appendStatement(layout)} ON CONFLICT DO NOTHING`;
}

/**
 * Ends versions where the next one begins, and finds the active ones: of every row with a new version
 * (`$1`... its key and place) from the version before the first new one on. What something without a
 * version ended (a TRUNCATE, a tombstone alone) stays ended.
 */
export function endVersions(layout: TableLayout): string {
  const keys = keyOf(layout);
  const names = keys.map(({ name }) => quoted(name));
  const row = names.slice(0, -PLACE_COLUMNS.length).join(',');
  const touched = keys.map((key, i) => `${value(key, i)} AS ${quoted(key.name)}`).join(',');
  const table = tableOf(layout);
  const before =
    `SELECT ${PLACE_COLUMNS.map((name) => `t.${name}`).join(',')} FROM ${table} AS t ` +
    `WHERE ${sameRow(layout, 't', 'n')} AND ${place('t')} < ${place('n')} ` +
    `ORDER BY ${PLACE_COLUMNS.map((name) => `t.${name} DESC`).join(',')} LIMIT 1`;
  const first = PLACE_COLUMNS.map((name) => `coalesce(p.${name}, n.${name}) AS ${name}`).join(',');
  const rowOf = (alias: string) =>
    rowKeyOf(layout)
      .map(({ name }) => `${alias}.${quoted(name)}`)
      .join(',');
  const places = PLACE_COLUMNS.map((name) => `t.${name}`).join(',');
  return (
    `WITH new AS (SELECT DISTINCT ON (${row}) * FROM (SELECT ${touched} FROM ${staged(keys)}) AS k ` +
    `ORDER BY ${names.join(',')}), ` +
    `since AS (SELECT ${rowOf('n')},${first} FROM new AS n LEFT JOIN LATERAL (${before}) AS p ON true), ` +
    `versions AS (SELECT ${rowOf('t')},${places}, lead(t.${from}) OVER w AS ends, ` +
    `(lead(t.${PLACE_COLUMNS[0]}) OVER w IS NULL AND t._ab_cdc_deleted_at IS NULL ` +
    `AND t.${until} IS NULL)::int AS is_active ` +
    `FROM since AS n JOIN ${table} AS t ON ${sameRow(layout, 't', 'n')} AND ${place('t')} >= ${place('n')} ` +
    `WINDOW w AS (PARTITION BY ${rowOf('t')} ORDER BY ${places})) ` +
    `UPDATE ${table} AS t SET ${until} = least(t.${until}, v.ends), ${active} = v.is_active ` +
    `FROM versions AS v WHERE ${sameRow(layout, 't', 'v')} AND ${place('t')} = ${place('v')} ` +
    `AND (t.${until}, t.${active}) IS DISTINCT FROM (least(t.${until}, v.ends), v.is_active)`
  );
}

/** Ends the versions of rows of which a tombstone alone says that they are gone, among staged deletes
 * (`deleteColumns` of the flat table): it has no place in the log and no time. */
export function forgetVersions(layout: TableLayout, columns: readonly TableColumn[]): string {
  const rowKey = rowKeyOf(layout);
  const match = rowKey.map(
    ({ name }, i) => `t.${quoted(name)} = ${value(columns[i] as TableColumn, i)}`,
  );
  return (
    `UPDATE ${tableOf(layout)} AS t SET ${active} = 0, ${until} = now() FROM ${staged(columns)} ` +
    `WHERE ${match.join(' AND ')} AND t.${active} = 1 AND s.c${rowKey.length} IS NULL ` +
    `AND t.${eventIdOf(layout)} < s.c${columns.length - 1}`
  );
}

/** Ends what was still so at the time of a TRUNCATE, with the parameters of `truncateStatement`. */
export function truncateVersions(layout: TableLayout): string {
  const time = `('epoch'::timestamptz + $4::int8 * interval '1 microsecond')`;
  return (
    `UPDATE ${tableOf(layout)} AS t SET ${active} = 0, ${until} = least(t.${until}, ${time}) ` +
    `WHERE ${place('t')} < ($1::int4,$2::int8,$3::int4) AND t._ab_cdc_deleted_at IS NULL ` +
    `AND (t.${until} IS NULL OR t.${until} > ${time})`
  );
}
