import type { DuckDBConnection } from '@duckdb/node-api';

/** The way into appended files that docs/lake.md gives for DuckDB. */
const WAY_IN = String.raw`
  create or replace temp table rebuilt as
    select parts.owner as owner, max(parts.number::int) as number
    from (select regexp_extract(file, '([0-9a-f]{8}-\d+)-(\d{20})\.json$', ['owner', 'number']) as parts
      from glob('FOLDER/_rebuilds/*.json'))
    group by all;
  set variable files = (
    select list(file) from (
      select file, first, max(next) over (partition by place order by first, next desc
        rows between unbounded preceding and 1 preceding) as before
      from (select file, regexp_replace(file, '[^/]*$', '') || owner as place, first, next
        from (select file, unnest(regexp_extract(file, '([0-9a-f]{8}-\d+)(?:-r(\d+))?-(\d{20})-(\d{20})[^/]*$',
          ['owner', 'rebuild', 'first', 'next'])) from glob('FOLDER/*.parquet'))
        left join rebuilt using (owner)
        where ifnull(try_cast(rebuild as int), 0) = ifnull(number, 0)))
    where before is null or before <= first);`;

/** Runs SQL over a folder's rows, each once; ROWS is the table. */
export async function readAppended(
  database: DuckDBConnection,
  folder: string,
  sql: string,
): Promise<unknown[][]> {
  await database.run(WAY_IN.replaceAll('FOLDER', folder));
  const table = "read_parquet(getvariable('files'), union_by_name = true)";
  return (await database.runAndReadAll(sql.replaceAll('ROWS', table))).getRows();
}
