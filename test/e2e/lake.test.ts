import { join } from 'node:path';
import { DuckDBInstance } from '@duckdb/node-api';
import { expect, it } from 'vitest';
import { readPublished } from '../integration/destinations/s3/published-reader.ts';
import {
  BUCKET,
  cdcSourceConfig,
  createConnection,
  createDestination,
  createSource,
  query,
  startRig,
  sync,
} from '../support/rig.ts';

it('a table as one row per key in Parquet: what a sync promised is read by the way in', async () => {
  await using rig = await startRig();
  await query(
    rig.source,
    `create table public.customers (id bigint primary key, name text, contact jsonb, bulk text);
     alter table public.customers alter column bulk set storage external;
     insert into public.customers
       select n, 'name ' || n, jsonb_build_object('email', n || '@x'), repeat('b' || n, 2000)
       from generate_series(1, 500) n`,
  );
  const sourceId = await createSource(rig, cdcSourceConfig(rig.source));
  const destinationId = await createDestination(rig, 's3', {
    s3_bucket_name: BUCKET,
    s3_bucket_path: 'data/${NAMESPACE}/${STREAM_NAME}',
    s3_bucket_region: 'us-east-1',
    s3_endpoint: `file://${rig.folder}`,
    format: { format_type: 'Parquet', compression_codec: 'GZIP' },
  });
  const connectionId = await createConnection(rig, sourceId, destinationId, () => 'append_dedup');
  const database = await (await DuckDBInstance.create()).connect();
  const expectEqual = async (columns: string): Promise<void> => {
    const { job } = await sync(rig, connectionId);
    expect(job.status).toBe('succeeded');
    const wanted = await query<Record<string, string | null>>(
      rig.source,
      `select id::text, name, contact::text, md5(bulk) as bulk${columns} from public.customers order by customers.id`,
    );
    const found = await readPublished(
      database,
      join(rig.folder, BUCKET),
      'data/customers',
      `select id::text, name, contact, md5(bulk)${columns} from ROWS order by id`,
    );
    expect(found).toEqual(wanted.map((row) => Object.values(row)));
  };
  await expectEqual('');
  await query(
    rig.source,
    `update public.customers set name = 'renamed ' || id where id % 3 = 0;
     delete from public.customers where id % 5 = 0;
     update public.customers set id = id + 1000 where id % 7 = 0;
     insert into public.customers values (5, 'again', null, null);
     alter table public.customers add column level int default 7;
     update public.customers set level = 8 where id % 2 = 0`,
  );
  await expectEqual(', level::text as level');
  await rig.processes.get('up')?.kill();
  await query(
    rig.source,
    `truncate public.customers;
     insert into public.customers values (1, 'only', '{"a": null}', 'x', null)`,
  );
  await rig.start('up');
  await expectEqual(', level::text as level');
  database.closeSync();
});
