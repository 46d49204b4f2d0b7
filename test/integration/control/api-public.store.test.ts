import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { DEFAULT_WORKSPACE_ID } from '../../../core/store/workspaces.ts';
import { apiContext, type Answer, type ApiFixture } from './api-fixture.ts';
import { DESTINATION_DEFINITION, SOURCE_DEFINITION } from './fake-connectors.ts';
import { PublicDocument } from './public-document.ts';

const TOKEN = 'a-token-of-thirty-two-characters';

let api: ApiFixture;
let document: PublicDocument;

beforeAll(async () => {
  api = await apiContext({ token: TOKEN });
  document = await PublicDocument.of(api.url, TOKEN);
});

afterAll(() => api[Symbol.asyncDispose]());

async function rest(method: string, path: string, body?: object): Promise<Answer> {
  const response = await fetch(`${api.url}/api/public/v1/${path}`, {
    method,
    headers: { authorization: `Bearer ${TOKEN}`, 'content-type': 'application/json' },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  });
  const text = await response.text();
  const answer = { status: response.status, body: text === '' ? undefined : JSON.parse(text) };
  document.check(method, path, answer);
  return answer;
}

async function create(kind: 'source' | 'destination', definitionId: string): Promise<string> {
  const { status, body } = await rest('POST', `${kind}s`, {
    name: `a ${kind}`,
    workspaceId: DEFAULT_WORKSPACE_ID,
    definitionId,
    configuration: { host: 'db', port: 1, password: 'canary-9' },
  });
  expect(status).toBe(200);
  return body[`${kind}Id`] as string;
}

