import { PipelineError } from '../../../core/errors/pipeline-error.ts';
import { streamLabel, type StreamId } from '../../../schemas/catalog/stream-id.ts';
import type { SideSession } from './session.ts';
import { KEY_SQL } from './table-shape.ts';

/** What the server's catalog says of one table. */
export interface TableFacts {
  readonly stream: StreamId;
  readonly oid: number;
  readonly partitioned: boolean;
  /** d default, n nothing, f full, i index. */
  readonly replicaIdentity: string;
  /** Columns of the primary key, or of the index that is the replica identity, in key order. */
  readonly key: readonly string[];
  readonly columns: readonly ColumnFacts[];
  /** Stored or virtual generated columns, which the log does not carry. */
  readonly generated: readonly string[];
  readonly rowsEstimate: number | null;
  readonly blocks: number;
  readonly selectable: boolean;
  /** The files that hold its rows; others after a rewrite or TRUNCATE. */
  readonly files: string;
}

export interface ColumnFacts {
  readonly name: string;
  readonly type: number;
  readonly mod: number;
  readonly notNull: boolean;
}

/** An update or delete of such a table can be published. */
export function hasIdentity(table: TableFacts): boolean {
  return table.replicaIdentity === 'f' || table.key.length > 0;
}

const TABLES_SQL = `
  SELECT c.oid, n.nspname, c.relname, c.relkind, c.relreplident, c.reltuples,
    CASE WHEN c.relkind = 'p' THEN 0
      ELSE pg_relation_size(c.oid) / current_setting('block_size')::int END AS blocks,
    coalesce((SELECT string_agg(coalesce(pg_relation_filenode(l.relid), 0)::text, ',' ORDER BY l.relid)
      FROM pg_partition_tree(c.oid) AS l WHERE l.isleaf), pg_relation_filenode(c.oid)::text) AS files,
    has_table_privilege(c.oid, 'SELECT') AND has_schema_privilege(n.oid, 'USAGE') AS selectable,
    (SELECT json_agg(json_build_array(a.attname, a.atttypid::int8, a.atttypmod, a.attnotnull,
        a.attgenerated <> '') ORDER BY a.attnum)::text
      FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped) AS columns,
    (SELECT key FROM (${KEY_SQL} AND i.indrelid = c.oid GROUP BY i.indrelid) AS k) AS key
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
  WHERE c.relkind IN ('r', 'p') AND c.relpersistence = 'p'`;

export async function tablesOfSchemas(
  sql: SideSession,
  schemas: readonly string[],
): Promise<TableFacts[]> {
  const rows = await sql.query(
    `${TABLES_SQL} AND NOT c.relispartition AND n.nspname = ANY($1) ORDER BY 2, 3`,
    [schemas],
  );
  return rows.map(tableOfRow);
}

export async function tablesNamed(
  sql: Pick<SideSession, 'query'>,
  streams: readonly StreamId[],
): Promise<Map<string, TableFacts>> {
  const rows = await sql.query(
    `${TABLES_SQL} AND (n.nspname, c.relname) IN
       (SELECT * FROM unnest($1::text[], $2::text[]))`,
    [streams.map((stream) => stream.namespace), streams.map((stream) => stream.name)],
  );
  return new Map(rows.map(tableOfRow).map((table) => [streamLabel(table.stream), table] as const));
}

type ColumnJson = [name: string, type: number, mod: number, notNull: boolean, generated: boolean];

function tableOfRow(row: Record<string, unknown>): TableFacts {
  const columns = JSON.parse(String(row['columns'] ?? '[]')) as ColumnJson[];
  const estimate = Number(row['reltuples']);
  return {
    stream: { namespace: String(row['nspname']), name: String(row['relname']) },
    oid: Number(row['oid']),
    partitioned: row['relkind'] === 'p',
    replicaIdentity: String(row['relreplident']),
    key: JSON.parse(String(row['key'] ?? '[]')) as string[],
    columns: columns
      .filter((column) => !column[4])
      .map(([name, type, mod, notNull]) => ({ name, type, mod, notNull })),
    generated: columns.filter((column) => column[4]).map(([name]) => name),
    rowsEstimate: estimate >= 0 ? estimate : null,
    blocks: Number(row['blocks']),
    selectable: row['selectable'] === 't',
    files: String(row['files']),
  };
}

export function streamGone(label: string): PipelineError {
  return new PipelineError('SRC_STREAM_GONE', `table ${label} does not exist any more`, {
    details: { stream: label },
  });
}

export function tableRenamed(label: string, now: string): PipelineError {
  return new PipelineError('SRC_STREAM_GONE', `table ${label} was renamed to ${now}`, {
    details: { stream: label },
  });
}
