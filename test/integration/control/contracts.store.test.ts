import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { freePort } from '../../../deploy/local/free-port.ts';
import { DEFAULT_WORKSPACE_ID } from '../../../core/store/workspaces.ts';
import { apiContext, createConnection, type Answer, type ApiFixture } from './api-fixture.ts';
import { DESTINATION_DEFINITION, SOURCE_DEFINITION } from './fake-connectors.ts';

/** The calls of real clients as they send them, and what they read of the answers. */

const UNKNOWN = '11111111-2222-4333-8444-555555555555';

let api: ApiFixture;
let connectionId: string;
let webPort: number;
beforeAll(async () => {
  // Open, as on a laptop: that is where these clients send logins that nobody asked for.
  webPort = await freePort();
  api = await apiContext({ webPort });
  connectionId = await createConnection(api);
}, 60_000);
afterAll(async () => api[Symbol.asyncDispose]());

async function rest(method: string, path: string, body?: object): Promise<Answer> {
  const response = await fetch(`${api.url}/api/public/v1/${path}`, {
    method,
    headers: { 'content-type': 'application/json' },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  });
  const text = await response.text();
  return { status: response.status, body: text === '' ? undefined : JSON.parse(text) };
}

describe('prefect-airbyte', () => {
  const login = { authorization: `Basic ${Buffer.from('airbyte:password').toString('base64')}` };

  it('CT-01 health with a trailing slash', async () => {
    expect(await api.get('/api/v1/health/', login)).toEqual({
      status: 200,
      body: { available: true },
    });
  });

  it('CT-02 CT-03 get tells the status, sync answers at once with a number', async () => {
    const got = await api.call('connections/get/', { connectionId }, login);
    expect(got.body.status).toBe('active');
    const { body } = await api.call('connections/sync/', { connectionId }, login);
    expect(body.job.id).toEqual(expect.any(Number));
    const job = await api.call('jobs/get/', { id: body.job.id }, login);
    expect(job.body.job).toMatchObject({ createdAt: expect.any(Number) as number });
    await api.call('jobs/cancel', { id: body.job.id });
  });

  it('CT-05 CT-06 unknown is 404, deleted is 200 and deprecated', async () => {
    const unknown = await api.call('connections/get/', { connectionId: UNKNOWN }, login);
    expect(unknown).toMatchObject({ status: 404, body: { message: expect.any(String) as string } });
    const gone = await createConnection(api);
    expect(await api.call('connections/delete', { connectionId: gone })).toMatchObject({
      status: 204,
    });
    const deleted = await api.call('connections/get/', { connectionId: gone }, login);
    expect(deleted).toMatchObject({ status: 200, body: { status: 'deprecated' } });
  });
});

describe('dagster-airbyte', () => {
  it('CT-11 one workspace for {} and for an empty body', async () => {
    for (const body of [{}, '']) {
      expect((await api.call('workspaces/list', body)).body.workspaces).toHaveLength(1);
    }
  });

  it('CT-14 CT-15 a token, and what its workspace loads', async () => {
    const token = await rest('POST', 'applications/token', { client_id: 'x', client_secret: 'y' });
    expect(token.body).toMatchObject({ token_type: 'Bearer', access_token: 'y' });
    expect(token.body.expires_in).toBeGreaterThan(60);
    expect((await rest('GET', `workspaces/${DEFAULT_WORKSPACE_ID}`)).status).toBe(200);
    const list = await rest('GET', `connections?workspaceIds=${DEFAULT_WORKSPACE_ID}&limit=10`);
    const found = list.body.data.find(
      (each: { connectionId: string }) => each.connectionId === connectionId,
    );
    const config = await api.call('connections/get', { connectionId });
    expect(config.body.syncCatalog.streams[0].config.selected).toBe(true);
    const destination = await rest('GET', `destinations/${found.destinationId}`);
    expect(destination.body.destinationType).toEqual(expect.any(String));
  });

  it('CT-16 CT-17 CT-18 a job from its start to its cancellation, without a null', async () => {
    const job = await rest('POST', 'jobs', { connectionId, jobType: 'sync' });
    expect(job).toMatchObject({ status: 200, body: { jobId: expect.any(Number) as number } });
    const cancelled = await rest('DELETE', `jobs/${job.body.jobId}`);
    expect(cancelled).toMatchObject({ status: 200, body: { status: 'cancelled' } });
    expect(nullsIn([job.body, cancelled.body])).toEqual([]);
    const page = await rest('GET', `jobs?connectionId=${connectionId}&limit=50`);
    expect(page.body).toMatchObject({ next: '', previous: '' });
  });
});

