import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  cdcSourceConfig,
  createConnection,
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

const TOO_LARGE = 2_000_000;

describe('copying streams anew', () => {
  let rig: Rig;
  let connectionId: string;

  beforeAll(async () => {
    rig = await startRig();
    await query(rig.source, `CREATE TABLE notes (id int PRIMARY KEY, body text)`);
    await query(rig.source, `CREATE TABLE other (id int PRIMARY KEY)`);
    await query(rig.source, `INSERT INTO notes SELECT i, 'n' || i FROM generate_series(1, 50) i`);
    const sourceId = await createSource(rig, cdcSourceConfig(rig.source));
    const destinationId = await createDestination(rig, 'postgres', {
      ...postgresConfig(rig.target),
      schema: 'public',
    });
    connectionId = await createConnection(rig, sourceId, destinationId, () => 'append_dedup');
    expect((await sync(rig, connectionId)).job.status).toBe('succeeded');
  }, 120_000);

  afterAll(() => rig[Symbol.asyncDispose]());

  const rows = async (server: 'source' | 'target') =>
    (await query(rig[server], `SELECT id, md5(body) AS body FROM notes ORDER BY id`)) as unknown[];

  const ended = (id: number) =>
    until('the reset to end', async () => {
      const job = await rig.api.quiet<Job>('jobs/get', { id });
      return ['succeeded', 'failed'].includes(job.job.status) && job;
    });

  const phaseOf = async (name: string) =>
    (await statusOf(rig, connectionId)).sourceReport?.streams.find((each) => each.name === name);

  it('brings a stopped stream back, deleted rows included, while others go on', async () => {
    await query(rig.source, `ALTER TABLE notes ALTER body SET STORAGE EXTERNAL`);
    await query(rig.source, `INSERT INTO notes VALUES (1000, repeat('x', ${TOO_LARGE}))`);
    await until('the stream to stop', async () => (await phaseOf('notes'))?.phase === 'stopped');
    await query(rig.source, `DELETE FROM notes WHERE id < 10 OR id = 1000`);
    await query(rig.source, `INSERT INTO other VALUES (7)`);
    const failed = await sync(rig, connectionId);
    expect(failed.job.status).toBe('failed');

    const started = await rig.api.quiet<Job>('connections/reset/stream', {
      connectionId,
      streams: [{ streamName: 'notes', streamNamespace: 'public' }],
    });
    expect(started.job).toMatchObject({ configType: 'reset_connection' });
    expect((await ended(started.job.id)).job.status).toBe('succeeded');
    expect(await rows('target')).toEqual(await rows('source'));
    expect(await query(rig.target, `SELECT id FROM other`)).toEqual([{ id: 7 }]);

    await query(rig.source, `INSERT INTO notes VALUES (51, 'after')`);
    expect((await sync(rig, connectionId)).job.status).toBe('succeeded');
    expect(await rows('target')).toEqual(await rows('source'));
  }, 60_000);

  it('begins anew when the slot is gone, even if killed on the way', async () => {
    await rig.processes.get('up')?.kill();
    await query(rig.source, `SELECT pg_drop_replication_slot('headrace')`);
    await query(rig.source, `DELETE FROM notes WHERE id < 20`);
    await rig.start('up');
    const failed = await sync(rig, connectionId);
    expect(failed.job.status).toBe('failed');
    expect(JSON.stringify(failed.attempts)).toContain('SRC_SLOT_MISSING');

    const { job } = await rig.api.quiet<Job>('connections/reset', { connectionId });
    await rig.processes.get('up')?.kill();
    await rig.start('up');
    expect((await ended(job.id)).job.status).toBe('succeeded');
    expect(await rows('target')).toEqual(await rows('source'));
    await query(rig.source, `UPDATE notes SET body = 'again' WHERE id = 30`);
    expect((await sync(rig, connectionId)).job.status).toBe('succeeded');
    expect(await rows('target')).toEqual(await rows('source'));
  }, 120_000);
});
