import type { SideSession } from './session.ts';

/** A column as the server's catalog has it now. */
export interface CatalogColumn {
  /** Its number, which no other column of the table ever gets: a name may change or come again. */
  readonly num: number;
  readonly name: string;
  readonly type: number;
  readonly mod: number;
  /** Transaction that wrote its catalog entry last. */
  readonly stamp: string;
  /** Properties that change the entry but no value: NOT NULL, a default, a value for older rows. */
  readonly traits: string;
  /** Nullable and without a default: nothing but events put values into it. */
  readonly isPlain: boolean;
  /** What rows that are older than the column have in it, as the server prints it. Several where the
   * table's parts differ; none where such rows have NULL or were rewritten. */
  readonly initials: readonly string[];
}

/** A part of a partitioned table, or the table itself. */
export interface CatalogMember {
  readonly oid: number;
  readonly name: string;
  /** The file of its rows: another one after a rewrite or TRUNCATE. */
  readonly file: number;
  /** It had a life of its own, and perhaps rows, before it became a part. */
  readonly attached: boolean;
  /** Transaction and command that made it a part; null for the table itself. */
  readonly joined: { readonly xid: string; readonly command: number } | null;
}

/** What the log does not tell of a table, by the catalog of now, which may be ahead of the log. */
export interface TableShape {
  readonly oid: number;
  /** `schema.table`, as it is called now. */
  readonly label: string;
  /** Highest column number that was ever given. */
  readonly lastNum: number;
  readonly key: readonly string[];
  /** Without generated columns, which the log does not carry. */
  readonly columns: readonly CatalogColumn[];
  readonly members: readonly CatalogMember[];
}

// A deferrable key cannot identify rows in the log; columns that are merely included are no key.
export const KEY_SQL = `
  SELECT i.indrelid, json_agg(a.attname ORDER BY k.ord)::text AS key
  FROM pg_index i
  JOIN pg_class kc ON kc.oid = i.indrelid
  CROSS JOIN LATERAL unnest(i.indkey) WITH ORDINALITY AS k(attnum, ord)
  JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.attnum
  WHERE k.ord <= i.indnkeyatts AND i.indisvalid AND i.indimmediate
    AND CASE kc.relreplident WHEN 'i' THEN i.indisreplident WHEN 'n' THEN false
        ELSE i.indisprimary END`;

// pg_partition_tree knows nothing of a plain table. The entry of a table's own system column (tableoid, -6) is as old as the table: a part whose place
// in the tree is younger than that was attached.
const SHAPES_SQL = `
  SELECT c.oid, n.nspname || '.' || c.relname AS label, c.relnatts,
    (SELECT key FROM (${KEY_SQL} AND i.indrelid = c.oid GROUP BY i.indrelid) AS k) AS key,
    (SELECT json_agg(json_build_array(a.attnum, a.attname, a.atttypid::int8, a.atttypmod, a.xmin::text,
        concat(a.attnotnull, a.atthasdef, a.atthasmissing),
        (SELECT json_agg(DISTINCT (m.attmissingval::text::text[])[1]) FROM pg_attribute m
          WHERE m.attrelid = ANY(tree.members) AND m.attname = a.attname AND m.atthasmissing))
        ORDER BY a.attnum)::text
      FROM pg_attribute a
      WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = '') AS columns,
    (SELECT json_agg(json_build_array(m.oid::int8, format('%I.%I', mn.nspname, m.relname),
        coalesce(pg_relation_filenode(m.oid), 0)::int8, m.oid <> c.oid AND i.xmin <> own.xmin,
        i.xmin::text, i.cmin::text::int8))::text
      FROM pg_class m JOIN pg_namespace mn ON mn.oid = m.relnamespace
      JOIN pg_attribute own ON own.attrelid = m.oid AND own.attnum = -6
      LEFT JOIN pg_inherits i ON i.inhrelid = m.oid
      WHERE m.oid = ANY(tree.members)) AS members
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
  CROSS JOIN LATERAL (SELECT coalesce(array_agg(t.relid::oid), ARRAY[c.oid]) AS members
    FROM pg_partition_tree(c.oid) t) AS tree
  WHERE c.oid = ANY($1::oid[])`;

type ColumnJson = [number, string, number, number, string, string, string[] | null];
type MemberJson = [number, string, number, boolean, string | null, number | null];

/** Shapes by object id; a table that is gone is missing. */
export async function readShapes(
  sql: SideSession,
  oids: readonly number[],
): Promise<Map<number, TableShape>> {
  if (oids.length === 0) return new Map();
  const rows = await sql.prepared('shapes', SHAPES_SQL, [oids]);
  return new Map(rows.map((row) => [Number(row['oid']), shapeOf(row)]));
}

function shapeOf(row: Record<string, unknown>): TableShape {
  const columns = JSON.parse(String(row['columns'] ?? '[]')) as ColumnJson[];
  const members = JSON.parse(String(row['members'] ?? '[]')) as MemberJson[];
  return {
    oid: Number(row['oid']),
    label: String(row['label']),
    lastNum: Number(row['relnatts']),
    key: JSON.parse(String(row['key'] ?? '[]')) as string[],
    columns: columns.map(([num, name, type, mod, stamp, traits, initials]) => ({
      num,
      name,
      type,
      mod,
      stamp,
      traits,
      isPlain: !traits.startsWith('t') && traits[1] !== 't',
      initials: initials ?? [],
    })),
    members: members.map(([oid, name, file, attached, xid, command]) => ({
      oid,
      name,
      file,
      attached,
      joined: xid === null || command === null ? null : { xid, command },
    })),
  };
}

/** Whether any row has a value in the column now. */
export async function hasValues(
  sql: SideSession,
  { members, oid }: TableShape,
  column: string,
): Promise<boolean> {
  const name = members.find((member) => member.oid === oid)?.name as string;
  return exists(sql, `${name} WHERE "${column.replaceAll('"', '""')}" IS NOT NULL`);
}

/** Whether a part has rows from before it was one. A part that was made, filled and attached in one
 * transaction is told by the order of its commands. */
export async function broughtRows(
  sql: SideSession,
  { name, attached, joined }: CatalogMember,
): Promise<boolean> {
  if (attached) return exists(sql, name);
  if (joined === null) return false;
  return exists(
    sql,
    `${name} WHERE xmin = '${joined.xid}' AND cmin::text::int8 < ${joined.command}`,
  );
}

async function exists(sql: SideSession, from: string): Promise<boolean> {
  const [row] = await sql.query(`SELECT EXISTS (SELECT FROM ${from}) AS found`);
  return row?.['found'] !== 'f';
}
