import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { GetObjectCommand, ListObjectsV2Command, type S3Client } from '@aws-sdk/client-s3';
import { DuckDBInstance } from '@duckdb/node-api';
import type { Client } from 'pg';

export interface TableComparison {
  readonly table: string;
  readonly sourceRows: number;
  readonly targetRows: number;
  /** Row count and the sum of every row's hash are the same on both sides. */
  readonly equal: boolean;
  /** Rows in the Parquet files: one per snapshot row and one per change. */
  readonly parquetRows: number;
  /** Rows that remain when the newest change of each key is taken and deletes are left out. */
  readonly parquetKeys: number;
}

interface Digest {
  readonly rows: number;
  readonly hash: string | null;
}

/** Compares one table of the source with the deduped table and with its Parquet files. */
export async function compareTable(
  table: string,
  sides: { source: Client; target: Client; objects: S3Client; bucket: string; prefix: string },
): Promise<TableComparison> {
  const { columns, key } = await shapeOf(sides.source, table);
  const digestSql = `select count(*)::int as rows,
    sum(('x' || substr(md5(r::text), 1, 15))::bit(60)::bigint)::text as hash
    from (select ${columns.map(quoted).join(', ')} from ${quoted(table)}) r`;
  const source = (await sides.source.query<Digest>(digestSql)).rows[0] as Digest;
  const target = (await sides.target.query<Digest>(digestSql)).rows[0] as Digest;
  const parquet = await parquetCounts(sides, table, key);
  return {
    table,
    sourceRows: source.rows,
    targetRows: target.rows,
    equal: source.rows === target.rows && source.hash === target.hash,
    ...parquet,
  };
}

async function shapeOf(source: Client, table: string): Promise<{ columns: string[]; key: string }> {
  const { rows } = await source.query<{ name: string; key: boolean }>(
    `select attname as name, attnum = any(coalesce((select i.indkey::int2[] from pg_index i
       where i.indrelid = attrelid and i.indisprimary), '{}')) as key
     from pg_attribute where attrelid = $1::regclass and attnum > 0 and not attisdropped order by attnum`,
    [quoted(table)],
  );
  return {
    columns: rows.map((row) => row.name),
    key: rows
      .filter((row) => row.key)
      .map((row) => row.name)
      .join(),
  };
}

function quoted(name: string): string {
  return `"${name.replaceAll('"', '""')}"`;
}

async function parquetCounts(
  sides: { objects: S3Client; bucket: string; prefix: string },
  table: string,
  key: string,
): Promise<{ parquetRows: number; parquetKeys: number }> {
  const folder = await mkdtemp(join(tmpdir(), 'headrace-demo-'));
  try {
    const files = await download(sides, `${sides.prefix}/${table}/`, folder);
    if (files === 0) return { parquetRows: 0, parquetKeys: 0 };
    const database = await (await DuckDBInstance.create()).connect();
    const read = `read_parquet('${folder}/*.parquet', union_by_name = true)`;
    const answer = await database.runAndReadAll(
      `select (select count(*) from ${read})::int, count(*)::int from (
         select *, row_number() over (partition by ${key}
           order by _headrace_epoch desc, _ab_cdc_lsn desc, _headrace_seq desc) as newest from ${read})
       where newest = 1 and _ab_cdc_deleted_at is null`,
    );
    const [parquetRows, parquetKeys] = answer.getRows()[0] as [number, number];
    database.closeSync();
    return { parquetRows, parquetKeys };
  } finally {
    await rm(folder, { recursive: true });
  }
}

async function download(
  sides: { objects: S3Client; bucket: string },
  prefix: string,
  folder: string,
): Promise<number> {
  let count = 0;
  let token: string | undefined;
  do {
    const page = await sides.objects.send(
      new ListObjectsV2Command({
        Bucket: sides.bucket,
        Prefix: prefix,
        ...(token === undefined ? {} : { ContinuationToken: token }),
      }),
    );
    for (const object of page.Contents ?? []) {
      if (object.Key?.endsWith('.parquet') !== true) continue;
      const { Body } = await sides.objects.send(
        new GetObjectCommand({ Bucket: sides.bucket, Key: object.Key }),
      );
      await writeFile(
        join(folder, `${count++}.parquet`),
        await (Body as { transformToByteArray(): Promise<Uint8Array> }).transformToByteArray(),
      );
    }
    token = page.NextContinuationToken;
  } while (token !== undefined);
  return count;
}
