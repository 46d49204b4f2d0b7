import { request } from 'node:http';
import { text } from 'node:stream/consumers';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { DEFAULT_WORKSPACE_ID } from '../../../core/store/workspaces.ts';
import { apiContext, type ApiFixture } from './api-fixture.ts';
import {
  DESTINATION_DEFINITION,
  KEYLESS_DESTINATION_DEFINITION,
  SOURCE_DEFINITION,
} from './fake-connectors.ts';

const UNKNOWN = '11111111-2222-4333-8444-555555555555';
const UUID = expect.stringMatching(/^[0-9a-f-]{36}$/) as string;
const SECONDS = expect.closeTo(Date.now() / 1000, -3) as number;

let api: ApiFixture;
beforeAll(async () => void (api = await apiContext()), 60_000);
afterAll(async () => api[Symbol.asyncDispose]());

async function createConnection(body: object = {}): Promise<string> {
  const answer = await api.call('connections/create', {
    sourceId: await api.createSource(),
    destinationId: await api.createDestination(),
    syncCatalog: { streams: [stream('orders')] },
    ...body,
  });
  expect(answer, JSON.stringify(answer.body)).toMatchObject({ status: 200 });
  return answer.body.connectionId as string;
}

function stream(name: string, config: object = {}, more: object = {}): object {
  return {
    stream: { name, namespace: 'public', jsonSchema: {}, ...more },
    config: { syncMode: 'incremental', destinationSyncMode: 'append', ...config },
  };
}

describe('transport', () => {
  it('health, with and without slash', async () => {
    for (const path of ['/api/v1/health', '/api/v1/health/']) {
      expect(await api.get(path)).toEqual({ status: 200, body: { available: true } });
    }
  });

  it('accepts a trailing slash, an empty body and none at all', async () => {
    expect((await api.call('workspaces/list/', {})).status).toBe(200);
    expect((await api.call('workspaces/list', '')).status).toBe(200);
    const bare = await fetch(`${api.url}/api/v1/workspaces/list`, { method: 'POST' });
    expect(bare.status).toBe(200);
  });

  it('reads JSON whatever the content type says', async () => {
    const headers = { 'content-type': 'application/x-www-form-urlencoded' };
    const body = { workspaceId: DEFAULT_WORKSPACE_ID };
    expect((await api.call('workspaces/get', body, headers)).status).toBe(200);
  });

  it('answers JSON with a message for what it does not know', async () => {
    expect(await api.call('no/such/call', {})).toMatchObject({
      status: 404,
      body: { message: expect.stringContaining('Object not found.') as string },
    });
  });

  it('malformed JSON and anything but an object is 422', async () => {
    expect(await api.call('sources/get', '{"a":')).toMatchObject({
      status: 422,
      body: { message: expect.stringMatching(/^Invalid json/) as string, exceptionStack: [] },
    });
    expect((await api.call('sources/get', '[1]')).status).toBe(422);
  });

  it('a missing field and a bad UUID are 400 and name the field, not its value', async () => {
    const missing = await api.call('sources/get', {});
    expect(missing).toMatchObject({
      status: 400,
      body: { validationErrors: [{ propertyPath: 'sourceId', message: 'is required' }] },
    });
    const bad = await api.call('sources/get', { sourceId: 'hunter2' });
    expect(bad.status).toBe(400);
    expect(JSON.stringify(bad.body)).not.toContain('hunter2');
  });

  it('an unknown id is 404 with the id', async () => {
    for (const [path, field] of [
      ['sources/get', 'sourceId'],
      ['destinations/check_connection', 'destinationId'],
      ['connections/get', 'connectionId'],
      ['connections/sync', 'connectionId'],
      ['connections/status', 'connectionId'],
      ['workspaces/get', 'workspaceId'],
      ['source_definition_specifications/get', 'sourceDefinitionId'],
    ] as const) {
      const answer = await api.call(path, { [field]: UNKNOWN });
      expect(answer, path).toMatchObject({ status: 404, body: { id: UNKNOWN } });
      expect(answer.body.message).toMatch(/^Could not find configuration for/);
    }
    expect((await api.call('jobs/get', { id: 999_999 })).status).toBe(404);
  });

  it('serves health, readiness and metrics', async () => {
    expect(await api.get('/health/live')).toMatchObject({ status: 200 });
    expect(await api.get('/health/ready')).toMatchObject({ status: 200 });
    expect((await api.get('/metrics')).body).toContain('# HELP headrace_errors_total');
  });
});

