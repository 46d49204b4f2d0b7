import type { TableFacts } from './catalog.ts';
import type { SideSession } from './session.ts';

// An operator class of the system's own: `>` is looked up in pg_catalog alone, and would compare a
// type of an extension (citext) by other rules than its index sorts it.
const ORDER_SQL = `
  SELECT json_agg(a.attname ORDER BY k.ord)::text AS key
  FROM pg_index i
  CROSS JOIN LATERAL unnest(i.indkey::int2[], i.indclass::oid[]) WITH ORDINALITY AS k(attnum, opclass, ord)
  JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.attnum
  JOIN pg_opclass o ON o.oid = k.opclass
  WHERE i.indrelid = $1 AND i.indisprimary AND i.indisvalid AND k.ord <= i.indnkeyatts
  HAVING bool_and(o.opcdefault AND o.opcnamespace = 'pg_catalog'::regnamespace)`;

/** Columns by which the table can be read piece by piece: the primary key's; none when it has no
 * such key, or one that a statement of ours cannot compare. */
export async function orderOf(
  sql: Pick<SideSession, 'query'>,
  table: TableFacts,
): Promise<string[]> {
  const [row] = await sql.query(ORDER_SQL, [table.oid]);
  const key = JSON.parse(String(row?.['key'] ?? '[]')) as string[];
  const isRead = key.every((name) => table.columns.some((column) => column.name === name));
  return isRead ? key : [];
}

const LEADING_SQL = `
  SELECT a.attname AS name FROM pg_index i
  JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[0]
  WHERE i.indrelid = $1 AND i.indisvalid AND i.indpred IS NULL`;

/** Columns that an index begins with, so that what is above a value is found without a look at every
 * row. */
export async function indexedColumns(
  sql: SideSession,
  { oid }: TableFacts,
): Promise<ReadonlySet<string>> {
  const rows = await sql.query(LEADING_SQL, [oid]);
  return new Set(rows.map((row) => String(row['name'])));
}
