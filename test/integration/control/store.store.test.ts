import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { openStore, type Store } from '../../../core/store/store.ts';
import type { SourceReport } from '../../../core/store/work.ts';
import { DEFAULT_WORKSPACE_ID } from '../../../core/store/workspaces.ts';
import { postgresContext, type ServerContext } from '../../support/contexts.ts';
import { documentOf, embeddedStore, seedConnection } from './store-fixture.ts';

/** Opens the store of each driver; the hostile defaults must change nothing. */
const drivers = {
  embedded: async () => {
    const home = mkdtempSync(join(tmpdir(), 'headrace-store-'));
    const store = await openStore({ home, storeUrl: null, secretKey: null });
    return { store, stop: async () => rmSync(home, { recursive: true, force: true }) };
  },
  postgres: async () => {
    const server: ServerContext = await postgresContext();
    const settings = { home: '/nowhere', secretKey: null };
    const first = await openStore({ ...settings, storeUrl: server.url });
    await first.close();
    const { default: pg } = await import('pg');
    const client = new pg.Client(server.url);
    await client.connect();
    await client.query(`ALTER DATABASE postgres SET search_path = nowhere`);
    await client.query(`ALTER DATABASE postgres SET datestyle = 'German'`);
    await client.query(`ALTER DATABASE postgres SET client_encoding = 'LATIN1'`);
    await client.end();
    // Two at once over one database: the migrations are applied once.
    const [store, second] = await Promise.all([
      openStore({ ...settings, storeUrl: server.url }),
      openStore({ ...settings, storeUrl: server.url }),
    ]);
    await second.close();
    return { store, stop: async () => await server[Symbol.asyncDispose]() };
  },
};

