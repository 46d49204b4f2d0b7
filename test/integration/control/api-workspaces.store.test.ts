import { afterAll, beforeAll, expect, it } from 'vitest';
import { DEFAULT_WORKSPACE_ID } from '../../../core/store/workspaces.ts';
import { apiContext, createConnection, streamRequest, type ApiFixture } from './api-fixture.ts';
import { SOURCE_DEFINITION } from './fake-connectors.ts';

let api: ApiFixture;
let connectionId: string;
beforeAll(async () => {
  api = await apiContext();
  connectionId = await createConnection(api);
}, 60_000);
afterAll(async () => api[Symbol.asyncDispose]());

it('workspaces are made, renamed, told of what was chosen, and deleted with what is in them', async () => {
  const made = await api.call('workspaces/create', { name: 'Ünder team', email: 'a@b.example' });
  const { workspaceId, slug } = made.body;
  expect(slug).toMatch(/^[a-z0-9-]+$/);
  await api.call('workspaces/update_name', { workspaceId, name: 'Production Data Platform' });
  await api.call('workspaces/update', { workspaceId, news: false, initialSetupComplete: true });
  await api.call('workspaces/tag_feedback_status_as_done', { workspaceId });
  expect((await api.call('workspaces/get_by_slug', { slug })).body).toMatchObject({
    name: 'Production Data Platform',
    email: 'a@b.example',
    news: false,
    feedbackDone: true,
  });
  expect(
    (await api.call('workspaces/get_by_connection_id', { connectionId })).body.workspaceId,
  ).toBe(DEFAULT_WORKSPACE_ID);
  const source = await api.call('sources/create', {
    workspaceId,
    sourceDefinitionId: SOURCE_DEFINITION,
    name: 'x',
    connectionConfiguration: { host: 'db', port: 1 },
  });
  expect((await api.call('workspaces/delete', { workspaceId })).status).toBe(204);
  expect((await api.call('sources/get', { sourceId: source.body.sourceId })).status).toBe(404);
  expect((await api.call('workspaces/delete', { workspaceId: 'default' })).status).toBe(400);
});

it('a catalog of several megabytes passes where a catalog belongs', async () => {
  const properties = Object.fromEntries(
    Array.from({ length: 20_000 }, (_, i) => [
      `column_number_${i}`,
      { type: ['null', 'string'], title: 'x'.repeat(60) },
    ]),
  );
  const streams = [streamRequest('orders', {}, { jsonSchema: { type: 'object', properties } })];
  const updated = await api.call('connections/update', { connectionId, syncCatalog: { streams } });
  expect(updated.status).toBe(200);
});
