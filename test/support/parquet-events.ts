import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { GetObjectCommand, paginateListObjectsV2 } from '@aws-sdk/client-s3';
import { DuckDBInstance } from '@duckdb/node-api';
import type { LocalServer } from '../../deploy/local/local-server.ts';
import { BUCKET, objectStore } from './rig.ts';

export interface StreamEvents {
  readonly rows: number;
  /** Distinct (epoch, lsn, seq) and, for snapshot rows, which share one, distinct record ids. */
  readonly identities: number;
  /** Rows of transactions that committed after the last of all snapshots was taken. */
  readonly streamed: number;
}

/** Downloads every Parquet file below a prefix into folders named for their stream, and gives them to
 * `read`, a DuckDB query runner; the folder is removed afterwards. */
export async function withParquet<T>(
  minio: LocalServer,
  prefix: string,
  read: (
    streams: readonly string[],
    rows: (sql: string) => Promise<unknown[][]>,
    folder: string,
  ) => Promise<T>,
): Promise<T> {
  const folder = await mkdtemp(join(tmpdir(), 'headrace-parquet-'));
  const objects = objectStore(minio);
  const streams = new Map<string, number>();
  try {
    for await (const page of paginateListObjectsV2(
      { client: objects },
      { Bucket: BUCKET, Prefix: `${prefix}/` },
    )) {
      for (const { Key } of page.Contents ?? []) {
        if (Key?.endsWith('.parquet') !== true) continue;
        const stream = Key.split('/').at(-2) as string;
        const { Body } = await objects.send(new GetObjectCommand({ Bucket: BUCKET, Key }));
        const number = streams.get(stream) ?? 0;
        streams.set(stream, number + 1);
        const bytes = (await Body?.transformToByteArray()) as Uint8Array;
        await writeFile(join(folder, `${stream}-${number}.parquet`), bytes);
      }
    }
    const database = await (await DuckDBInstance.create()).connect();
    const rows = async (sql: string): Promise<unknown[][]> =>
      (await database.runAndReadAll(sql)).getRows();
    const result = await read([...streams.keys()], rows, folder);
    database.closeSync();
    return result;
  } finally {
    objects.destroy();
    await rm(folder, { recursive: true });
  }
}

export function parquetEvents(
  minio: LocalServer,
  prefix: string,
): Promise<Map<string, StreamEvents>> {
  return withParquet(minio, prefix, async (streams, rows, folder) => {
    const filesOf = (stream: string): string =>
      `read_parquet('${folder}/${stream}-*.parquet', union_by_name = true)`;
    let lastSnapshot = 0n;
    for (const stream of streams) {
      const [row] = await rows(
        `select coalesce(max(_ab_cdc_lsn), 0)::bigint from ${filesOf(stream)} where _headrace_seq = 0`,
      );
      const lsn = row?.[0] as bigint;
      if (lsn > lastSnapshot) lastSnapshot = lsn;
    }
    const found = new Map<string, StreamEvents>();
    for (const stream of streams) {
      const [counts] = await rows(
        `select count(*)::int, (count(distinct (_headrace_epoch, _ab_cdc_lsn, _headrace_seq))
             filter (where _headrace_seq > 0)
           + count(distinct _airbyte_ab_id) filter (where _headrace_seq = 0))::int,
           (count(*) filter (where _headrace_seq > 0 and _ab_cdc_lsn >= ${lastSnapshot}))::int
         from ${filesOf(stream)}`,
      );
      const [all, identities, streamed] = counts as [number, number, number];
      found.set(stream, { rows: all, identities, streamed });
    }
    return found;
  });
}