describe('Airflow', () => {
  it('CT-19 the loop of the older hook, under a login of None', async () => {
    const headers = { authorization: `Basic ${Buffer.from('None:None').toString('base64')}` };
    expect((await api.get('/api/v1/health', headers)).status).toBe(200);
    const { body } = await api.call('connections/sync', { connectionId }, headers);
    const { id } = body.job;
    expect((await api.call('jobs/get', { id }, headers)).body.job.status).toBe('pending');
    expect((await api.call('jobs/cancel', { id }, headers)).body.job.status).toBe('cancelled');
    expect((await api.call('jobs/cancel', { id }, headers)).status).toBe(200);
  });
});

describe('octavia', () => {
  it('CT-23 its three lists', async () => {
    const definitions = await api.call('source_definitions/list', {});
    expect(definitions.body.sourceDefinitions[0]).toMatchObject({
      name: expect.any(String) as string,
      dockerRepository: expect.any(String) as string,
      dockerImageTag: expect.any(String) as string,
      sourceDefinitionId: SOURCE_DEFINITION,
    });
    const sources = await api.call('sources/list', { workspaceId: DEFAULT_WORKSPACE_ID });
    expect(sources.body.sources[0]).toMatchObject({ sourceName: 'Fake source' });
    const connections = await api.call('connections/list', { workspaceId: DEFAULT_WORKSPACE_ID });
    expect(connections.body.connections[0]).toMatchObject({ status: 'active' });
  });

  it('CT-25 no word that is younger than 0.50', async () => {
    const { body } = await api.call('connections/get', { connectionId });
    expect(['active', 'inactive', 'deprecated']).toContain(body.status);
    expect(['source', 'destination', 'customformat']).toContain(body.namespaceDefinition);
    const jobs = await api.call('jobs/list', { configTypes: ['sync'], configId: connectionId });
    const words = ['pending', 'running', 'incomplete', 'failed', 'succeeded', 'cancelled'];
    for (const { job } of jobs.body.jobs) expect(words).toContain(job.status);
  });
});

describe('terraform', () => {
  it('CT-26 each kind comes back as it was planned', async () => {
    const workspace = await rest('POST', 'workspaces', { name: 'team' });
    expect(workspace).toMatchObject({ status: 200, body: { name: 'team' } });
    const { workspaceId } = workspace.body;
    const renamed = await rest('PATCH', `workspaces/${workspaceId}`, { name: 'team 2' });
    expect(renamed.body.name).toBe('team 2');
    const ends: Record<string, string> = {};
    for (const [kind, definitionId] of [
      ['source', SOURCE_DEFINITION],
      ['destination', DESTINATION_DEFINITION],
    ] as const) {
      const planned = { host: 'db', port: 1, extra: { a: [1] } };
      const made = await rest('POST', `${kind}s`, {
        name: kind,
        workspaceId,
        definitionId,
        configuration: planned,
      });
      ends[`${kind}Id`] = made.body[`${kind}Id`];
      const read = await rest('GET', `${kind}s/${ends[`${kind}Id`]}`);
      expect(read.body.configuration).toMatchObject(planned);
      expect(read.body).toEqual(made.body);
    }
    const planned = {
      name: 'planned',
      namespaceDefinition: 'custom_format',
      namespaceFormat: 'x_${SOURCE_NAMESPACE}',
      prefix: 'p_',
      status: 'inactive',
      nonBreakingSchemaUpdatesBehavior: 'propagate_columns',
      schedule: { scheduleType: 'cron', cronExpression: '0 0 2 * * ? UTC' },
    };
    const made = await rest('POST', 'connections', { ...ends, ...planned });
    expect(made.body).toMatchObject({ ...ends, ...planned, tags: [] });
    expect((await rest('GET', `connections/${made.body.connectionId}`)).body).toEqual(made.body);
    expect((await rest('DELETE', `workspaces/${workspaceId}`)).status).toBe(204);
    expect((await rest('GET', `workspaces/${workspaceId}`)).status).toBe(404);
    expect((await rest('GET', `connections/${made.body.connectionId}`)).status).toBe(404);
  });

  it('CT-27 a deleted source is a problem of 404', async () => {
    const id = await api.createSource();
    await rest('DELETE', `sources/${id}`);
    const gone = await rest('GET', `sources/${id}`);
    expect(gone).toMatchObject({ status: 404, body: { title: 'resource-not-found', status: 404 } });
  });
});

