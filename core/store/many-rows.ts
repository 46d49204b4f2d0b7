import type { Queryable } from './database.ts';

/**
 * For queries of many rows: they leave the database as one JSON text. Row by row, a list of 200
 * connections took the embedded store four times as long, most of it for cells that cross from its
 * thread one by one. int8 comes back as number, uuid as text, json as what it holds, order kept.
 */
export async function queryMany<Row extends object>(
  database: Queryable,
  sql: string,
  params: readonly unknown[] = [],
): Promise<Row[]> {
  const [found] = await database.query<{ rows: string | null }>(
    `SELECT json_agg(each)::text AS rows FROM (${sql}) each`,
    params,
  );
  return JSON.parse(found?.rows ?? '[]') as Row[];
}
