import { afterAll, beforeAll, expect, it } from 'vitest';
import { DEFAULT_WORKSPACE_ID } from '../../../core/store/workspaces.ts';
import { apiContext, type ApiFixture } from './api-fixture.ts';
import { DESTINATION_DEFINITION, SOURCE_DEFINITION } from './fake-connectors.ts';
import { PublicDocument } from './public-document.ts';

let api: ApiFixture;
let document: PublicDocument;

beforeAll(async () => {
  api = await apiContext();
  document = await PublicDocument.of(api.url);
});

afterAll(() => api[Symbol.asyncDispose]());

// oxlint-disable-next-line typescript/no-explicit-any
async function ask(method: string, path: string, body?: object): Promise<any> {
  const response = await fetch(`${api.url}/api/public/v1/${path}`, {
    method,
    headers: { 'content-type': 'application/json' },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  });
  const text = await response.text();
  const answer = { status: response.status, body: text === '' ? undefined : JSON.parse(text) };
  expect(answer.status, `${method} ${path}: ${text}`).toBeLessThan(300);
  document.check(method, path, answer);
  return answer.body;
}

it('says for every route what it answers', () => {
  expect(document.operations.size).toBeGreaterThan(30);
  for (const [name, { responses }] of document.operations) {
    const codes = Object.keys(responses).filter((code) => code !== 'default');
    expect(codes, name).toHaveLength(1);
    if (codes[0] === '204') continue;
    const schema = responses['200']?.content?.['application/json'].schema;
    expect(schema, name).toHaveProperty('type');
  }
});

it('every route answers as its document says', async () => {
  await ask('GET', 'health');
  await ask('GET', 'openapi');
  for (const prefix of ['', 'v1/']) await ask('POST', `${prefix}applications/token`, {});
  await workspaces();
  const ids = { sourceId: await actor('source'), destinationId: await actor('destination') };
  const unnamed = await ask('GET', `streams?sourceId=${ids.sourceId}`);
  expect(unnamed).not.toEqual([]);
  await ask('GET', `streams?sourceId=${ids.sourceId}&destinationId=${ids.destinationId}`);
  const { connectionId } = await ask('POST', 'connections', {
    ...ids,
    configurations: { streams: [{ name: 'orders', namespace: 'public' }] },
  });
  await jobs(connectionId as string);
  await ask('GET', 'connections');
  await ask('GET', `connections/${connectionId}`);
  const schedule = { scheduleType: 'cron', cronExpression: '0 0 2 * * ?' };
  for (const change of [{ prefix: 'p_' }, { schedule }, { status: 'inactive' }]) {
    await ask('PATCH', `connections/${connectionId}`, change);
  }
  await ask('DELETE', `connections/${connectionId}`);
  await ask('GET', 'connections?includeDeleted=true');
  await ask('DELETE', `sources/${ids.sourceId}`);
  await ask('DELETE', `destinations/${ids.destinationId}`);
  expect([...document.operations.keys()].filter((name) => !document.answered.has(name))).toEqual(
    [],
  );
});

async function workspaces(): Promise<void> {
  const { workspaceId } = await ask('POST', 'workspaces', { name: 'another' });
  await ask('GET', 'workspaces');
  await ask('GET', `workspaces/${workspaceId}`);
  await ask('PATCH', `workspaces/${workspaceId}`, { name: 'renamed' });
  for (const kind of ['sources', 'destinations']) {
    const definitions = `workspaces/${workspaceId}/definitions/${kind}`;
    const { data } = await ask('GET', definitions);
    await ask('GET', `${definitions}/${data[0].id}`);
  }
  await ask('DELETE', `workspaces/${workspaceId}`);
}

async function actor(kind: 'source' | 'destination'): Promise<string> {
  const configuration = { host: 'db', port: 1, password: 'canary-9' };
  const created = await ask('POST', `${kind}s`, {
    name: `a ${kind}`,
    workspaceId: DEFAULT_WORKSPACE_ID,
    definitionId: kind === 'source' ? SOURCE_DEFINITION : DESTINATION_DEFINITION,
    configuration,
  });
  const id = created[`${kind}Id`] as string;
  await ask('GET', `${kind}s`);
  await ask('GET', `${kind}s/${id}`);
  await ask('PATCH', `${kind}s/${id}`, { name: 'other' });
  await ask('PUT', `${kind}s/${id}`, { name: 'other', configuration });
  return id;
}

async function jobs(connectionId: string): Promise<void> {
  const { jobId } = await ask('POST', 'jobs', { connectionId, jobType: 'sync' });
  await api.store.jobs.start(jobId as number);
  await ask('GET', `jobs/${jobId}`);
  await ask('DELETE', `jobs/${jobId}`);
  const reset = await ask('POST', 'jobs', { connectionId, jobType: 'reset' });
  await api.store.jobs.finish(reset.jobId as number, { status: 'succeeded', failures: [] });
  await ask('GET', `jobs/${reset.jobId}`);
  await ask('GET', 'jobs?limit=1');
}
