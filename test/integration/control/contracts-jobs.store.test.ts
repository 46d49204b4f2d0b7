import { describe, expect, it } from 'vitest';
import { failureReason } from '../../../core/store/failure-reason.ts';
import { DEFAULT_WORKSPACE_ID } from '../../../core/store/workspaces.ts';
import { apiContext, streamRequest, type ApiFixture } from './api-fixture.ts';
import { DESTINATION_DEFINITION, SOURCE_DEFINITION } from './fake-connectors.ts';
import { StagedConnection } from './scheduler-stage.ts';

/** What orchestrators do with a job from its start to its end, as they send and read it. */

const on = new StagedConnection();
const ENDED = ['succeeded', 'failed', 'cancelled', 'error'];

function served(): Promise<ApiFixture> {
  return apiContext({ store: on.stage.store });
}

describe('a job', () => {
  it('CT-04 CT-13 has its attempt, its figures and its list of streams from the first moment on', async () => {
    await using api = await served();
    const { connectionId } = on.ids;
    const { body } = await api.call('connections/sync/', { connectionId });
    const got = await api.call('jobs/get/', { id: body.job.id });
    expect(got.body.attempts).toMatchObject([
      { attempt: { id: 0, recordsSynced: 0, bytesSynced: 0, streamStats: [] } },
    ]);
  });

  it('CT-07 CT-10 is followed by dagster to its end, with the lines of its log', async () => {
    await using api = await served();
    const { connectionId } = on.ids;
    on.stage.startScheduler();
    await on.sourceSays({ capturedThrough: '0A' });
    await on.sinkSays({}, 0);
    const connection = await api.call('connections/get', { connectionId });
    const { body } = await api.call('connections/sync', { connectionId });
    const seen: string[] = [];
    let last = body;
    await expect
      .poll(
        async () => {
          last = (await api.call('jobs/get', { id: body.job.id })).body;
          for (const { logs } of last.attempts) expect(logs.logLines).toEqual(expect.any(Array));
          const lines = last.attempts.flatMap(
            (each: { logs: { logLines: string[] } }) => each.logs.logLines,
          );
          seen.push(...lines.slice(seen.length));
          return ENDED.includes(last.job.status);
        },
        { timeout: 60_000 },
      )
      .toBe(true);
    expect(last.job.status).toBe('succeeded');
    expect(seen.join('\n')).toContain('sync succeeded');
    for (const { streamName, stats } of last.attempts.at(-1).attempt.streamStats) {
      expect([streamName, stats.recordsCommitted]).toEqual(['orders', 0]);
    }
    expect(connection.body.syncCatalog.streams).toHaveLength(1);
  });

  it('CT-08 is in the first five of its connection at once', async () => {
    await using api = await served();
    const { connectionId } = on.ids;
    const { body } = await api.call('connections/sync', { connectionId });
    const listed = await api.call('jobs/list', {
      configTypes: ['sync'],
      configId: connectionId,
      pagination: { pageSize: 5 },
    });
    expect(listed.body).toMatchObject({
      totalJobCount: 1,
      jobs: [{ job: { id: body.job.id, status: 'pending' }, attempts: [{ id: 0 }] }],
    });
  });

  it('CT-09 that failed is cancelled with 200, and stays failed', async () => {
    await using api = await served();
    const id = await on.sync();
    const failures = [failureReason('CFG_INVALID_CONNECTOR', 'no server at that address')];
    await on.stage.store.jobs.finish(id, { status: 'failed', failures });
    const cancelled = await api.call('jobs/cancel', { id });
    expect(cancelled).toMatchObject({ status: 200, body: { job: { id, status: 'failed' } } });
  });
});

describe('a connection made by a program', () => {
  const ends = async (api: ApiFixture): Promise<{ sourceId: string; destinationId: string }> => {
    const made = async (kind: string, definitionId: string): Promise<string> => {
      const { status, body } = await api.call(`${kind}s/create`, {
        [`${kind}DefinitionId`]: definitionId,
        workspaceId: DEFAULT_WORKSPACE_ID,
        name: `${kind} of dagster`,
        connectionConfiguration: { host: 'db', port: 1 },
      });
      expect(status).toBe(200);
      return body[`${kind}Id`] as string;
    };
    const sourceId = await made('source', SOURCE_DEFINITION);
    return { sourceId, destinationId: await made('destination', DESTINATION_DEFINITION) };
  };

  it("CT-12 dagster's managed elements: from the source to the connection, changed and deleted", async () => {
    await using api = await served();
    const both = await ends(api);
    const found = await api.call('sources/discover_schema', { sourceId: both.sourceId });
    expect(found.body).toMatchObject({ catalogId: expect.any(String) as string });
    const specification = await api.call('destination_definition_specifications/get', {
      destinationDefinitionId: DESTINATION_DEFINITION,
      workspaceId: DEFAULT_WORKSPACE_ID,
    });
    expect(specification.body.supportsNormalization).toEqual(expect.any(Boolean));
    const operation = await api.call('operations/create', {
      workspaceId: DEFAULT_WORKSPACE_ID,
      name: 'Normalization',
      operatorConfiguration: { operatorType: 'normalization', normalization: { option: 'basic' } },
    });
    const { operationId } = operation.body;
    const [stream] = found.body.catalog.streams;
    const given = {
      name: 'managed',
      namespaceDefinition: 'source',
      namespaceFormat: '${SOURCE_NAMESPACE}',
      prefix: '',
      operationIds: [operationId],
      syncCatalog: { streams: [stream] },
      scheduleType: 'manual',
      status: 'active',
    };
    const sourceCatalogId = found.body.catalogId;
    const created = await api.call('connections/create', { ...both, ...given, sourceCatalogId });
    expect(created).toMatchObject({ status: 200, body: { operationIds: [operationId] } });
    const { connectionId } = created.body;
    const updated = await api.call('connections/update', { ...given, connectionId, prefix: 'm_' });
    expect(updated).toMatchObject({ status: 200, body: { prefix: 'm_', sourceCatalogId } });
    expect((await api.call('connections/delete', { connectionId })).status).toBe(204);
    for (const [kind, id] of Object.entries(both)) {
      const deleted = await api.call(`${kind.slice(0, -2)}s/delete`, { [kind]: id });
      expect(deleted.status).toBe(204);
    }
  });

  it('octavia applies one with its operations, and again', async () => {
    await using api = await served();
    const both = await ends(api);
    const dbt = { gitRepoUrl: 'shop', dbtArguments: 'run' };
    const operations = [
      { name: 'basic', operatorConfiguration: { operatorType: 'normalization' } },
      { name: 'models', operatorConfiguration: { operatorType: 'dbt', dbt } },
    ];
    const applied = await api.call('web_backend/connections/create', {
      ...both,
      name: 'by octavia',
      syncCatalog: { streams: [streamRequest('orders')] },
      operations,
    });
    expect(applied).toMatchObject({ status: 200, body: { operations: [{}, {}] } });
    const { connectionId } = applied.body;
    const again = await api.call('web_backend/connections/update', {
      connectionId,
      operations: applied.body.operations,
    });
    expect(again.body.operationIds).toEqual(applied.body.operationIds);
  });
});