describe.each(Object.entries(drivers))('store, %s', (_name, open) => {
  let store: Store;
  let stop: () => Promise<void>;

  beforeAll(async () => ({ store, stop } = await open()), 120_000);
  afterAll(async () => {
    await store?.close();
    await stop?.();
  });

  it('has one workspace', async () => {
    expect(await store.workspaces.list()).toMatchObject([{ id: DEFAULT_WORKSPACE_ID }]);
  });

  it('keeps names and configurations exactly, keys in their order', async () => {
    const actor = await store.actors.create({
      workspaceId: DEFAULT_WORKSPACE_ID,
      kind: 'source',
      name: 'PostgreSQL → MinIO',
      definitionId: DEFAULT_WORKSPACE_ID,
      connector: 'fake',
      configuration: { zeta: 1, alpha: { list: ['ä', null, 1.5] } },
    });
    const back = await store.actors.get('source', actor.id);
    expect(back).toEqual(actor);
    expect(Object.keys(back.configuration)).toEqual(['zeta', 'alpha']);
  });

  it('lets exactly one of many take a lease, and another when it has run out', async () => {
    const unit = 'connection:raced';
    const taken = await Promise.all(
      Array.from({ length: 12 }, (_, i) => store.work.acquireLease(unit, `owner-${i}`, 60_000)),
    );
    expect(taken.filter(Boolean)).toHaveLength(1);
    const owner = `owner-${taken.indexOf(true)}`;
    expect(await store.work.acquireLease(unit, owner, 0)).toBe(true);
    await expect
      .poll(() => store.work.acquireLease(unit, 'next', 60_000), { interval: 5 })
      .toBe(true);
    await store.work.releaseLease(unit, owner);
    expect(await store.work.acquireLease(unit, 'third', 60_000)).toBe(false);
    await store.work.releaseLease(unit, 'next');
    expect(await store.work.acquireLease(unit, 'third', 60_000)).toBe(true);
  });

  it('delivers a command once, and does not pile up the same one', async () => {
    await store.work.sendCommand('connection:c', 'flush', []);
    await store.work.sendCommand('connection:c', 'flush', []);
    await store.work.sendCommand('connection:c', 'flush', [{ namespace: 'a', name: 'b' }]);
    const taken = await store.work.takeCommands('connection:c');
    expect(taken.map((command) => command.kind)).toEqual(['flush', 'flush']);
    expect(taken[1]).toMatchObject({ streams: [{ namespace: 'a', name: 'b' }] });
    expect(await store.work.takeCommands('connection:c')).toEqual([]);
  });

  it('lists wanted work with names, modes and keys resolved', async () => {
    const stream = { name: 'orders', namespace: 'public', sourceDefinedPrimaryKey: [['id']] };
    const config = { syncMode: 'incremental', destinationSyncMode: 'append_dedup' };
    const ids = await seedConnection(
      store,
      documentOf({
        namespaceDefinition: 'customformat',
        namespaceFormat: 'production_${SOURCE_NAMESPACE}',
        prefix: 'p_',
        syncCatalog: {
          streams: [
            { stream, config },
            { stream: { ...stream, name: 'left_out' }, config: { ...config, selected: false } },
          ],
        },
      }),
    );
    const work = await store.work.listWork();
    const source = work.sources.find((each) => each.sourceId === ids.sourceId);
    expect(source).toMatchObject({
      connector: 'fake',
      config: { host: 'db', password: 'hunter2' },
      streams: [{ namespace: 'public', name: 'orders' }],
    });
    const connection = work.connections.find((each) => each.connectionId === ids.connectionId);
    expect(connection).toMatchObject({
      sourceId: ids.sourceId,
      streams: [
        {
          namespace: 'public',
          name: 'orders',
          destinationNamespace: 'production_public',
          destinationName: 'p_orders',
          mode: 'append_dedup',
          primaryKey: ['id'],
        },
      ],
    });
    expect(connection?.streams).toHaveLength(1);
  });

  it('changes a version when the work changes, and only then', async () => {
    const ids = await seedConnection(store);
    const find = async (): Promise<{ source?: string; connection?: string }> => {
      const work = await store.work.listWork();
      const source = work.sources.find((each) => each.sourceId === ids.sourceId)?.version;
      const connection = work.connections.find((each) => each.connectionId === ids.connectionId);
      return { ...(source && { source }), ...(connection && { connection: connection.version }) };
    };
    const before = await find();
    await store.connections.update(ids.connectionId, {
      status: 'active',
      document: documentOf({ name: 'another name' }),
    });
    expect(await find()).toEqual(before);
    await store.actors.update(ids.sourceId, { name: 'renamed', configuration: { host: 'db2' } });
    const after = await find();
    expect(after.source).not.toBe(before.source);
    expect(after.connection).toBe(before.connection);
    await store.connections.update(ids.connectionId, {
      status: 'inactive',
      document: documentOf(),
    });
    expect(await find()).toEqual({});
  });

  it('feeds a scheduled connection only while a job is open, and captures it always', async () => {
    const ids = await seedConnection(store, documentOf({ scheduleType: 'manual' }));
    const due = async (): Promise<boolean> =>
      (await store.work.listWork()).connections.some((c) => c.connectionId === ids.connectionId);
    expect(await due()).toBe(false);
    const job = await store.jobs.create(ids.connectionId, []);
    expect(await due()).toBe(true);
    await store.jobs.finish(job.id, { status: 'succeeded', failures: [] });
    expect(await due()).toBe(false);
    const work = await store.work.listWork();
    expect(work.sources.some((each) => each.sourceId === ids.sourceId)).toBe(true);
  });

  it('creates one job per connection however many ask at once', async () => {
    const { connectionId } = await seedConnection(store);
    const asked = await Promise.allSettled(
      Array.from({ length: 8 }, () => store.jobs.create(connectionId, [{ name: 'orders' }])),
    );
    expect(asked.filter((each) => each.status === 'fulfilled')).toHaveLength(1);
    for (const each of asked) {
      if (each.status === 'rejected') {
        expect(each.reason).toMatchObject({
          code: 'JOB_ALREADY_RUNNING',
          message: `A sync is already running for: ${connectionId}`,
        });
      }
    }
  });

  it('lets a cancel stand against a later end', async () => {
    const { connectionId } = await seedConnection(store);
    const job = await store.jobs.create(connectionId, []);
    await store.jobs.start(job.id);
    await store.jobs.cancel(job.id);
    expect(await store.jobs.finish(job.id, { status: 'succeeded', failures: [] })).toBe(false);
    expect((await store.jobs.get(job.id)).status).toBe('cancelled');
    expect(await store.jobs.attempts([job.id])).toMatchObject([
      { number: 0, status: 'failed', failures: [{ failureType: 'manual_cancellation' }] },
    ]);
  });

  it('asks for a clean-up with the last connection, and starts a new life after it', async () => {
    const ids = await seedConnection(store);
    const second = await store.connections.create({
      workspaceId: DEFAULT_WORKSPACE_ID,
      ...ids,
      status: 'inactive',
      document: documentOf(),
    });
    await store.connections.remove(ids.connectionId);
    expect(await store.cleanups.pendingFor(ids.sourceId)).toBeNull();
    const job = store.jobs.create(ids.connectionId, []);
    await expect(job).rejects.toMatchObject({ code: 'JOB_CONNECTION_INACTIVE' });
    await store.connections.remove(second.id);
    const due = (await store.cleanups.due()).filter((each) => each.captureId === ids.sourceId);
    expect(due).toMatchObject([{ connector: 'fake', configuration: { host: 'db' } }]);

    const third = await store.connections.create({
      workspaceId: DEFAULT_WORKSPACE_ID,
      ...ids,
      status: 'active',
      document: documentOf(),
    });
    const sourceOf = async () => {
      const work = await store.work.listWork();
      const found = work.connections.find((each) => each.connectionId === third.id);
      return work.sources.find((each) => each.sourceId === found?.sourceId);
    };
    // Not before the old life has been let go, and no new source of its kind either.
    expect(await sourceOf()).toBeUndefined();
    const other = await seedConnection(store);
    const listed = async () =>
      (await store.work.listWork()).sources.some((each) => each.sourceId === other.sourceId);
    expect(await listed()).toBe(false);
    await store.cleanups.done(due[0]?.id ?? '');
    expect(await listed()).toBe(true);
    const reborn = await sourceOf();
    expect(reborn?.sourceId).toBe(`${ids.sourceId}-2`);
    expect(reborn?.sourceName).toMatch(/^shop(-\d+)?-2$/);
  });

  it('gives the last report with its age', async () => {
    const report: SourceReport = {
      kind: 'source',
      id: 'r',
      phase: 'streaming',
      version: 'v',
      capturedThrough: '0A',
      lagBytes: 0,
      lagMs: 0,
      records: 1,
      bytes: 2,
      streams: [],
    };
    expect(await store.work.sourceReport('r')).toBeNull();
    await store.work.saveReport('source:r', 'worker', report);
    await store.work.saveReport('source:r', 'worker', { ...report, records: 3 });
    // Its lease has gone to another: what it says no longer counts.
    expect(await store.work.acquireLease('source:r', 'successor', 60_000)).toBe(true);
    await store.work.saveReport('source:r', 'worker', { ...report, records: 4 });
    const back = await store.work.sourceReport('r');
    expect(back?.report).toEqual({ ...report, records: 3 });
    expect(back?.ageMs).toBeGreaterThanOrEqual(0);
  });
});

