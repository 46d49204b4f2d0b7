import type { LocalServer } from '../../deploy/local/local-server.ts';
import { query } from './rig.ts';

/** Rows and an order-independent hash over the text of the named columns: equal on both sides when,
 * and as good as only when, the two hold the same multiset of rows. */
export interface Digest {
  readonly rows: number;
  readonly hash: string;
}

export async function digest(
  server: LocalServer,
  table: string,
  columns: readonly string[],
  where = 'true',
): Promise<Digest> {
  const list = columns.map((column) => `"${column.replaceAll('"', '""')}"::text`).join(', ');
  const [row] = await query<{ rows: number; hash: string }>(
    server,
    `select count(*)::int as rows,
       coalesce(sum(('x' || substr(md5(row(${list})::text), 1, 15))::bit(60)::bigint), 0)::text as hash
     from ${table} where ${where}`,
  );
  return row as Digest;
}

export async function columnsOf(server: LocalServer, table: string): Promise<string[]> {
  const rows = await query<{ attname: string }>(
    server,
    `select attname from pg_attribute where attrelid = $1::regclass and attnum > 0
       and not attisdropped order by attnum`,
    [table],
  );
  return rows.map((row) => row.attname);
}
