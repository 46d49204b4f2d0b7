import { mkdirSync, mkdtempSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import type { DuckDBConnection } from '@duckdb/node-api';

/** The way in that docs/lake.md gives for DuckDB, but that it keeps what it took the files from. */
const WAY_IN = `
  create or replace temp table newest as
    select arg_max(files, generation) as files, arg_max(offsets.next, generation) as next,
      max(generation) as generation
    from read_json('ROOT/FOLDER/_generations/*/*.json')
    group by connectionId, topic, partition;
  set variable files = (
    select list('ROOT/' || file.key) from (select unnest(files) as file from newest));
  set variable next = (select max(next) from newest);
  set variable generation = (select max(generation) from newest);`;

/** Runs SQL over the rows that the manifests below a bucket's folder name; ROWS is the table. */
export async function readPublished(
  database: DuckDBConnection,
  root: string,
  folder: string,
  sql: string,
): Promise<unknown[][]> {
  await database.run(WAY_IN.replaceAll('ROOT', root).replaceAll('FOLDER', folder));
  const table = "read_parquet(getvariable('files'), union_by_name = true)";
  return (await database.runAndReadAll(sql.replaceAll('ROWS', table))).getRows();
}

/** Writes objects into a folder of their own, for readers without a client of the store. */
export async function downloaded(
  scratch: string,
  keys: readonly string[],
  object: (key: string) => Promise<Uint8Array>,
): Promise<string> {
  const root = mkdtempSync(join(scratch, 'bucket-'));
  for (const key of keys) {
    mkdirSync(dirname(join(root, key)), { recursive: true });
    writeFileSync(join(root, key), await object(key));
  }
  return root;
}
