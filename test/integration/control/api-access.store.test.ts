import { createServer } from 'node:net';
import { once } from 'node:events';
import { expect, it } from 'vitest';
import { createLogger } from '../../../core/observe/logger.ts';
import { PipelineError } from '../../../core/errors/pipeline-error.ts';
import { createHealthServer } from '../../../services/api/health-server.ts';
import type { RegistryReader } from '../../../services/api/registry-routes.ts';
import { apiContext } from './api-fixture.ts';

const logger = createLogger({ level: 'silent', service: 'test' });

it('asks for the token everywhere but on health', async () => {
  await using api = await apiContext({ token: 'right' });
  const bearer = (token: string) => ({ authorization: `Bearer ${token}` });
  const basic = { authorization: `Basic ${Buffer.from('airbyte:right').toString('base64')}` };
  for (const path of ['/api/v1/health', '/api/v1/health/', '/health/live', '/health/ready']) {
    expect((await api.get(path)).status, path).toBe(200);
  }
  for (const path of ['/metrics', '/subjects', '/api/v1/jobs/list', '/nowhere']) {
    expect((await api.get(path)).status, path).toBe(401);
  }
  expect(await api.call('workspaces/list', {})).toMatchObject({
    status: 401,
    body: { exceptionClassName: 'API_UNAUTHORIZED' },
  });
  expect((await api.call('workspaces/list', {}, bearer('wrong'))).status).toBe(401);
  expect((await api.call('workspaces/list', {}, bearer('right'))).status).toBe(200);
  expect((await api.call('workspaces/list', {}, basic)).status).toBe(200);
});

it('refuses to listen beyond loopback without a token', () => {
  const settings = { apiHost: '0.0.0.0', apiPort: 0, apiToken: null, apiRequestsPerSecond: 1000 };
  const ready = () => Promise.resolve();
  expect(() => createHealthServer({ settings, logger, ready })).toThrow(/no token is set/);
  createHealthServer({ settings: { ...settings, apiToken: 't' }, logger, ready });
  createHealthServer({ settings: { ...settings, apiHost: '::1' }, logger, ready });
});

it('names the port that is taken', async () => {
  const other = createServer().listen(0, '127.0.0.1');
  await once(other, 'listening');
  const { port } = other.address() as { port: number };
  const settings = {
    apiHost: '127.0.0.1',
    apiPort: port,
    apiToken: null,
    apiRequestsPerSecond: 1000,
  };
  const server = createHealthServer({ settings, logger, ready: () => Promise.resolve() });
  const failed = server.run(new AbortController().signal);
  await expect(failed).rejects.toMatchObject({
    code: 'CFG_PORT_IN_USE',
    message: expect.stringContaining(String(port)) as string,
  });
  other.close();
});

it('says what a role waits for until it is ready', async () => {
  let waiting = true;
  const server = createHealthServer({
    settings: { apiHost: '127.0.0.1', apiPort: 0, apiToken: null, apiRequestsPerSecond: 1000 },
    logger,
    ready: () =>
      waiting
        ? Promise.reject(new PipelineError('CFG_STORE_UNAVAILABLE', 'the store does not answer'))
        : Promise.resolve(),
  });
  const abort = new AbortController();
  const running = server.run(abort.signal);
  const url = `http://127.0.0.1:${await server.listening}/health/ready`;
  const refused = await fetch(url);
  expect(refused.status).toBe(503);
  expect(await refused.json()).toMatchObject({ code: 'CFG_STORE_UNAVAILABLE' });
  waiting = false;
  expect((await fetch(url)).status).toBe(200);
  abort.abort();
  await running;
});

it("serves schemas in Confluent's form", async () => {
  const versions = [
    { version: 1, id: 3, schema: '"string"' },
    { version: 2, id: 9, schema: '"long"' },
  ];
  const registry: RegistryReader = {
    subjects: () => ['t-value', 't-key'],
    versions: (subject) => (subject === 't-value' ? versions : []),
    byId: (id) => versions.find((each) => each.id === id)?.schema,
    ready: () => Promise.resolve(),
  };
  await using api = await apiContext({ registry });
  const get = async (path: string) => (await api.get(path)).body as unknown;
  expect(await get('/subjects')).toEqual(['t-key', 't-value']);
  expect(await get('/subjects/t-value/versions')).toEqual([1, 2]);
  const latest = { subject: 't-value', version: 2, id: 9, schema: '"long"' };
  expect(await get('/subjects/t-value/versions/latest')).toEqual(latest);
  expect(await get('/subjects/t-value/versions/2')).toEqual(latest);
  expect(await get('/schemas/ids/3')).toEqual({ schema: '"string"' });
  expect(await get('/schemas/types')).toEqual(['AVRO']);
  expect(await get('/config')).toEqual({ compatibilityLevel: 'BACKWARD' });
  for (const [path, status, code] of [
    ['/subjects/none/versions', 404, 40401],
    ['/subjects/t-value/versions/3', 404, 40402],
    ['/subjects/t-value/versions/x', 422, 42202],
    ['/schemas/ids/4', 404, 40403],
  ] as const) {
    expect(await api.get(path), path).toMatchObject({ status, body: { error_code: code } });
  }
});