describe('workspaces and definitions', () => {
  it('lists exactly one workspace; its slug is an id too', async () => {
    const { body } = await api.call('workspaces/list', {});
    expect(body).toEqual({
      workspaces: [
        {
          workspaceId: DEFAULT_WORKSPACE_ID,
          customerId: DEFAULT_WORKSPACE_ID,
          name: 'Default Workspace',
          slug: 'default',
          initialSetupComplete: true,
          displaySetupWizard: false,
          notifications: [],
          defaultGeography: 'auto',
        },
      ],
    });
    expect((await api.call('sources/list', { workspaceId: 'default' })).status).toBe(200);
  });

  it('lists definitions and gives their specifications', async () => {
    expect((await api.call('source_definitions/list', {})).body).toEqual({
      sourceDefinitions: [
        {
          sourceDefinitionId: SOURCE_DEFINITION,
          name: 'Fake source',
          dockerRepository: 'airbyte/fake',
          dockerImageTag: '0.1.0',
          documentationUrl: 'https://docs.example/fake',
          protocolVersion: '0.2.0',
          releaseStage: 'generally_available',
          sourceType: 'database',
        },
      ],
    });
    const spec = await api.call('destination_definition_specifications/get', {
      destinationDefinitionId: DESTINATION_DEFINITION,
      workspaceId: DEFAULT_WORKSPACE_ID,
    });
    expect(spec.body).toMatchObject({
      destinationDefinitionId: DESTINATION_DEFINITION,
      supportedDestinationSyncModes: ['overwrite', 'append', 'append_dedup'],
      connectionSpecification: { required: ['host', 'port'] },
      jobInfo: { configType: 'get_spec', succeeded: true, logs: { logLines: [] } },
    });
  });
});

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
    const connectionConfiguration = { host: 'db2', port: 1, password: '**********' };
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
      host: 'db2',
      port: 1,
      password: 'hunter2',
    });
    const nothingStored = { ...connectionConfiguration, tls: { mode: 'on', pem: '**********' } };
    const refused = await api.call('sources/update', {
      sourceId,
      name: 'shop',
      connectionConfiguration: nothingStored,
    });
    expect(refused).toMatchObject({ status: 422 });
    expect(refused.body.message).toContain('$.tls.pem');
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
    const connectionId = await createConnection();
    const { sourceId } = (await api.call('connections/get', { connectionId })).body;
    const deleted = await api.call('sources/delete', { sourceId });
    expect(deleted).toEqual({ status: 204, body: '' });
    expect((await api.call('sources/get', { sourceId })).status).toBe(404);
    expect((await api.call('connections/get', { connectionId })).body.status).toBe('deprecated');
  });
});