describe('the embedded store', () => {
  it('is refused to a second opener, in this process and in another, until it is closed', async () => {
    await using opened = await embeddedStore();
    const settings = { home: opened.home, storeUrl: null, secretKey: null };
    await expect(openStore(settings)).rejects.toMatchObject({ code: 'CFG_STORE_LOCKED' });
    const module = join(import.meta.dirname, '../../../core/store/store.ts');
    const script = `import { openStore } from '${module}';
      await openStore(${JSON.stringify(settings)}).catch((e) => { console.log(e.code); });`;
    const other = spawnSync(process.execPath, ['--input-type=module-typescript', '-e', script]);
    expect(other.stdout.toString()).toContain('CFG_STORE_LOCKED');
    await opened.store.close();
    const again = await openStore(settings);
    await again.close();
  }, 60_000);

  it('holds no secret in clear when there is a key, and needs that key (invariant 8)', async () => {
    await using opened = await embeddedStore({ secretKey: 'correct horse' });
    const ids = await seedConnection(opened.store);
    expect((await opened.store.work.listWork()).sources[0]?.config).toMatchObject({
      password: 'hunter2',
    });
    await opened.store.close();
    const data = join(opened.home, 'store', 'data');
    for (const file of readdirSync(data, { recursive: true, withFileTypes: true })) {
      if (!file.isFile()) continue;
      expect(readFileSync(join(file.parentPath, file.name)).includes('hunter2')).toBe(false);
    }
    const other = await openStore({ home: opened.home, storeUrl: null, secretKey: 'wrong' });
    const read = other.actors.get('source', ids.sourceId);
    await expect(read).rejects.toMatchObject({ code: 'CFG_SECRET_KEY' });
    await other.close();
  }, 180_000);
});

it('a server that is not there is CFG_STORE_UNAVAILABLE, without the password', async () => {
  const failed = openStore({
    home: '/nowhere',
    storeUrl: 'postgres://me:hunter2@127.0.0.1:1/x',
    secretKey: null,
  });
  const error = await failed.catch((each: unknown) => each);
  expect(error).toMatchObject({ code: 'CFG_STORE_UNAVAILABLE' });
  expect(String((error as Error).message)).not.toContain('hunter2');
});
