import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { DEFAULT_WORKSPACE_ID } from '../../../core/store/workspaces.ts';
import { apiContext, createConnection, streamRequest, type ApiFixture } from './api-fixture.ts';
import { KEYLESS_DESTINATION_DEFINITION } from './fake-connectors.ts';

const UUID = expect.stringMatching(/^[0-9a-f-]{36}$/) as string;
const SECONDS = expect.closeTo(Date.now() / 1000, -3) as number;

let api: ApiFixture;
beforeAll(async () => void (api = await apiContext()), 60_000);
afterAll(async () => api[Symbol.asyncDispose]());

describe('connections', () => {
  it('creates one with Airbyte defaults, continuous for a streaming source', async () => {
    const sourceId = await api.createSource();
    const destinationId = await api.createDestination();
    const { status, body } = await api.call('connections/create', {
      sourceId,
      destinationId,
      syncCatalog: { streams: [streamRequest('orders', { destinationSyncMode: 'append_dedup' })] },
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
      nonBreakingChangesPreference: 'propagate_columns',
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
      [streamRequest('orders', { destinationSyncMode: 'x' })],
      'public.orders',
    ],
    ['overwrite', [streamRequest('orders', { destinationSyncMode: 'overwrite' })], 'public.orders'],
    [
      'a sync mode that does not exist',
      [streamRequest('orders', { syncMode: 'x' })],
      'public.orders',
    ],
    [
      'dedup without key',
      [streamRequest('events', { destinationSyncMode: 'append_dedup' })],
      'events',
    ],
    ['an unknown stream', [streamRequest('nowhere')], 'public.nowhere'],
    ['a stream twice', [streamRequest('orders'), streamRequest('orders')], 'public.orders'],
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
    const streams = ['a', 'b'].map((namespace) => streamRequest('twice', {}, { namespace }));
    const clash = await api.call('connections/create', { ...base, syncCatalog: { streams } });
    expect(clash).toMatchObject({ status: 422 });
    expect(clash.body.message).toMatch(/b\.twice.*a\.twice/);
    const long = await api.call('connections/create', {
      ...base,
      prefix: 'far_too_long_a_prefix_',
      syncCatalog: { streams: [streamRequest('orders')] },
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
      syncCatalog: { streams: [streamRequest('orders')] },
      ...schedule,
    });
    expect(answer.status).toBe(status);
    if (status === 200)
      expect(answer.body.scheduleType).toBe((schedule as { scheduleType: string }).scheduleType);
    if (status === 422) expect(answer.body.message).toContain('scheduleData.cron');
  });

  it('keeps resource requirements as given, and refuses what are no amounts', async () => {
    const resourceRequirements = { cpu_limit: '1.0', memory_request: '256Mi', memory_limit: '1Gi' };
    const connectionId = await createConnection(api, { resourceRequirements });
    const read = await api.call('connections/get', { connectionId });
    expect(read.body).toMatchObject({ resourceRequirements });
    for (const [wrong, propertyPath] of [
      [{ memory_limit: '1GB' }, 'resourceRequirements.memory_limit'],
      [{ cpu_request: 'two' }, 'resourceRequirements.cpu_request'],
      [{ memory_request: '2Gi', memory_limit: '1Gi' }, 'resourceRequirements.memory_request'],
    ] as const) {
      const refused = await api.call('connections/update', {
        connectionId,
        resourceRequirements: wrong,
      });
      expect(refused).toMatchObject({
        status: 400,
        body: { validationErrors: [{ propertyPath }] },
      });
    }
  });

  it('updates as a patch, and refuses a deleted one', async () => {
    const connectionId = await createConnection(api, { prefix: 'p_' });
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

function cron(cronExpression: string, cronTimeZone?: string): Record<string, unknown> {
  const zone = cronTimeZone === undefined ? {} : { cronTimeZone };
  return { scheduleType: 'cron', scheduleData: { cron: { cronExpression, ...zone } } };
}
