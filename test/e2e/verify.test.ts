import { setTimeout as delay } from 'node:timers/promises';
import { DeleteObjectCommand, ListObjectsV2Command } from '@aws-sdk/client-s3';
import type pg from 'pg';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { LocalServer } from '../../deploy/local/local-server.ts';
import {
  BUCKET,
  cdcSourceConfig,
  connectTo,
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

const TABLES = `
  CREATE TYPE mood AS ENUM ('sad', 'ok', 'glad');
  CREATE TABLE numbers (id bigint PRIMARY KEY, n numeric, d double precision, r real, b bytea, j jsonb,
    at timestamptz, span interval, m money, tags text[], note text);
  CREATE TABLE words (word text PRIMARY KEY, weight int);
  CREATE TABLE pairs (a int, b text, at date, v int, PRIMARY KEY (at, b, a));
  CREATE TABLE moods (m mood, n smallint, v int, PRIMARY KEY (n, m));
  CREATE TABLE empty (id uuid PRIMARY KEY);
  CREATE TABLE log (line text);
  INSERT INTO numbers SELECT i, i / 7.0, 1.0 / i, 1.0 / i, decode(md5(i::text), 'hex'), json_build_object('i', i),
    '2026-01-01 12:00:00+00'::timestamptz + i * interval '61 minutes', i * interval '1 day 3 seconds', i::money,
    ARRAY['a', NULL, 'NULL', i::text], CASE WHEN i % 3 = 0 THEN '' WHEN i % 3 = 1 THEN 'x' END
    FROM generate_series(1, 3000) i;
  INSERT INTO words SELECT CASE i % 5 WHEN 0 THEN 'É' WHEN 1 THEN 'é' WHEN 2 THEN '"q",\\' WHEN 3 THEN 'Z ' ELSE 'z-' END || i, i
    FROM generate_series(1, 2000) i;
  INSERT INTO words VALUES ('', 0);
  INSERT INTO pairs SELECT i % 7, 'b' || i, '2026-01-01'::date + i % 30, i FROM generate_series(1, 2000) i;
  INSERT INTO moods SELECT m, n, n FROM unnest(enum_range(NULL::mood)) m, generate_series(1, 40) n;`;

/** Reset what a server would print by; both sides differently. */
const HOSTILE = (database: string, zone: string): string =>
  ['datestyle', 'German', 'timezone', zone, 'extra_float_digits', '-3', 'bytea_output', 'escape']
    .flatMap((name, i, all) =>
      i % 2 === 0 ? [`ALTER DATABASE ${database} SET ${name} = '${all[i + 1]}';`] : [],
    )
    .join('');

describe('headrace verify', () => {
  let rig: Rig;
  let connectionId: string;
  let historyId: string;
  let lakeId: string;

  beforeAll(async () => {
    rig = await startRig({ withMinio: true });
    await query(rig.source, HOSTILE('postgres', 'America/New_York'));
    await query(rig.target, HOSTILE('postgres', 'Asia/Kathmandu'));
    await query(rig.source, TABLES);
    const sourceId = await createSource(rig, cdcSourceConfig(rig.source));
    const destinationId = await createDestination(rig, 'postgres', postgresConfig(rig.target));
    connectionId = await createConnection(rig, sourceId, destinationId, (_, keyed) =>
      keyed ? 'append_dedup' : null,
    );
    await query(rig.target, 'create schema history');
    const history = { ...postgresConfig(rig.target), schema: 'history' };
    const appended = (stream: string): 'append' | null =>
      ['words', 'log'].includes(stream) ? 'append' : null;
    historyId = await createConnection(
      rig,
      sourceId,
      await createDestination(rig, 'postgres', history),
      appended,
    );
    const lake = { ...parquetConfig(rig.minio as LocalServer), rotation_seconds: 2 };
    const lakeDestination = await createDestination(rig, 's3', lake);
    lakeId = await createConnection(rig, sourceId, lakeDestination, appended);
    for (const id of [connectionId, historyId, lakeId]) {
      expect((await sync(rig, id)).job.status).toBe('succeeded');
    }
  }, 240_000);

  afterAll(() => rig[Symbol.asyncDispose]());

  it('finds copies equal while they are written to, and names exactly the keys that are not', async () => {
    const writers = await startWriters(rig);
    try {
      const equal = await verify(rig, connectionId);
      expect(equal, equal.out + equal.err).toMatchObject({ exit: 0 });
      expect([...equal.verdicts.keys()].toSorted()).toEqual(
        ['empty', 'moods', 'numbers', 'pairs', 'words'].map((name) => `public.${name}`),
      );
      expect(equal.verdicts.get('public.pairs')?.rows).toBe(2000);
      await query(rig.target, DAMAGE);
      const damaged = await verify(rig, connectionId);
      expect(damaged, damaged.out + damaged.err).toMatchObject({ exit: 1 });
      const found = damaged.verdicts;
      const none = { missing: [], extra: [], different: [], unsettled: [] };
      expect(found.get('public.numbers')).toMatchObject({
        missing: [['2001'], ['2777']],
        different: [['2100']],
        extra: [],
        unsettled: [],
      });
      expect(found.get('public.words')).toMatchObject({ ...none, extra: [['ëxtra']] });
      expect(found.get('public.pairs')).toMatchObject({
        ...none,
        different: [['2026-01-02', 'b1', '1']],
      });
      expect(found.get('public.moods')).toMatchObject({ ...none, missing: [['7', 'glad']] });
      expect(found.get('public.empty')).toMatchObject({ ...none, rows: 0 });
    } finally {
      await writers.stop();
    }
  }, 500_000);

  it('compares what is appended with the topic: tables and Parquet files', async () => {
    await query(rig.source, `DELETE FROM words WHERE word LIKE 'É%'`);
    await query(rig.source, `INSERT INTO log SELECT 'line ' || i FROM generate_series(1, 1500) i`);
    for (const id of [historyId, lakeId]) {
      expect((await sync(rig, id)).job.status).toBe('succeeded');
      const equal = await verify(rig, id);
      expect(equal, equal.out + equal.err).toMatchObject({ exit: 0 });
      expect(equal.verdicts.get('public.log')?.rows).toBe(1500);
    }
    await query(
      rig.target,
      `DELETE FROM history.log WHERE line = 'line 7';
       INSERT INTO history.log SELECT * FROM history.log WHERE line = 'line 9';
       UPDATE history.words SET _ab_cdc_deleted_at = NULL WHERE _ab_cdc_deleted_at IS NOT NULL AND word = 'É5'`,
    );
    const damaged = await verify(rig, historyId);
    const found = damaged.verdicts;
    expect(damaged.exit, damaged.out + damaged.err).toBe(1);
    expect(found.get('public.log')).toMatchObject({ different: [], unsettled: [] });
    expect(found.get('public.log')?.missing).toHaveLength(1);
    expect(found.get('public.log')?.extra).toHaveLength(1);
    expect(found.get('public.words')).toMatchObject({ missing: [], extra: [] });
    expect(found.get('public.words')?.different).toHaveLength(1);
    await removeOneFile(rig, 'log');
    const torn = await verify(rig, lakeId);
    expect(torn.exit, torn.out + torn.err).toBe(1);
    expect(torn.verdicts.get('public.log')?.missing.length).toBeGreaterThan(0);
    expect(torn.verdicts.get('public.words')).toMatchObject({ missing: [], extra: [] });
  }, 300_000);

  it('says by code what it cannot compare', async () => {
    const unknown = await verify(rig, '00000000-0000-4000-8000-000000000000');
    expect(unknown.err).toContain('API_NOT_FOUND');
    expect(unknown.exit).toBe(1);
  }, 60_000);
});

async function removeOneFile(rig: Rig, stream: string): Promise<void> {
  const objects = objectStore(rig.minio as LocalServer);
  const { Contents = [] } = await objects.send(
    new ListObjectsV2Command({ Bucket: BUCKET, Prefix: 'data/' }),
  );
  const key = Contents.map(({ Key }) => Key as string).find(
    (each) => each.includes(`/${stream}/`) && each.endsWith('.parquet'),
  );
  await objects.send(new DeleteObjectCommand({ Bucket: BUCKET, Key: key as string }));
  objects.destroy();
}

/** Rows that no writer touches. */
const DAMAGE = `
  DELETE FROM numbers WHERE id IN (2001, 2777);
  UPDATE numbers SET note = NULL WHERE id = 2100;
  INSERT INTO words SELECT 'ëxtra', 1, _airbyte_ab_id, _airbyte_emitted_at, _ab_cdc_lsn FROM words LIMIT 1;
  UPDATE pairs SET v = v + 1 WHERE b = 'b1';
  DELETE FROM moods WHERE n = 7 AND m = 'glad';`;

/** Inserts, updates, deletes and one row that never rests. */
async function startWriters(rig: Rig): Promise<{ stop(): Promise<void> }> {
  let stopped = false;
  const each = async (sql: string, pauseMs: number): Promise<void> => {
    const client: pg.Client = await connectTo(rig.source);
    try {
      for (let n = 1; !stopped; n++) {
        await client.query(sql, [n]);
        await delay(pauseMs);
      }
    } finally {
      await client.end();
    }
  };
  const all = [
    each(`UPDATE numbers SET n = n + $1 WHERE id = 1`, 40),
    each(
      `UPDATE numbers SET d = d + 1 WHERE id IN (2 + $1::int * 37 % 1900, 3 + $1::int * 53 % 1900)`,
      150,
    ),
    each(
      `WITH d AS (DELETE FROM words WHERE weight = 1 + $1::int % 1500) INSERT INTO words VALUES ('new' || $1::int, 3000)`,
      150,
    ),
  ];
  return {
    stop: async () => {
      stopped = true;
      await Promise.all(all);
    },
  };
}
