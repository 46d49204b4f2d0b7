import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { DEFAULT_WORKSPACE_ID } from '../../../core/store/workspaces.ts';
import { apiContext, type ApiFixture } from './api-fixture.ts';
import { DESTINATION_DEFINITION, SOURCE_DEFINITION } from './fake-connectors.ts';

const UNKNOWN = '11111111-2222-4333-8444-555555555555';

let api: ApiFixture;
beforeAll(async () => void (api = await apiContext()), 60_000);
afterAll(async () => api[Symbol.asyncDispose]());

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
