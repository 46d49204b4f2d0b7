import { DeleteObjectCommand, ListObjectsV2Command } from '@aws-sdk/client-s3';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { LocalServer } from '../../deploy/local/local-server.ts';
import {
  BUCKET,
  cdcSourceConfig,
  createConnection,
  createDestination,
  createSource,
  objectStore,
  parquetConfig,
  postgresConfig,
  query,
  startRig,
  sync,
  type Rig,
} from '../support/rig.ts';
import { verify } from '../support/verify-command.ts';

const ROWS = 1_200;
const NONE = { missing: [], extra: [], different: [], unsettled: [] };

type Modes = Record<
  string,
  readonly [syncMode: string, destinationSyncMode: string, more?: object]
>;

/** Copies that are compared with the topic: of which events they have a row follows from their mode. */
describe('headrace verify against the topic', () => {
  let rig: Rig;
  let logged: string;
  let unlogged: string;

  beforeAll(async () => {
    rig = await startRig({ withMinio: true });
    for (const table of ['rows', 'merges', 'replaces', 'appends']) {
      await query(
        rig.source,
        `CREATE TABLE ${table} (id int PRIMARY KEY, v double precision, j jsonb, big text,
           updated_at timestamptz NOT NULL DEFAULT now())`,
      );
      await query(
        rig.source,
        `INSERT INTO ${table} SELECT i, exp(i % 90 - 45), json_build_object('é', i, 'a', i / 7.0),
           repeat('x', 10 + i % 3 * 4000) FROM generate_series(1, ${ROWS}) i`,
      );
    }
    logged = await createSource(rig, cdcSourceConfig(rig.source));
    unlogged = await createSource(rig, {
      ...postgresConfig(rig.source),
      schemas: ['public'],
      replication_method: { method: 'Standard' },
    });
  }, 240_000);
  afterAll(() => rig[Symbol.asyncDispose]());

  async function postgres(schema: string, more: object = {}): Promise<string> {
    await query(rig.target, `CREATE SCHEMA ${schema}`);
    return createDestination(rig, 'postgres', { ...postgresConfig(rig.target), schema, ...more });
  }

  const lake = (folder: string): Promise<string> =>
    createDestination(rig, 's3', {
      ...parquetConfig(rig.minio as LocalServer),
      s3_bucket_path: `${folder}/\${NAMESPACE}/\${STREAM_NAME}`,
      rotation_seconds: 2,
    });

  async function read(destinationId: string, modes: Modes): Promise<string> {
    const streams = Object.entries(modes).map(([name, [syncMode, destinationSyncMode, more]]) => ({
      stream: { name, namespace: 'public' },
      config: { syncMode, destinationSyncMode, ...more },
    }));
    const { connectionId } = await rig.api.quiet<{ connectionId: string }>('connections/create', {
      sourceId: unlogged,
      destinationId,
      namespaceDefinition: 'destination',
      syncCatalog: { streams },
    });
    return connectionId;
  }

  async function synced(id: string): Promise<void> {
    const job = await sync(rig, id);
    expect(job.job.status, JSON.stringify(job.attempts)).toBe('succeeded');
  }

  async function equal(id: string, rows: Record<string, number>): Promise<void> {
    const found = await verify(rig, id);
    expect(found, found.out + found.err).toMatchObject({ exit: 0 });
    const counted = [...found.verdicts].map(([name, verdict]) => [name, verdict.rows]);
    expect(Object.fromEntries(counted)).toEqual(rows);
  }

  it('raw documents, by what is in them; flat rows, by their newest events', async () => {
    const [raw, flat] = [
      await postgres('raw', { normalization: { option: 'raw' } }),
      await postgres('flat', { normalization: { option: 'basic' } }),
    ];
    const only = (stream: string): 'append_dedup' | null =>
      stream === 'rows' ? 'append_dedup' : null;
    const ids = [
      await createConnection(rig, logged, raw, only),
      await createConnection(rig, logged, flat, only),
    ] as const;
    for (const id of ids) await synced(id);
    await query(rig.source, `UPDATE rows SET v = v + 1 WHERE id % 3 = 0`);
    await query(rig.source, `DELETE FROM rows WHERE id % 100 = 0`);
    for (const id of ids) await synced(id);
    await equal(ids[0], { 'public.rows': ROWS + ROWS / 3 + ROWS / 100 });
    await equal(ids[1], { 'public.rows': ROWS - ROWS / 100 });
    await query(
      rig.target,
      `UPDATE raw._airbyte_raw_rows SET _airbyte_data = jsonb_set(_airbyte_data, '{v}', '1.5')
         WHERE _airbyte_data->>'id' = '7';
       DELETE FROM raw._airbyte_raw_rows WHERE _airbyte_data->>'id' = '8';
       DELETE FROM flat.rows WHERE id = 11;
       UPDATE flat.rows SET _ab_cdc_lsn = _ab_cdc_lsn - 1 WHERE id = 12`,
    );
    const damaged = await verify(rig, ids[0]);
    const found = damaged.verdicts.get('public.rows');
    expect([found?.missing.length, found?.different.length], damaged.out).toEqual([1, 1]);
    expect(found).toMatchObject({ extra: [], unsettled: [] });
    const flatFound = (await verify(rig, ids[1])).verdicts.get('public.rows');
    expect([flatFound?.missing.length, flatFound?.different.length]).toEqual([1, 1]);
    expect(flatFound).toMatchObject({ extra: [], unsettled: [] });
  }, 290_000);

  it('Parquet with one row per key, in its newest generation', async () => {
    const id = await createConnection(rig, logged, await lake('keyed'), (stream) =>
      stream === 'rows' ? 'append_dedup' : null,
    );
    await synced(id);
    await query(rig.source, `UPDATE rows SET v = v + 1 WHERE id % 5 = 0`);
    await query(rig.source, `DELETE FROM rows WHERE id % 50 = 1`);
    await synced(id);
    const [counted] = await query<{ n: number }>(rig.source, `SELECT count(*)::int AS n FROM rows`);
    await equal(id, { 'public.rows': counted?.n as number });
    const removed = await removeFile(rig, 'keyed/');
    const torn = await verify(rig, id);
    expect(torn.exit, removed + torn.out + torn.err).toBe(1);
    const found = torn.verdicts.get('public.rows');
    expect(found?.missing.length).toBeGreaterThan(0);
    expect(found).toMatchObject({ ...NONE, missing: found?.missing });
  }, 290_000);

  it('streams that jobs read: all, the newest by key, the last whole copy; at rest too', async () => {
    const modes: Modes = {
      appends: ['incremental', 'append', { cursorField: ['updated_at'] }],
      merges: ['incremental', 'append_dedup', { cursorField: ['updated_at'] }],
      replaces: ['full_refresh', 'overwrite'],
    };
    const id = await read(await postgres('jobs'), modes);
    const files = await read(await lake('jobs'), { replaces: ['full_refresh', 'overwrite'] });
    for (const each of [id, files]) await synced(each);
    for (const table of ['appends', 'merges', 'replaces']) {
      await query(rig.source, `UPDATE ${table} SET v = 0, updated_at = now() WHERE id <= 40`);
      await query(rig.source, `DELETE FROM ${table} WHERE id > ${ROWS - 10}`);
    }
    for (const each of [id, files]) await synced(each);
    // What the source has by now is none of the copy's business.
    await query(rig.source, `DELETE FROM replaces WHERE id < 100`);
    await equal(id, {
      'public.appends': ROWS + 40,
      'public.merges': ROWS,
      'public.replaces': ROWS - 10,
    });
    await equal(files, { 'public.replaces': ROWS - 10 });
    await query(
      rig.target,
      `DELETE FROM jobs.replaces WHERE id = 5;
       UPDATE jobs.merges SET _headrace_seq = _headrace_seq + 9 WHERE id = 6;
       INSERT INTO jobs.appends SELECT * FROM jobs.appends WHERE id = 1000`,
    );
    const found = (await verify(rig, id)).verdicts;
    expect(found.get('public.replaces')).toMatchObject({
      ...NONE,
      missing: [[expect.any(String), expect.any(String)]],
    });
    expect(found.get('public.merges')).toMatchObject({ ...NONE, different: [expect.any(Array)] });
    // Forty rows were read again when they had changed; one was put there by hand.
    expect(found.get('public.appends')).toMatchObject({
      ...NONE,
      extra: [expect.any(Array)],
      repeatedKeys: 41,
    });
    const removed = await removeFile(rig, 'jobs/');
    const torn = (await verify(rig, files)).verdicts.get('public.replaces');
    expect(torn?.missing.length, removed).toBeGreaterThan(0);
  }, 290_000);
});

/** The largest file that a generation names. */
async function removeFile(rig: Rig, folder: string): Promise<string> {
  const objects = objectStore(rig.minio as LocalServer);
  try {
    const { Contents = [] } = await objects.send(
      new ListObjectsV2Command({ Bucket: BUCKET, Prefix: folder }),
    );
    const files = Contents.filter(
      ({ Key = '' }) => Key.includes('/_generations/') && Key.endsWith('.parquet'),
    ).toSorted((a, b) =>
      String(b.LastModified?.getTime()).localeCompare(String(a.LastModified?.getTime())),
    );
    const keys = files.map(({ Key }) => Key as string);
    for (const Key of keys) await objects.send(new DeleteObjectCommand({ Bucket: BUCKET, Key }));
    return keys.join(' ');
  } finally {
    objects.destroy();
  }
}
