import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { OutgoingRules } from '../../../core/net/outgoing-rules.ts';
import { LogTail } from '../../../core/observe/log-tail.ts';
import { createLogger } from '../../../core/observe/logger.ts';
import { ROLES, type Role } from '../../../core/store/access-tokens.ts';
import { createApi } from '../../../services/api/api.ts';
import { ROUTE_ACCESS } from '../../../services/api/route-roles.ts';
import { apiContext, type ApiFixture } from './api-fixture.ts';
import { fakeConnectors } from './fake-connectors.ts';

const ADMIN = 'the-token-of-the-environment-0123456789';
const registry = {
  subjects: () => [],
  versions: () => [],
  byId: () => undefined,
  ready: () => Promise.resolve(),
};

const nothingDiffers = () => Promise.resolve((async function* () {})());

let api: ApiFixture;
beforeAll(
  async () => void (api = await apiContext({ token: ADMIN, registry, verify: nothingDiffers })),
  60_000,
);
afterAll(async () => api[Symbol.asyncDispose]());

const bearer = (token: string) => ({ authorization: `Bearer ${token}` });

async function tokenOf(role: Role): Promise<string> {
  const made = await api.call(
    'tokens/create',
    { name: `${role} ${randomUUID()}`, role },
    bearer(ADMIN),
  );
  expect(made.status).toBe(200);
  return made.body.token as string;
}

/** Every route that the program has, as `METHOD pattern`. */
async function routesOfTheProgram(): Promise<string[]> {
  const app = createApi({
    store: api.store,
    connectors: fakeConnectors(),
    rules: new OutgoingRules([]),
    logger: createLogger({ level: 'silent', service: 'api' }),
    settings: { apiHost: '127.0.0.1', apiPort: 0, apiToken: null, apiRequestsPerSecond: 1 },
    registry,
    verify: nothingDiffers,
    logs: new LogTail({ write: () => undefined }),
  });
  await app.ready();
  return app.routeEntries.map(({ method, pattern }) => `${method} ${pattern}`);
}

describe('roles', () => {
  it('every route has an entry in the table, and every entry a route', async () => {
    const routes = await routesOfTheProgram();
    expect(routes.length).toBeGreaterThan(60);
    expect(routes.filter((route) => !ROUTE_ACCESS.has(route))).toEqual([]);
    expect([...ROUTE_ACCESS.keys()].filter((route) => !routes.includes(route))).toEqual([]);
  });

  it('every route refuses no token, a wrong one and a lower role, and lets its own in', async () => {
    const tokens = { viewer: '', operator: '', admin: '' };
    for (const role of ROLES) tokens[role] = await tokenOf(role);
    for (const [route, access] of ROUTE_ACCESS) {
      const status = (headers: Record<string, string>) => statusOf(route, headers);
      if (access === 'open') continue;
      expect(await status({}), `${route} without a token`).toBe(401);
      for (const role of ROLES) {
        const answered = await status(bearer(tokens[role]));
        if (ROLES.indexOf(role) < ROLES.indexOf(access)) {
          expect(answered, `${route} as ${role}`).toBe(403);
        } else {
          expect([401, 403], `${route} as ${role}`).not.toContain(answered);
        }
      }
    }
  });

  it('a revoked token is refused at its next call', async () => {
    const { body } = await api.call(
      'tokens/create',
      { name: 'short', role: 'viewer' },
      bearer(ADMIN),
    );
    expect((await api.call('workspaces/list', {}, bearer(body.token))).status).toBe(200);
    const list = await api.call('tokens/list', {}, bearer(ADMIN));
    expect(list.body.tokens).toContainEqual({
      tokenId: body.tokenId,
      name: 'short',
      role: 'viewer',
      createdAt: expect.any(Number) as number,
    });
    const again = await api.call('tokens/create', { name: 'short', role: 'admin' }, bearer(ADMIN));
    expect(again.status).toBe(400);
    const revoked = await api.call('tokens/revoke', { tokenId: body.tokenId }, bearer(ADMIN));
    expect(revoked.status).toBe(204);
    expect((await api.call('workspaces/list', {}, bearer(body.token))).status).toBe(401);
  });
});

async function statusOf(route: string, headers: Record<string, string>): Promise<number> {
  const [method = '', pattern = ''] = route.split(' ');
  const url = `${api.url}${pattern.replaceAll(/:\w+/g, 'x')}`;
  const post = method === 'GET' ? {} : { method, body: '{}' };
  const response = await fetch(url, { ...post, headers });
  await response.arrayBuffer();
  return response.status;
}

