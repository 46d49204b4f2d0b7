import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { DEFAULT_WORKSPACE_ID } from '../../../core/store/workspaces.ts';
import { apiContext, createConnection, type ApiFixture } from './api-fixture.ts';
import { SOURCE_DEFINITION } from './fake-connectors.ts';

const UUID = expect.stringMatching(/^[0-9a-f-]{36}$/) as string;
const SECONDS = expect.closeTo(Date.now() / 1000, -3) as number;

let api: ApiFixture;
beforeAll(async () => void (api = await apiContext()), 60_000);
afterAll(async () => api[Symbol.asyncDispose]());

describe('sources and destinations', () => {
  it('answers the configuration exactly as given, secrets masked (invariant 8)', async () => {
    const configuration = { zeta: [1], host: 'db', port: 5432, unknown: null };
    const given = { ...configuration, password: 'hunter2', tls: { mode: 'on', pem: 'PEM-1' } };
    const created = await api.call('sources/create', {
      workspaceId: DEFAULT_WORKSPACE_ID,
      sourceDefinitionId: SOURCE_DEFINITION,
      name: 'PostgreSQL → MinIO',
      connectionConfiguration: given,
    });
    expect(created).toEqual({
      status: 200,
      body: {
        sourceDefinitionId: SOURCE_DEFINITION,
        sourceId: UUID,
        workspaceId: DEFAULT_WORKSPACE_ID,
        connectionConfiguration: {
          ...configuration,
          password: '**********',
          tls: { mode: 'on', pem: '**********' },
        },
        name: 'PostgreSQL → MinIO',
        sourceName: 'Fake source',
      },
    });
    const { sourceId } = created.body as { sourceId: string };
    expect((await api.call('sources/get', { sourceId })).body).toEqual(created.body);
    const list = await api.call('sources/list', { workspaceId: DEFAULT_WORKSPACE_ID });
    expect(list.body.sources).toContainEqual(created.body);
  });

  it('an update with the mask keeps the stored secret', async () => {
    const sourceId = await api.createSource({ password: 'hunter2' });
    const connectionConfiguration = { host: 'db', port: 5432, extra: 1, password: '**********' };
    const updated = await api.call('sources/update', {
      sourceId,
      name: 'shop 2',
      connectionConfiguration,
    });
    expect(updated).toMatchObject({
      status: 200,
      body: { name: 'shop 2', connectionConfiguration },
    });
    expect((await api.store.actors.get('source', sourceId)).configuration).toEqual({
      host: 'db',
      port: 5432,
      extra: 1,
      password: 'hunter2',
    });
    const nothingStored = {
      host: 'db',
      port: 5432,
      password: 'new',
      tls: { mode: 'on', pem: '**********' },
    };
    const refused = await api.call('sources/update', {
      sourceId,
      name: 'shop',
      connectionConfiguration: nothingStored,
    });
    expect(refused).toMatchObject({ status: 422 });
    expect(refused.body.message).toContain('$.tls.pem');
  });

  it('a stored secret is not used with another host, port, user or TLS setting', async () => {
    const stored = { password: 'hunter2', username: 'u', tls: { mode: 'on', pem: 'PEM' } };
    const sourceId = await api.createSource(stored);
    const masked = { host: 'db', port: 5432, ...stored, password: '**********' };
    for (const moved of [
      { host: 'evil' },
      { port: 1 },
      { username: 'other' },
      { tls: { mode: 'off' } },
      { tls: { mode: 'on', pem: 'other' } },
      { ssl_mode: { mode: 'disable' } },
    ]) {
      const body = { sourceId, name: 'x', connectionConfiguration: { ...masked, ...moved } };
      for (const call of ['sources/update', 'sources/check_connection_for_update']) {
        const refused = await api.call(call, body);
        expect(refused, JSON.stringify(moved)).toMatchObject({
          status: 422,
          body: { exceptionClassName: 'CFG_SECRET_NEEDED' },
        });
        expect(refused.body.message).toMatch(/\$\.\w+.* changes: \$\.password must be entered/);
      }
      const unsaved = {
        sourceId,
        sourceDefinitionId: SOURCE_DEFINITION,
        connectionConfiguration: body.connectionConfiguration,
      };
      const check = await api.call('scheduler/sources/check_connection', unsaved);
      expect(check.body.exceptionClassName).toBe('CFG_SECRET_NEEDED');
    }
    const entered = { ...masked, host: 'db2', password: 'again' };
    const update = { sourceId, name: 'x', connectionConfiguration: entered };
    expect((await api.call('sources/update', update)).status).toBe(200);
  });

  it('shows a reference to a secret, and stores nothing else', async () => {
    const sourceId = await api.createSource({ password: '${env:CONNECTOR_SECRET_DB}' });
    const { body } = await api.call('sources/get', { sourceId });
    expect(body.connectionConfiguration.password).toBe('${env:CONNECTOR_SECRET_DB}');
  });

  it('a configuration against its specification is 422 and quotes no value', async () => {
    const answer = await api.call('sources/create', {
      workspaceId: DEFAULT_WORKSPACE_ID,
      sourceDefinitionId: SOURCE_DEFINITION,
      name: 'x',
      connectionConfiguration: { port: 'hunter2' },
    });
    expect(answer.status).toBe(422);
    expect(answer.body.message).toContain('$.host: is required');
    expect(answer.body.message).toContain('$.port: must be integer');
    expect(JSON.stringify(answer.body)).not.toContain('hunter2');
  });

  it('a check that fails or cannot run is a 200 that says failed', async () => {
    const sourceId = await api.createSource();
    const destinationId = await api.createDestination();
    expect(await api.call('sources/check_connection', { sourceId })).toEqual({
      status: 200,
      body: {
        status: 'succeeded',
        message: 'one table has no key',
        jobInfo: {
          id: UUID,
          configType: 'check_connection_source',
          createdAt: SECONDS,
          endedAt: SECONDS,
          succeeded: true,
          connectorConfigurationUpdated: false,
          logs: { logLines: [] },
        },
      },
    });
    api.fake.reachable = false;
    try {
      expect(await api.call('sources/check_connection', { sourceId })).toMatchObject({
        status: 200,
        body: { status: 'failed', message: expect.stringContaining('wal_level') as string },
      });
      expect(await api.call('destinations/check_connection', { destinationId })).toMatchObject({
        status: 200,
        body: {
          status: 'failed',
          jobInfo: {
            succeeded: false,
            failureReason: { internalMessage: 'CFG_INVALID_CONNECTOR' },
          },
        },
      });
      const discovery = await api.call('sources/discover_schema', { sourceId });
      expect(discovery).toMatchObject({ status: 200, body: { jobInfo: { succeeded: false } } });
      expect(discovery.body.catalog).toBeUndefined();
    } finally {
      api.fake.reachable = true;
    }
  });

  it('discovers a catalog with a default configuration', async () => {
    const sourceId = await api.createSource();
    const { body } = await api.call('sources/discover_schema', { sourceId });
    expect(body.catalogId).toEqual(UUID);
    expect(body.catalog.streams[0]).toEqual({
      stream: {
        name: 'orders',
        namespace: 'public',
        jsonSchema: { type: 'object', properties: { id: { type: 'number' } } },
        supportedSyncModes: ['full_refresh', 'incremental'],
        sourceDefinedCursor: true,
        defaultCursorField: [],
        sourceDefinedPrimaryKey: [['id']],
      },
      config: {
        syncMode: 'incremental',
        cursorField: [],
        destinationSyncMode: 'append',
        primaryKey: [['id']],
        aliasName: 'orders',
        selected: true,
      },
    });
  });

  it('deleting one deprecates its connections', async () => {
    const connectionId = await createConnection(api);
    const { sourceId } = (await api.call('connections/get', { connectionId })).body;
    const deleted = await api.call('sources/delete', { sourceId });
    expect(deleted).toEqual({ status: 204, body: '' });
    expect((await api.call('sources/get', { sourceId })).status).toBe(404);
    expect((await api.call('connections/get', { connectionId })).body.status).toBe('deprecated');
  });
});