describe('connections', () => {
  it('creates one with Airbyte defaults, continuous for a streaming source', async () => {
    const sourceId = await api.createSource();
    const destinationId = await api.createDestination();
    const { status, body } = await api.call('connections/create', {
      sourceId,
      destinationId,
      syncCatalog: { streams: [stream('orders', { destinationSyncMode: 'append_dedup' })] },
      geography: 'auto',
      fieldOfTheFuture: 1,
    });
    expect(status).toBe(200);
    expect(body).toEqual({
      connectionId: UUID,
      workspaceId: DEFAULT_WORKSPACE_ID,
      sourceId,
      destinationId,
      status: 'active',
      name: 'shop <> lake',
      namespaceDefinition: 'source',
      operationIds: [],
      scheduleType: 'continuous',
      breakingChange: false,
      geography: 'auto',
      syncCatalog: {
        streams: [
          {
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
              destinationSyncMode: 'append_dedup',
              cursorField: [],
              primaryKey: [['id']],
              selected: true,
            },
          },
        ],
      },
      createdAt: SECONDS,
    });
    const { connectionId } = body as { connectionId: string };
    expect((await api.call('connections/get', { connectionId })).body).toEqual(body);
  });

  it('accepts the body of older documentation (R-095)', async () => {
    const { body } = await api.call('connections/create', {
      name: 'PostgreSQL → MinIO',
      sourceId: await api.createSource(),
      destinationId: await api.createDestination(),
      schedule: { units: 24, timeUnit: 'hours' },
      syncCatalog: {
        streams: [
          {
            stream: { name: 'orders', jsonSchema: {} },
            config: { syncMode: 'incremental', destinationSyncMode: 'append' },
          },
        ],
      },
    });
    expect(body).toMatchObject({
      name: 'PostgreSQL → MinIO',
      status: 'active',
      scheduleType: 'basic',
      scheduleData: { basicSchedule: { units: 24, timeUnit: 'hours' } },
      schedule: { units: 24, timeUnit: 'hours' },
      syncCatalog: {
        streams: [{ stream: { name: 'orders', namespace: 'public' }, config: { selected: true } }],
      },
    });
  });

  it('takes all streams when none are named, deduped where that is possible', async () => {
    const base = { sourceId: await api.createSource(), prefix: 'p_' };
    const { body } = await api.call('connections/create', {
      ...base,
      destinationId: await api.createDestination(),
    });
    const modes = body.syncCatalog.streams.map(
      (each: { stream: { name: string }; config: { destinationSyncMode: string } }) =>
        `${each.stream.name} ${each.config.destinationSyncMode}`,
    );
    expect(modes).toEqual([
      'orders append_dedup',
      'events append',
      'twice append_dedup',
      'twice append_dedup',
    ]);
    const keyless = await api.call('connections/create', {
      ...base,
      destinationId: await api.createDestination(KEYLESS_DESTINATION_DEFINITION),
    });
    expect(JSON.stringify(keyless.body)).not.toContain('append_dedup');
  });

  it.each([
    [
      'a mode that does not exist',
      [stream('orders', { destinationSyncMode: 'x' })],
      'public.orders',
    ],
    ['overwrite', [stream('orders', { destinationSyncMode: 'overwrite' })], 'public.orders'],
    ['full refresh', [stream('orders', { syncMode: 'full_refresh' })], 'public.orders'],
    ['dedup without key', [stream('events', { destinationSyncMode: 'append_dedup' })], 'events'],
    ['an unknown stream', [stream('nowhere')], 'public.nowhere'],
    ['a stream twice', [stream('orders'), stream('orders')], 'public.orders'],
    ['an ambiguous name', [{ stream: { name: 'twice' } }], 'twice'],
  ])('refuses %s with 422 and the name of the stream', async (_case, streams, name) => {
    const answer = await api.call('connections/create', {
      sourceId: await api.createSource(),
      destinationId: await api.createDestination(),
      syncCatalog: { streams },
    });
    expect(answer.status).toBe(422);
    expect(answer.body.message).toContain(name);
  });

  it('refuses what lands in one place, and what the destination refuses', async () => {
    const base = {
      sourceId: await api.createSource(),
      destinationId: await api.createDestination(),
      namespaceDefinition: 'destination',
    };
    const streams = ['a', 'b'].map((namespace) => stream('twice', {}, { namespace }));
    const clash = await api.call('connections/create', { ...base, syncCatalog: { streams } });
    expect(clash).toMatchObject({ status: 422 });
    expect(clash.body.message).toMatch(/b\.twice.*a\.twice/);
    const long = await api.call('connections/create', {
      ...base,
      prefix: 'far_too_long_a_prefix_',
      syncCatalog: { streams: [stream('orders')] },
    });
    expect(long).toMatchObject({ status: 422 });
    expect(long.body.message).toContain('too long');
  });

  it.each([
    [400, { scheduleType: 'manual', schedule: { units: 1, timeUnit: 'hours' } }],
    [400, { scheduleType: 'cron' }],
    [400, { scheduleType: 'basic', scheduleData: {} }],
    [422, cron('61 * * * *')],
    [422, cron('* * * * * *')],
    [422, cron('0 2 * * *', 'Mars/Olympus')],
    [200, cron('0 2 * * 1-5')],
    [200, cron('0 0 2 ? * 2-6')],
    [200, { scheduleType: 'manual' }],
  ])('answers %i to the schedule %o', async (status, schedule) => {
    const answer = await api.call('connections/create', {
      sourceId: await api.createSource(),
      destinationId: await api.createDestination(),
      syncCatalog: { streams: [stream('orders')] },
      ...schedule,
    });
    expect(answer.status).toBe(status);
    if (status === 200)
      expect(answer.body.scheduleType).toBe((schedule as { scheduleType: string }).scheduleType);
    if (status === 422) expect(answer.body.message).toContain('scheduleData.cron');
  });

  it('updates as a patch, and refuses a deleted one', async () => {
    const connectionId = await createConnection({ prefix: 'p_' });
    const before = (await api.call('connections/get', { connectionId })).body;
    const { body } = await api.call('connections/update', {
      connectionId,
      name: 'renamed',
      prefix: null,
      status: 'inactive',
    });
    expect(body).toEqual({ ...before, name: 'renamed', status: 'inactive' });
    expect((await api.call('connections/delete', { connectionId })).status).toBe(204);
    expect((await api.call('connections/get', { connectionId })).body.status).toBe('deprecated');
    const list = await api.call('connections/list', { workspaceId: DEFAULT_WORKSPACE_ID });
    expect(JSON.stringify(list.body)).not.toContain(connectionId);
    const revived = await api.call('connections/update', { connectionId, status: 'active' });
    expect(revived.status).toBe(422);
  });
});