describe('the audit log', () => {
  it('names who changed which fields of what, and who was refused, without a value', async () => {
    const viewer = await tokenOf('viewer');
    const created = await api.call(
      'sources/create',
      {
        workspaceId: 'default',
        sourceDefinitionId: 'aaaaaaaa-0000-4000-8000-000000000001',
        name: 'canary-name',
        connectionConfiguration: { host: 'canary-host', port: 1, password: 'canary-password' },
      },
      bearer(ADMIN),
    );
    const { sourceId } = created.body;
    expect((await api.call('sources/delete', { sourceId }, bearer(viewer))).status).toBe(403);
    await api.call('sources/get', { sourceId }, bearer(viewer));
    expect((await api.call('sources/list', {}, bearer('canary-token'))).status).toBe(401);
    const { body } = await api.call('audit/list', { pagination: { pageSize: 3 } }, bearer(ADMIN));
    expect(body.entries).toMatchObject([
      { who: 'unknown', call: 'POST /api/v1/sources/list', status: 401 },
      { call: 'POST /api/v1/sources/delete', status: 403 },
      {
        who: 'admin',
        address: '127.0.0.1',
        call: 'POST /api/v1/sources/create',
        status: 200,
        objects: { sourceId, sourceDefinitionId: 'aaaaaaaa-0000-4000-8000-000000000001' },
        fields: [
          'workspaceId',
          'sourceDefinitionId',
          'name',
          'connectionConfiguration.host',
          'connectionConfiguration.port',
          'connectionConfiguration.password',
        ],
      },
    ]);
    expect(body.entries[1].who).toMatch(/^viewer /);
    expect(JSON.stringify(body)).not.toMatch(/canary/);
  });

  it('names who read what, where that is asked for', async () => {
    const { store } = api;
    await using audited = await apiContext({ store, token: ADMIN, auditReads: true });
    const viewer = bearer(await tokenOf('viewer'));
    await audited.call('connections/list', { workspaceId: 'default' }, viewer);
    await audited.get('/health/live');
    const { body } = await audited.call(
      'audit/list',
      { pagination: { pageSize: 1 } },
      bearer(ADMIN),
    );
    expect(body.entries).toMatchObject([
      { call: 'POST /api/v1/connections/list', status: 200, fields: ['workspaceId'] },
    ]);
    expect(body.entries[0].who).toMatch(/^viewer /);
  });
});

describe('limits', () => {
  it('an address that guesses tokens has to wait, and so does its right one', async () => {
    await using guarded = await apiContext({ token: ADMIN, store: api.store });
    const answers: number[] = [];
    for (let i = 0; i < 40; i++) {
      answers.push((await guarded.call('workspaces/list', {}, bearer(`guess-${i}`))).status);
    }
    expect(answers.slice(0, 20)).toEqual(Array<number>(20).fill(401));
    expect(answers).toContain(429);
  });

  it('a caller above its rate gets 429 with the seconds to wait', async () => {
    await using slow = await apiContext({ store: api.store, requestsPerSecond: 1 });
    const answers = await Promise.all(
      Array.from({ length: 12 }, () =>
        fetch(`${slow.url}/api/v1/workspaces/list`, { method: 'POST' }),
      ),
    );
    const refused = answers.find((each) => each.status === 429);
    expect(refused?.headers.get('retry-after')).toBe('1');
    expect(await refused?.json()).toMatchObject({ exceptionClassName: 'API_TOO_MANY_REQUESTS' });
    await Promise.all(answers.map((each) => (each.bodyUsed ? null : each.arrayBuffer())));
  });

  it('a body above its size, too deep, or with a poisoned name is refused', async () => {
    const call = (body: string) => api.call('workspaces/get', body, bearer(ADMIN));
    const wide = { workspaceId: 'default', filler: 'x'.repeat(2 << 20) };
    expect(await call(JSON.stringify(wide))).toMatchObject({
      status: 413,
      body: { exceptionClassName: 'API_TOO_LARGE' },
    });
    const catalog = {
      connectionId: randomUUID(),
      syncCatalog: { streams: [] },
      filler: wide.filler,
    };
    expect((await api.call('connections/update', catalog, bearer(ADMIN))).status).toBe(404);
    const deep = `{"a":${'['.repeat(100_000)}${']'.repeat(100_000)}}`;
    expect((await call(deep)).status).toBe(400);
    expect((await call('{"workspaceId":"default","a":{"__proto__":{"x":1}}}')).status).toBe(400);
  });

  it('without a token, calls under a foreign name or from another site are refused', async () => {
    await using open = await apiContext({ store: api.store });
    const { port } = new URL(open.url);
    expect(await rawStatus(open.url, { host: `evil.example:${port}` })).toBe(403);
    expect(await rawStatus(open.url, { host: `localhost:${port}` })).toBe(200);
    expect(await rawStatus(open.url, { origin: 'https://evil.example' })).toBe(403);
    expect(await rawStatus(open.url, { origin: 'null' })).toBe(403);
    expect(await rawStatus(open.url, { origin: open.url })).toBe(200);
  });
});

/** fetch does not let a test set Host or Origin. */
async function rawStatus(url: string, headers: Record<string, string>): Promise<number> {
  const { request } = await import('node:http');
  return new Promise((resolve, reject) => {
    request(`${url}/api/v1/workspaces/list`, { method: 'POST', headers }, (response) => {
      response.resume();
      resolve(response.statusCode ?? 0);
    })
      .on('error', reject)
      .end();
  });
}
