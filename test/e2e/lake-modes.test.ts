import { execFile } from 'node:child_process';
import { readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { DuckDBInstance, type DuckDBConnection } from '@duckdb/node-api';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { readAppended } from '../integration/destinations/s3/appended-reader.ts';
import { readPublished } from '../integration/destinations/s3/published-reader.ts';
import {
  BUCKET,
  cdcSourceConfig,
  createDestination,
  createSource,
  query,
  startRig,
  sync,
  until,
  type Rig,
} from '../support/rig.ts';

interface Statuses {
  readonly streams: readonly {
    readonly name: string;
    readonly replay?: { readonly status: string };
  }[];
}

/** Postgres to a folder as the object store, in all modes of one connection, by the API alone. */
describe('the lake', () => {
  let rig: Rig;
  let connectionId: string;
  let database: DuckDBConnection;

  beforeAll(async () => {
    rig = await startRig();
    database = await (await DuckDBInstance.create()).connect();
    await query(
      rig.source,
      `create table customers (id int primary key, contact jsonb);
       create table orders (id int primary key, total numeric(12,2));
       create table events (id int primary key, what text);
       insert into customers select n, jsonb_build_object('email', n || '@x') from generate_series(1, 300) n;
       insert into orders select n, n / 4.0 from generate_series(1, 300) n;
       insert into events select n, 'e' || n from generate_series(1, 50) n`,
    );
    const sourceId = await createSource(rig, cdcSourceConfig(rig.source));
    const destinationId = await createDestination(rig, 's3', {
      s3_bucket_name: BUCKET,
      s3_bucket_path: 'data/${NAMESPACE}/${STREAM_NAME}',
      s3_bucket_region: 'us-east-1',
      s3_endpoint: `file://${rig.folder}`,
      join_small_files: true,
      join_from_files: 2,
      format: { format_type: 'Parquet' },
    });
    const modes = [
      ['customers', 'full_refresh', 'overwrite'],
      ['orders', 'incremental', 'append_dedup'],
      ['events', 'incremental', 'append'],
    ];
    const created = await rig.api.quiet<{ connectionId: string }>('connections/create', {
      sourceId,
      destinationId,
      namespaceDefinition: 'destination',
      syncCatalog: {
        streams: modes.map(([name, syncMode, destinationSyncMode]) => ({
          stream: { name, namespace: 'public' },
          config: { syncMode, destinationSyncMode },
        })),
      },
    });
    ({ connectionId } = created);
  }, 120_000);

  afterAll(async () => {
    database.closeSync();
    await rig[Symbol.asyncDispose]();
  });

  const root = (): string => join(rig.folder, BUCKET);

  async function expectEqual(): Promise<void> {
    const copies: Record<string, string> = {
      customers: "select id, contact->>'email' as email from customers order by 1",
      orders: 'select id, total::text from orders order by 1',
    };
    for (const [name, sql] of Object.entries(copies)) {
      const wanted = (await query(rig.source, sql)).map((row) => Object.values(row) as unknown[]);
      const inFiles =
        name === 'customers'
          ? 'select id::int, contact_email from ROWS order by id'
          : 'select id::int, total::varchar from ROWS order by id';
      expect(await readPublished(database, root(), `data/${name}`, inFiles)).toEqual(wanted);
      // At rest the plain folder is the same.
      const folder = `read_parquet('${root()}/data/${name}/*.parquet', union_by_name = true)`;
      const plain = await database.runAndReadAll(inFiles.replace('ROWS', folder));
      expect(plain.getRows()).toEqual(wanted);
    }
  }

  async function syncs(): Promise<void> {
    expect((await sync(rig, connectionId)).job.status).toBe('succeeded');
  }

  function headrace(...words: string[]): Promise<string> {
    return new Promise((resolve, reject) => {
      const env = { ...process.env, HEADRACE_API_PORT: String(rig.apiPort) };
      const program = ['services/main.ts', ...words];
      execFile(process.execPath, program, { env, timeout: 120_000 }, (error, out, err) =>
        error === null ? resolve(out) : reject(new Error(err)),
      );
    });
  }

  it('is a copy after each sync, and overwrite replaces all of it', async () => {
    await syncs();
    await expectEqual();
    for (const round of [1, 2]) {
      await query(
        rig.source,
        `delete from customers where id % 3 = 0; insert into customers values (${1000 + round}, '{"email": "new"}');
         update orders set total = total + ${round} where id % 2 = 0; delete from orders where id = ${round};
         insert into events values (${1000 + round}, 'more')`,
      );
      await syncs();
      await expectEqual();
    }
    const events = 'select count(*)::int, count(distinct id)::int from ROWS';
    await until('the small files to be joined', async () => {
      const { files } = await appended();
      return files < 3;
    });
    expect(await readAppended(database, join(root(), 'data/events'), events)).toEqual([[52, 52]]);
  }, 240_000);

  async function appended(): Promise<{ files: number }> {
    const folder = join(root(), 'data/events');
    await readAppended(database, folder, 'select count(*) from ROWS');
    const rows = await database.runAndReadAll("select len(getvariable('files'))::int");
    return { files: rows.getRows()[0]?.[0] as number };
  }

  it('is delivered again: a lost file is mended by a rebuild, in place changes nothing', async () => {
    await readPublished(database, root(), 'data/orders', 'select 1 from ROWS limit 1');
    const read = await database.runAndReadAll("select getvariable('files')[1]");
    rmSync(read.getRows()[0]?.[0] as string);
    await headrace('replay', connectionId, '--stream', 'public.orders', '--rebuild');
    await syncs();
    await expectEqual();
    await headrace('replay', connectionId, '--stream', 'public.orders');
    await headrace('replay', connectionId, '--stream', 'public.customers', '--rebuild');
    await expectEqual();
    const { streams } = await rig.api.quiet<Statuses>('connections/status', { connectionId });
    expect(Object.fromEntries(streams.map(({ name, replay }) => [name, replay?.status]))).toEqual({
      customers: 'succeeded',
      orders: 'succeeded',
      events: undefined,
    });
  }, 240_000);

  it('has appended files written anew; in place is refused and says what to do instead', async () => {
    const folder = join(root(), 'data/events');
    const lost = readdirSync(folder).find((name) => name.endsWith('.parquet'));
    rmSync(join(folder, lost as string));
    await headrace('replay', connectionId, '--stream', 'public.events', '--rebuild');
    await syncs();
    const events = 'select count(*)::int, count(distinct id)::int from ROWS';
    expect(await readAppended(database, folder, events)).toEqual([[52, 52]]);
    const refused = headrace('replay', connectionId, '--stream', 'public.events');
    await expect(refused).rejects.toThrow(/stream public\.events: .*--rebuild/);
    await expect(headrace('replay', connectionId)).rejects.toThrow('API_INVALID_CONNECTION');
  }, 120_000);
});