describe('syncs and jobs', () => {
  it('sync answers a running job with one attempt at once; a second one is 409', async () => {
    const connectionId = await createConnection();
    const { status, body } = await api.call('connections/sync', { connectionId });
    expect(status).toBe(200);
    expect(body).toEqual({
      job: {
        id: expect.any(Number) as number,
        configType: 'sync',
        configId: connectionId,
        enabledStreams: [{ name: 'orders', namespace: 'public' }],
        createdAt: SECONDS,
        updatedAt: SECONDS,
        status: 'pending',
      },
      attempts: [
        {
          attempt: {
            id: 0,
            status: 'running',
            createdAt: SECONDS,
            updatedAt: SECONDS,
            bytesSynced: 0,
            recordsSynced: 0,
            totalStats: {
              recordsEmitted: 0,
              bytesEmitted: 0,
              recordsCommitted: 0,
              bytesCommitted: 0,
            },
            streamStats: [],
          },
          logs: { logLines: [] },
        },
      ],
    });
    expect(await api.call('connections/sync', { connectionId })).toMatchObject({
      status: 409,
      body: { message: `A sync is already running for: ${connectionId}` },
    });
    const { id } = body.job as { id: number };
    for (const form of [id, String(id)]) {
      expect((await api.call('jobs/get', { id: form })).body).toEqual(body);
    }
    const listed = { configTypes: ['sync'], configId: connectionId };
    const list = await api.call('jobs/list', { ...listed, pagination: { pageSize: 5 } });
    expect(list.body).toMatchObject({
      totalJobCount: 1,
      jobs: [{ job: { id }, attempts: [{ id: 0, status: 'running' }] }],
    });
    expect(await getWithBody('/api/v1/jobs/list', listed)).toEqual(list.body);
  });

  it('cancels, and answers 200 for a job that has ended', async () => {
    const connectionId = await createConnection();
    const { id } = (await api.call('connections/sync', { connectionId })).body.job;
    for (let i = 0; i < 2; i++) {
      const { status, body } = await api.call('jobs/cancel', { id });
      expect(status).toBe(200);
      expect(body.job.status).toBe('cancelled');
      expect(body.attempts[0].attempt).toMatchObject({
        status: 'failed',
        failureSummary: { failures: [{ failureType: 'manual_cancellation' }] },
      });
    }
    expect((await api.call('connections/sync', { connectionId })).status).toBe(200);
  });

  it('a sync on an inactive connection is 409', async () => {
    const connectionId = await createConnection({ status: 'inactive' });
    expect(await api.call('connections/sync', { connectionId })).toMatchObject({
      status: 409,
      body: { message: expect.stringContaining('Can only sync an active connection') as string },
    });
  });

  it('status puts both ends of a stream side by side', async () => {
    const connectionId = await createConnection();
    const { sourceId } = (await api.call('connections/get', { connectionId })).body;
    const error = { code: 'EVT_UNDECODABLE', message: 'at 5', at: 1 } as const;
    await api.store.work.saveReport(`source:${sourceId}`, {
      kind: 'source',
      id: sourceId,
      phase: 'streaming',
      version: 'v',
      capturedThrough: '0A',
      lagBytes: 7,
      lagMs: 1500,
      records: 10,
      bytes: 100,
      streams: [
        { namespace: 'public', name: 'orders', phase: 'streaming', rowsDone: 3, rowsEstimate: 4 },
      ],
    });
    await api.store.work.saveReport(`connection:${connectionId}`, {
      kind: 'connection',
      id: connectionId,
      phase: 'running',
      version: 'v',
      partitions: [{ topic: 't', partition: 0, durable: 5, consumed: 6, end: 9 }],
      streams: [
        {
          namespace: 'public',
          name: 'orders',
          phase: 'stopped',
          records: 5,
          bytes: 50,
          watermarkMs: 12,
          error,
        },
      ],
    });
    await api.call('connections/sync', { connectionId });
    const { body } = await api.call('connections/status', { connectionId });
    expect(body).toMatchObject({
      connectionId,
      status: 'active',
      sourceReport: { phase: 'streaming', capturedThrough: '0A' },
      connectionReport: { phase: 'running' },
      streams: [
        {
          name: 'orders',
          namespace: 'public',
          sourcePhase: 'streaming',
          rowsDone: 3,
          rowsEstimate: 4,
          destinationPhase: 'stopped',
          records: 5,
          bytes: 50,
          error,
        },
      ],
      lagBytes: 7,
      lagSeconds: 1.5,
      lagRecords: 4,
      records: 5,
      bytes: 50,
      lastJob: { status: 'pending' },
    });
    expect(body.sourceReport.ageSeconds).toBeGreaterThanOrEqual(0);
  });
});

/** fetch refuses a body on GET; curl sends it. */
async function getWithBody(path: string, body: object): Promise<unknown> {
  const payload = JSON.stringify(body);
  const headers = { 'content-type': 'application/json', 'content-length': payload.length };
  return new Promise((resolve, reject) => {
    const sent = request(`${api.url}${path}`, { method: 'GET', headers }, (response) => {
      text(response).then((answer) => resolve(JSON.parse(answer)), reject);
    });
    sent.on('error', reject);
    sent.end(payload);
  });
}

function cron(cronExpression: string, cronTimeZone?: string): Record<string, unknown> {
  const zone = cronTimeZone === undefined ? {} : { cronTimeZone };
  return { scheduleType: 'cron', scheduleData: { cron: { cronExpression, ...zone } } };
}