describe('PyAirbyte', () => {
  it('CT-28 check, state, attempts; the state is not to be set', async () => {
    const { sourceId } = (await api.call('connections/get', { connectionId })).body;
    const check = await api.call('sources/check_connection', { sourceId });
    expect(check.body.status).toBe('succeeded');
    const state = await api.call('state/get', { connectionId });
    expect(state.body).toEqual({ stateType: 'not_set', connectionId });
    const put = { connectionId, connectionState: { stateType: 'global', connectionId } };
    expect(await api.call('state/create_or_update_safe', put)).toMatchObject({
      status: 422,
      body: { exceptionClassName: 'API_STATE_READ_ONLY' },
    });
  });
});

describe("the guide's own calls", () => {
  it('CT-29 CT-30 CT-31 CT-32 verbatim but for host and ids', async () => {
    const sources = await api.call('sources/list', { workspaceId: 'default' });
    const [source] = sources.body.sources as { sourceId: string }[];
    const created = await api.call('connections/create', {
      sourceId: source?.sourceId,
      destinationId: await api.createDestination(),
      name: 'from a script',
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
    expect(created).toMatchObject({
      status: 200,
      body: {
        status: 'active',
        scheduleType: 'basic',
        syncCatalog: { streams: [{ config: { selected: true } }] },
      },
    });
    const id = created.body.connectionId as string;
    const { body } = await api.call('connections/sync', { connectionId: id });
    expect((await api.call('jobs/get', { id: String(body.job.id) })).body.job.id).toBe(body.job.id);
    const { request } = await import('node:http');
    const asking = JSON.stringify({ configTypes: ['sync'], configId: id });
    const listed = await new Promise<string>((resolve, reject) => {
      const asked = request(`${api.url}/api/v1/jobs/list`, {
        method: 'GET',
        headers: { 'content-type': 'application/json', 'content-length': asking.length },
      });
      asked.on('error', reject);
      asked.on('response', (response) => {
        let text = '';
        response.on('data', (chunk: Buffer) => (text += chunk.toString()));
        response.on('end', () => resolve(text));
      });
      asked.end(asking);
    });
    expect(JSON.parse(listed)).toMatchObject({ jobs: [{ job: { id: body.job.id } }] });
  });
});

describe('every answer', () => {
  it('CT-33 an error is JSON, for unknown routes and methods too', async () => {
    for (const [method, path] of [
      ['GET', '/api/v1/sources/list'],
      ['POST', '/api/v1/nowhere'],
      ['DELETE', '/api/v1/health'],
      ['GET', '/'],
      ['PUT', '/api/public/v1/jobs'],
      ['GET', '/api/public/v1/organizations'],
    ] as const) {
      const answer = await fetch(api.url + path, { method });
      expect(answer.status, path).toBe(404);
      const body = (await answer.json()) as Record<string, unknown>;
      expect(body['message'] ?? body['detail'], path).toEqual(expect.any(String));
    }
  });

  it('CT-36 is the same at the port of the web page', async () => {
    for (const [method, path, body] of [
      ['GET', 'v1/health', undefined],
      ['POST', 'v1/connections/get/', { connectionId }],
      ['POST', 'v1/connections/list', { workspaceId: 'default' }],
      ['POST', 'v1/jobs/list', { configTypes: ['sync'] }],
      ['POST', 'v1/connections/get', { connectionId: UNKNOWN }],
      ['POST', 'v1/connections/get', 'no JSON'],
      ['GET', 'public/v1/workspaces', undefined],
      ['GET', 'v1/nowhere', undefined],
    ] as const) {
      const [server, web] = await Promise.all(
        [api.url, `http://127.0.0.1:${webPort}`].map(async (origin) => {
          const answer = await fetch(`${origin}/api/${path}`, {
            method,
            ...(body === undefined ? {} : { body: JSON.stringify(body) }),
          });
          return { status: answer.status, body: await answer.text() };
        }),
      );
      expect(web, path).toEqual(server);
    }
  });

  it('CT-34 holds no null where a field should be absent', async () => {
    const ids = { connectionId, workspaceId: 'default', configTypes: ['sync'] };
    for (const path of [
      ...['workspaces/list', 'workspaces/get', 'sources/list', 'destinations/list'],
      ...['connections/get', 'connections/list', 'connections/status', 'jobs/list', 'state/get'],
      ...['web_backend/connections/get', 'web_backend/connections/list'],
      ...['source_definitions/list', 'destination_definitions/list'],
    ]) {
      const { status, body } = await api.call(path, ids);
      expect(status, path).toBe(200);
      expect(nullsIn(body), path).toEqual([]);
    }
  });
});

/** Paths of null values. */
function nullsIn(value: unknown, path = '$'): string[] {
  if (value === null) return [path];
  if (typeof value !== 'object') return [];
  return Object.entries(value as object).flatMap(([name, each]) =>
    nullsIn(each, `${path}.${name}`),
  );
}
