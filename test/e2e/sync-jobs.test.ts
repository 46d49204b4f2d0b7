import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { freePort } from '../../deploy/local/free-port.ts';
import { startHeadrace, type HeadraceProcess } from '../../deploy/local/headrace.ts';
import {
  cdcSourceConfig,
  connectTo,
  createDestination,
  createSource,
  postgresConfig,
  query,
  startRig,
  statusOf,
  sync,
  until,
  type Job,
  type Rig,
} from '../support/rig.ts';
import { connectWithModes } from '../support/sync-modes.ts';

const ROWS = 30_000;

describe('streams read by sync jobs', () => {
  let rig: Rig;
  let sourceId: string;
  let destinationId: string;
  let connectionId: string;
  let mortal: HeadraceProcess | undefined;

  beforeAll(async () => {
    rig = await startRig({ roles: ['api', 'scheduler', 'source', 'sink'] });
    await query(rig.source, `CREATE ROLE reader LOGIN PASSWORD 'secret'`);
    await query(rig.source, `ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO reader`);
    for (const table of ['adds', 'merges', 'appends', 'replaces']) {
      await query(
        rig.source,
        `CREATE TABLE ${table} (id int PRIMARY KEY, v numeric, updated_at timestamptz DEFAULT now())`,
      );
      await query(
        rig.source,
        `INSERT INTO ${table} SELECT i, i / 3.0 FROM generate_series(1, 3) i`,
      );
    }
    await query(rig.target, `CREATE SCHEMA jobs`);
    sourceId = await createSource(rig, {
      ...postgresConfig(rig.source),
      username: 'reader',
      password: 'secret',
      schemas: ['public'],
      replication_method: { method: 'Standard' },
    });
    destinationId = await createDestination(rig, 'postgres', {
      ...postgresConfig(rig.target),
      schema: 'jobs',
    });
    connectionId = await connectWithModes(rig, { sourceId, destinationId }, 'public', {
      // Read in this order: the first is the one that a kill interrupts.
      appends: ['full_refresh', 'append'],
      adds: ['incremental', 'append', { cursorField: ['updated_at'] }],
      merges: ['incremental', 'append_dedup'],
      replaces: ['full_refresh', 'overwrite'],
    });
  }, 120_000);

  afterAll(async () => {
    await mortal?.kill();
    await rig[Symbol.asyncDispose]();
  });

  const ids = async (table: string): Promise<number[]> =>
    (await query<{ id: number }>(rig.target, `SELECT id FROM jobs.${table} ORDER BY id`)).map(
      ({ id }) => id,
    );

  const ended = (id: number): Promise<Job> =>
    until('the job to end', async () => {
      const job = await rig.api.quiet<Job>('jobs/get', { id });
      return ['succeeded', 'failed', 'cancelled'].includes(job.job.status) && job;
    });

  const succeeded = async (id = connectionId): Promise<void> => {
    const job = await sync(rig, id);
    expect(job.job.status, JSON.stringify(job.attempts)).toBe('succeeded');
  };

  it('are delivered in all four modes with no right but SELECT', { timeout: 120_000 }, async () => {
    expect(
      await rig.api.quiet('connections/get', { connectionId }),
      'nobody reads them between jobs',
    ).toMatchObject({ scheduleType: 'manual' });
    await succeeded();
    for (const table of ['adds', 'merges', 'appends', 'replaces']) {
      expect(await ids(table), table).toEqual([1, 2, 3]);
    }
    await query(rig.target, `CREATE VIEW jobs.seen AS SELECT id, v FROM jobs.replaces`);
    const late = await connectTo(rig.source);
    await late.query(`BEGIN; INSERT INTO adds VALUES (4); INSERT INTO merges VALUES (4)`);
    for (const table of ['adds', 'merges', 'appends', 'replaces']) {
      await query(rig.source, `INSERT INTO ${table} VALUES (5)`);
      await query(rig.source, `UPDATE ${table} SET v = 7, updated_at = now() WHERE id = 1`);
      await query(rig.source, `DELETE FROM ${table} WHERE id = 2`);
    }
    const job = await sync(rig, connectionId);
    expect(job.job.status).toBe('succeeded');
    expect(await ids('adds')).toEqual([1, 1, 2, 3, 5]);
    expect(await ids('merges')).toEqual([1, 2, 3, 5]);
    expect(await ids('appends')).toEqual([1, 1, 2, 3, 3, 5]);
    expect(await ids('replaces')).toEqual([1, 3, 5]);
    expect(await ids('seen')).toEqual([1, 3, 5]);
    const [first] = job.attempts as unknown as { attempt: { totalStats: object } }[];
    expect(first?.attempt.totalStats).toMatchObject({ recordsCommitted: 2 + 2 + 3 + 3 });
    // Committed late, with a value that lies before what was read.
    await late.query('COMMIT');
    await late.end();
    await succeeded();
    expect(await ids('adds')).toEqual([1, 1, 2, 3, 4, 5]);
    expect(await ids('merges')).toEqual([1, 2, 3, 4, 5]);
    const merged = `SELECT v::text FROM jobs.merges WHERE id = 1`;
    expect(await query(rig.target, merged)).toEqual([{ v: '7' }]);
    expect(await query(rig.source, `SELECT slot_name FROM pg_replication_slots`)).toEqual([]);
  });

  it('survive kill -9 in the middle of a refresh', { timeout: 120_000 }, async () => {
    for (const table of ['appends', 'replaces', 'adds']) {
      await query(
        rig.source,
        `INSERT INTO ${table} SELECT i, 0 FROM generate_series(100, ${100 + ROWS}) i`,
      );
    }
    const before = (await ids('appends')).length;
    await rig.processes.get('source')?.kill();
    mortal = await startHeadrace({
      home: `${rig.folder}/mortal`,
      apiPort: await freePort(),
      brokers: `127.0.0.1:${rig.kafka.port}`,
      role: 'source',
      environment: {
        HEADRACE_STORE_URL: `postgres://postgres@127.0.0.1:${rig.target.port}/headrace_store`,
        HEADRACE_FAILPOINTS_ALLOWED: 'yes',
        HEADRACE_FAILPOINTS: 'source.snapshot_chunk=kill',
      },
    });
    const { job } = await rig.api.quiet<Job>('connections/sync', { connectionId });
    await until('the kill', async () => {
      try {
        return process.kill(mortal?.pid ?? 0, 0) && false;
      } catch {
        return true;
      }
    });
    await rig.start('source');
    const done = await ended(job.id);
    expect(done.job.status, JSON.stringify(done.attempts)).toBe('succeeded');
    const rows = (await query<{ n: number }>(rig.source, `SELECT count(*)::int n FROM appends`))[0];
    expect((await ids('appends')).length).toBe(before + (rows?.n ?? 0));
    for (const table of ['replaces', 'adds']) {
      const found = await ids(table);
      expect(found.filter((id) => id >= 100)).toEqual(
        Array.from({ length: ROWS + 1 }, (_, i) => i + 100),
      );
    }
  });

  it('keep what is there when a refresh comes back empty', { timeout: 120_000 }, async () => {
    await query(rig.source, `DELETE FROM replaces`);
    await query(rig.source, `INSERT INTO merges VALUES (6)`);
    const failed = await sync(rig, connectionId);
    expect(failed.job.status).toBe('failed');
    expect(JSON.stringify(failed.attempts)).toContain('SRC_REFRESH_EMPTY');
    expect((await ids('replaces')).length).toBeGreaterThan(ROWS);
    expect(await ids('merges'), 'the others are delivered').toContain(6);
    const wish = { connectionId, streams: [{ streamName: 'replaces', streamNamespace: 'public' }] };
    const { job } = await rig.api.quiet<Job>('connections/reset/stream', wish);
    expect((await ended(job.id)).job.status).toBe('succeeded');
    expect(await ids('replaces')).toEqual([]);
    await query(rig.source, `DELETE FROM merges WHERE id > 4`);
    const again = await rig.api.quiet<Job>('connections/reset/stream', {
      connectionId,
      streams: [{ streamName: 'merges' }],
    });
    expect((await ended(again.job.id)).job.status).toBe('succeeded');
    expect(await ids('merges'), 'rows that are gone leave with a reset').toEqual([1, 3, 4]);
  });

  it('let go within seconds when their job is cancelled', { timeout: 120_000 }, async () => {
    const lock = await connectTo(rig.source);
    await lock.query(`BEGIN; LOCK TABLE adds IN ACCESS EXCLUSIVE MODE`);
    const { job } = await rig.api.quiet<Job>('connections/sync', { connectionId });
    await until('the read to wait for the lock', async () => {
      const { readReport } = (await statusOf(rig, connectionId)) as {
        readReport?: { waitingFor?: string };
      };
      return readReport?.waitingFor?.includes('waiting for a lock on public.adds');
    });
    await rig.api.quiet('jobs/cancel', { id: job.id });
    await until('its session to end', async () => {
      const sessions = `SELECT 1 FROM pg_stat_activity WHERE application_name = 'headrace read'`;
      return (await query(rig.source, sessions)).length === 0;
    });
    await lock.query('ROLLBACK');
    await lock.end();
    const replaced = (await ids('replaces')).length;
    await query(rig.source, `INSERT INTO replaces VALUES (77)`);
    await succeeded();
    expect(await ids('replaces')).toHaveLength(replaced + 1);
  });

  it('share a connection with streams of a log', { timeout: 120_000 }, async () => {
    await query(rig.target, `CREATE SCHEMA mixed`);
    const logged = await createSource(rig, cdcSourceConfig(rig.source));
    const target = await createDestination(rig, 'postgres', {
      ...postgresConfig(rig.target),
      schema: 'mixed',
    });
    const mixed = await connectWithModes(
      rig,
      { sourceId: logged, destinationId: target },
      'public',
      {
        merges: ['incremental', 'append_dedup'],
        replaces: ['full_refresh', 'overwrite'],
      },
    );
    await succeeded(mixed);
    await query(rig.source, `INSERT INTO merges VALUES (8); INSERT INTO replaces VALUES (78)`);
    await query(rig.source, `DELETE FROM merges WHERE id = 1`);
    await succeeded(mixed);
    const of = (table: string) =>
      query<{ id: number }>(rig.target, `SELECT id FROM mixed.${table} ORDER BY id`);
    expect(await of('merges')).toEqual([{ id: 3 }, { id: 4 }, { id: 8 }]);
    expect(await of('replaces')).toEqual([{ id: 77 }, { id: 78 }]);
    await fetch(`http://127.0.0.1:${rig.apiPort}/api/v1/connections/delete`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ connectionId: mixed }),
    });
    await until('the slot to go', async () => {
      const slots = await query(rig.source, `SELECT 1 FROM pg_replication_slots`);
      return slots.length === 0;
    });
  });
});