describe('the public API', () => {
  it('gives its token by every address, as JSON, form and Basic, and to nobody else', async () => {
    const paths = ['applications/token', 'api/v1/applications/token'];
    for (const prefix of ['', 'v1/']) paths.push(`api/public/v1/${prefix}applications/token`);
    for (const path of paths) {
      const form = await fetch(`${api.url}/${path}`, {
        method: 'POST',
        body: new URLSearchParams({ grant_type: 'client_credentials', client_secret: TOKEN }),
      });
      expect(await form.json()).toEqual({
        access_token: TOKEN,
        token_type: 'Bearer',
        expires_in: 3600,
      });
    }
    const url = `${api.url}/api/public/v1/applications/token`;
    const post = (init: RequestInit) => fetch(url, { method: 'POST', ...init });
    expect((await post({ body: JSON.stringify({ client_secret: TOKEN }) })).status).toBe(200);
    const basic = Buffer.from(`me:${TOKEN}`).toString('base64');
    expect((await post({ headers: { authorization: `Basic ${basic}` } })).status).toBe(200);
    expect((await post({ body: JSON.stringify({ client_secret: 'x' }) })).status).toBe(401);
    expect((await post({})).status).toBe(401);
    expect((await fetch(`${api.url}/api/public/v1/sources`)).status).toBe(401);
    expect((await fetch(`${api.url}/api/public/v1/health`)).status).toBe(200);
  });

  it('creates, reads, changes and deletes sources with their secrets masked', async () => {
    const id = await create('source', SOURCE_DEFINITION);
    const { body } = await rest('GET', `sources/${id}`);
    expect(body).toMatchObject({
      sourceId: id,
      sourceType: 'fake',
      definitionId: SOURCE_DEFINITION,
      configuration: { host: 'db', port: 1, password: '**********' },
    });
    expect(body.createdAt).toBeGreaterThan(1_700_000_000);
    const patched = await rest('PATCH', `sources/${id}`, { name: 'other' });
    expect(patched.body).toMatchObject({ name: 'other' });
    const put = await rest('PUT', `sources/${id}`, {
      name: 'x',
      configuration: body.configuration,
    });
    expect(put.body.configuration).toEqual(body.configuration);
    const stored = await api.store.actors.get('source', id);
    expect(stored.configuration['password']).toBe('canary-9');
    expect((await rest('DELETE', `sources/${id}`)).status).toBe(204);
    const gone = await rest('GET', `sources/${id}`);
    expect(gone).toMatchObject({ status: 404, body: { title: 'resource-not-found', status: 404 } });
    expect((await rest('GET', 'sources/no-uuid')).status).toBe(404);
  });

  it('runs a connection from its creation to a cancelled job', async () => {
    const sourceId = await create('source', SOURCE_DEFINITION);
    const destinationId = await create('destination', DESTINATION_DEFINITION);
    const streams = [
      { name: 'orders', namespace: 'public', syncMode: 'incremental_deduped_history' },
    ];
    const created = await rest('POST', 'connections', {
      sourceId,
      destinationId,
      name: 'c',
      configurations: { streams },
      schedule: { scheduleType: 'cron', cronExpression: '0 0 2 * * ? UTC' },
      prefix: 'p_',
    });
    expect(created).toMatchObject({
      status: 200,
      body: {
        status: 'active',
        namespaceDefinition: 'destination',
        prefix: 'p_',
        schedule: { scheduleType: 'cron', cronExpression: '0 0 2 * * ? UTC' },
        configurations: { streams: [{ ...streams[0], primaryKey: [['id']] }] },
        tags: [],
      },
    });
    const { connectionId } = created.body;
    const patched = await rest('PATCH', `connections/${connectionId}`, {
      schedule: { scheduleType: 'manual' },
    });
    expect(patched.body.schedule).toEqual({ scheduleType: 'manual' });
    const job = await rest('POST', 'jobs', { connectionId, jobType: 'sync' });
    expect(job.body).toMatchObject({ status: 'pending', jobType: 'sync', rowsSynced: 0 });
    expect(job.body.startTime).toMatch(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00$/);
    expect(job.body).not.toHaveProperty('lastUpdatedAt');
    const twice = await rest('POST', 'jobs', { connectionId, jobType: 'sync' });
    expect(twice).toMatchObject({ status: 409, body: { title: 'try-again-later' } });
    const reset = await rest('POST', 'jobs', { connectionId, jobType: 'reset' });
    expect(reset.body).toMatchObject({ jobType: 'reset' });
    const cancelled = await rest('DELETE', `jobs/${reset.body.jobId}`);
    expect(cancelled).toMatchObject({ status: 200, body: { status: 'cancelled' } });
    expect(cancelled.body.lastUpdatedAt).toMatch(/\+00:00$/);
    expect((await rest('DELETE', `connections/${connectionId}`)).status).toBe(204);
    expect((await rest('GET', `connections/${connectionId}`)).status).toBe(404);
  });

  it('pages by whole addresses, empty at the ends', async () => {
    const first = await rest('GET', 'jobs?limit=1&orderBy=createdAt|ASC');
    expect(first.body.data).toHaveLength(1);
    expect(first.body.previous).toBe('');
    const next = await fetch(first.body.next as string, {
      headers: { authorization: `Bearer ${TOKEN}` },
    });
    const second = (await next.json()) as { data: { jobId: number }[]; next: string };
    expect(second.next).toBe('');
    expect(second.data[0]?.jobId).toBeGreaterThan(first.body.data[0].jobId as number);
    expect((await rest('GET', 'jobs?status=succeeded')).body.data).toEqual([]);
    expect((await rest('GET', 'jobs?limit=x')).status).toBe(400);
    expect((await rest('GET', 'jobs?createdAtStart=never')).status).toBe(400);
  });

  it('answers a problem for everything else', async () => {
    const unknown = await rest('GET', 'organizations');
    expect(unknown).toMatchObject({ status: 404, body: { title: 'resource-not-found' } });
    expect((await rest('POST', 'jobs', { jobType: 'sync' })).body.title).toBe('bad-request');
    expect((await rest('GET', `workspaces/${DEFAULT_WORKSPACE_ID}`)).body.notifications).toEqual(
      {},
    );
  });
});
