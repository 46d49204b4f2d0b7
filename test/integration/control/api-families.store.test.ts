import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { DEFAULT_WORKSPACE_ID } from '../../../core/store/workspaces.ts';
import { apiContext, createConnection, type ApiFixture } from './api-fixture.ts';
import { SOURCE_DEFINITION } from './fake-connectors.ts';

let api: ApiFixture;
let connectionId: string;
let sourceId: string;

beforeAll(async () => {
  api = await apiContext();
  connectionId = await createConnection(api);
  sourceId = (await api.call('connections/get', { connectionId })).body.sourceId as string;
});

afterAll(() => api[Symbol.asyncDispose]());

describe('the rest of the families', () => {
  it('changes a part of a source, keeps its secret, searches and copies it', async () => {
    await api.call('sources/partial_update', {
      sourceId,
      connectionConfiguration: { host: 'db', port: 1, password: 'canary-7' },
    });
    const renamed = await api.call('sources/partial_update', { sourceId, name: 'renamed' });
    expect(renamed.body).toMatchObject({
      name: 'renamed',
      connectionConfiguration: { password: '**********' },
    });
    const found = await api.call('sources/search', { name: 'renamed' });
    expect(found.body.sources).toHaveLength(1);
    const copy = await api.call('sources/clone', { sourceCloneId: sourceId });
    expect(copy.body.name).toBe('renamed Copy');
    const stored = await api.store.actors.get('source', copy.body.sourceId as string);
    expect(stored.configuration['password']).toBe('canary-7');
    expect(JSON.stringify(copy.body)).not.toContain('canary-7');
  });

  it('checks and discovers what is not saved', async () => {
    const connectionConfiguration = { host: 'db', port: 1 };
    const checked = await api.call('sources/check_connection_for_update', {
      sourceId,
      name: 'x',
      connectionConfiguration,
    });
    expect(checked.body.status).toBe('succeeded');
    const body = { sourceDefinitionId: SOURCE_DEFINITION, connectionConfiguration };
    const discovered = await api.call('scheduler/sources/discover_schema', body);
    expect(discovered.body.catalog.streams).toHaveLength(4);
    const refused = { ...body, connectionConfiguration: { port: 1 } };
    expect((await api.call('scheduler/sources/discover_schema', refused)).status).toBe(422);
  });

  it('answers state: not set before the source reports, then its position', async () => {
    const empty = await api.call('state/get', { connectionId });
    expect(empty.body).toEqual({ stateType: 'not_set', connectionId });
    await api.store.work.saveReport(`source:${sourceId}`, 'worker', {
      kind: 'source',
      id: sourceId,
      phase: 'streaming',
      version: 'v',
      capturedThrough: '0A',
      lagBytes: 0,
      lagMs: 0,
      records: 0,
      bytes: 0,
      streams: [
        { namespace: 'public', name: 'orders', phase: 'stopped', rowsDone: 0, rowsEstimate: null },
      ],
    });
    const { body } = await api.call('state/get', { connectionId });
    expect(body.globalState).toEqual({
      shared_state: { position: '0A' },
      streamStates: [
        {
          streamDescriptor: { name: 'orders', namespace: 'public' },
          streamState: { phase: 'stopped' },
        },
      ],
    });
  });

  it('puts the state of streams to null: they begin anew', async () => {
    const put = (streamState: unknown) =>
      api.call('state/create_or_update', {
        connectionId,
        connectionState: {
          stateType: 'stream',
          connectionId,
          streamState: [{ streamDescriptor: { name: 'orders', namespace: 'public' }, streamState }],
        },
      });
    expect((await put({ cursor: '1' })).body.exceptionClassName).toBe('API_STATE_READ_ONLY');
    expect((await put(null)).body).toMatchObject({ stateType: 'global', connectionId });
    const { jobs } = (
      await api.call('jobs/list', { configId: connectionId, configTypes: ['reset_connection'] })
    ).body as { jobs: { job: { id: number } }[] };
    expect(jobs).toHaveLength(1);
    await api.call('jobs/cancel', { id: jobs[0]?.job.id });
  });

  it('answers web_backend calls with ends and last job', async () => {
    const before = await api.call('web_backend/connections/get', { connectionId });
    expect(before.body).toMatchObject({
      connectionId,
      isSyncing: false,
      schemaChange: 'no_change',
      source: { sourceId },
      destination: { name: 'lake' },
      operations: [],
    });
    await api.call('connections/sync', { connectionId });
    const list = await api.call('web_backend/connections/list', {
      workspaceId: DEFAULT_WORKSPACE_ID,
      sourceId: [sourceId],
    });
    expect(list.body.connections).toHaveLength(1);
    expect(list.body.connections[0]).toMatchObject({
      isSyncing: true,
      latestSyncJobStatus: 'pending',
    });
    expect(list.body.connections[0].source.connectionConfiguration).toBeUndefined();
    const updated = await api.call('web_backend/connections/update', { connectionId, name: 'new' });
    expect(updated.body).toMatchObject({ name: 'new', source: { sourceId } });
  });

  it('resets whole connections and named streams, cancelling what runs', async () => {
    const running = await api.store.jobs.last(connectionId);
    const reset = await api.call('connections/reset', { connectionId });
    expect(reset.body.job).toMatchObject({
      configType: 'reset_connection',
      resetConfig: { streamsToReset: [{ name: 'orders', namespace: 'public' }] },
    });
    expect((await api.call('jobs/get', { id: running?.id })).body.job.status).toBe('cancelled');
    for (const word of ['reset', 'clear', 'refresh']) {
      const streams = [{ streamName: 'orders', streamNamespace: 'public' }];
      const one = await api.call(`connections/${word}/stream`, { connectionId, streams });
      expect(one.body.job.configType).toBe('reset_connection');
    }
    const unknown = { connectionId, streams: [{ streamName: 'none' }] };
    expect((await api.call('connections/reset/stream', unknown)).status).toBe(422);
    const created = await api.call('jobs/create', { connectionId, jobType: 'refresh' });
    const light = await api.call('jobs/get_light', { id: created.body.job.id });
    expect(light.body).toEqual({ job: created.body.job });
    const last = await api.call('jobs/get_last_replication_job', { connectionId });
    expect(last.body.job.id).toBe(created.body.job.id);
  });

  it('finds connections by field and lists deleted ones only when asked', async () => {
    const found = await api.call('connections/search', { sourceId });
    expect(found.body.connections).toHaveLength(1);
    expect((await api.call('connections/search', { name: 'nobody' })).body.connections).toEqual([]);
    await api.call('connections/delete', { connectionId });
    const workspace = { workspaceId: 'default' };
    expect((await api.call('connections/list', workspace)).body.connections).toEqual([]);
    expect((await api.call('connections/list_all', workspace)).body.connections).toHaveLength(1);
    expect((await api.call('workspaces/get_by_slug', { slug: 'default' })).body.workspaceId).toBe(
      DEFAULT_WORKSPACE_ID,
    );
  });

  it('logs/get has what the process said last, as text', async () => {
    const { status, body } = await api.call('logs/get', { logType: 'server' });
    expect([status, body]).toEqual([200, expect.stringContaining('"msg":"listening"') as string]);
    expect((await api.call('logs/get', { logType: 'scheduler' })).body).toBe('');
    expect((await api.call('logs/get', { logType: 'other' })).status).toBe(400);
  });
});
