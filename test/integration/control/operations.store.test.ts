import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { isProcessAlive } from '../../../core/run/process-alive.ts';
import { apiContext, createConnection, type ApiFixture } from './api-fixture.ts';
import { Stage, STREAM as stream } from './scheduler-stage.ts';

const workspaceId = 'default';
const eventually = { timeout: 30_000, interval: 20 };
const received: string[] = [];
let answer = 200;
const receiver = createServer((request, response) => {
  void text(request).then((body) => {
    received.push(body);
    response.writeHead(answer).end();
  });
});
let api: ApiFixture;
let stage: Stage;
let projects: string;
let url: string;

beforeAll(async () => {
  api = await apiContext();
  await new Promise<void>((resolve) => receiver.listen(0, '127.0.0.1', resolve));
  url = `http://127.0.0.1:${(receiver.address() as AddressInfo).port}/hook`;
  projects = mkdtempSync(join(tmpdir(), 'headrace-dbt-'));
  mkdirSync(join(projects, 'shop'));
}, 60_000);
afterAll(async () => {
  receiver.close();
  rmSync(projects, { recursive: true, force: true });
  await api[Symbol.asyncDispose]();
});
beforeEach(() => {
  stage = new Stage(api.store);
  stage.policy = { ...stage.policy, retryInMs: () => 50 };
  received.length = 0;
  answer = 200;
});
afterEach(() => stage.stop());

/** A program in dbt's place, for what dbt itself would take seconds to show. */
function dbtIs(script: string): void {
  const command = join(projects, 'dbt');
  writeFileSync(command, `#!/bin/sh\n${script}\n`);
  chmodSync(command, 0o755);
  stage.dbt = { command, projects };
}

async function create(operatorConfiguration: object): Promise<string> {
  const made = await api.call('operations/create', {
    workspaceId,
    name: 'op',
    operatorConfiguration,
  });
  expect(made.status).toBe(200);
  return made.body.operationId as string;
}

const webhook = () => create({ operatorType: 'webhook', webhook: { executionUrl: url } });
const dbt = (gitRepoUrl = 'shop') =>
  create({ operatorType: 'dbt', dbt: { gitRepoUrl, dbtArguments: 'run --select customers' } });

/** A sync of a connection whose data is there already. */
async function sync(operationIds: readonly string[]): Promise<number> {
  const connectionId = await createConnection(api, { operationIds });
  const { sourceId } = (await api.call('connections/get', { connectionId })).body;
  const ids = { connectionId, sourceId };
  await stage.sourceSays(ids, {});
  await stage.sinkSays(ids, {}, 0, {});
  stage.startScheduler();
  return (await stage.store.jobs.create(connectionId, [stream])).id;
}

const statusOf = async (id: number) => (await stage.store.jobs.get(id)).status;
const logOf = async (id: number) => (await stage.store.jobs.logLines(id, 0, 100)).join('\n');

describe('operations', () => {
  it('are made, read, changed, listed by connection and deleted; CT-24', async () => {
    const operationId = await webhook();
    const { body } = await api.call('operations/get', { operationId });
    expect(body).toMatchObject({
      name: 'op',
      operatorConfiguration: { operatorType: 'webhook', webhook: { executionUrl: '**********' } },
    });
    const changed = { ...body, name: 'other' };
    expect((await api.call('operations/update', changed)).body.name).toBe('other');
    expect((await api.store.operations.get(operationId)).configuration.webhook?.executionUrl).toBe(
      url,
    );
    const connectionId = await createConnection(api, { operationIds: [operationId] });
    expect((await api.call('connections/get', { connectionId })).body.operationIds).toEqual([
      operationId,
    ]);
    const list = await api.call('operations/list', { connectionId });
    expect(list.body.operations).toMatchObject([{ operationId, name: 'other' }]);
    expect((await api.call('operations/delete', { operationId })).status).toBe(204);
    expect((await api.call('operations/list', { connectionId })).body.operations).toEqual([]);
    expect((await api.call('operations/get', { operationId })).status).toBe(404);
    const missing = { operatorType: 'dbt' };
    expect((await api.call('operations/check', missing)).body.status).toBe('failed');
    const refused = { workspaceId, name: 'x', operatorConfiguration: missing };
    expect((await api.call('operations/create', refused)).status).toBe(400);
    const unknown = { connectionId, operationIds: [operationId] };
    expect((await api.call('connections/update', unknown)).status).toBe(404);

    const normalization = { operatorType: 'normalization', normalization: { option: 'basic' } };
    const web = await api.call('web_backend/connections/create', {
      sourceId: await api.createSource(),
      destinationId: await api.createDestination(),
      operations: [{ name: 'normalize', operatorConfiguration: normalization }],
    });
    expect(web.body.operations).toMatchObject([{ operatorConfiguration: normalization }]);
    const work = (await api.store.work.listWork()).connections.find(
      (each) => each.connectionId === web.body.connectionId,
    );
    expect(work?.config).toMatchObject({ normalization: { option: 'basic' } });
  });

  it('run after a sync in their order; dbt writes to the log of the job', async () => {
    dbtIs('echo "in $(basename "$PWD") $*"; echo "${HEADRACE_SECRET_KEY:-nothing of ours}" >&2');
    const id = await sync([await webhook(), await dbt()]);
    await expect.poll(() => statusOf(id), eventually).toBe('succeeded');
    expect(received).toEqual([expect.stringContaining(`"jobId":${id}`) as string]);
    const log = await logOf(id);
    expect(log).toMatch(/webhook: op: answered 200[^]*dbt: in shop run --select customers/);
    expect(log).toContain('dbt: nothing of ours');
  });

  it('a program that fails fails the job, and what follows it does not run', async () => {
    dbtIs('echo "Compilation Error"; exit 2');
    const id = await sync([await dbt(), await webhook()]);
    await expect.poll(() => statusOf(id), eventually).toBe('failed');
    const [attempt] = await stage.store.jobs.attempts([id]);
    expect(attempt?.failures).toMatchObject([
      { failureOrigin: 'dbt', internalMessage: 'OPS_DBT_FAILED' },
    ]);
    expect(await logOf(id)).toContain('dbt: Compilation Error');
    expect(received).toEqual([]);
  });

  it('a webhook that does not take it is tried again by the next attempt', async () => {
    answer = 503;
    const id = await sync([await webhook()]);
    await expect.poll(async () => (await stage.store.jobs.get(id)).attempt, eventually).toBe(1);
    answer = 200;
    await expect.poll(() => statusOf(id), eventually).toBe('succeeded');
    expect(received.length).toBeGreaterThan(1);
  });

  it.each(['..', '/etc', 'nowhere', 'https://github.com/a/b.git'])(
    'no project is run outside of the folder for them: %s',
    async (address) => {
      dbtIs('exit 0');
      const id = await sync([await dbt(address)]);
      await expect.poll(() => statusOf(id), eventually).toBe('failed');
      const [attempt] = await stage.store.jobs.attempts([id]);
      expect(attempt?.failures[0]?.internalMessage).toBe('OPS_DBT_UNAVAILABLE');
    },
  );

  it('a cancel ends the program within seconds', async () => {
    dbtIs('echo begun; exec sleep 600');
    const id = await sync([await dbt()]);
    await expect.poll(() => logOf(id), eventually).toContain('dbt: begun');
    await api.call('jobs/cancel', { id });
    const cancelled = Date.now();
    await stage.stop();
    expect(Date.now() - cancelled).toBeLessThan(20_000);
    expect(await statusOf(id)).toBe('cancelled');
  });

  it('a cancel ends a webhook that is not answered, and what follows does not run', async () => {
    const reached = Promise.withResolvers<void>();
    const silent = createServer(() => reached.resolve());
    await new Promise<void>((resolve) => silent.listen(0, '127.0.0.1', resolve));
    const executionUrl = `http://127.0.0.1:${(silent.address() as AddressInfo).port}/`;
    const unanswered = await create({ operatorType: 'webhook', webhook: { executionUrl } });
    const id = await sync([unanswered, await webhook()]);
    await reached.promise;
    await api.call('jobs/cancel', { id });
    const cancelled = Date.now();
    await stage.stop();
    expect(Date.now() - cancelled).toBeLessThan(20_000);
    silent.closeAllConnections();
    silent.close();
    expect(await statusOf(id)).toBe('cancelled');
    expect(received).toEqual([]);
    expect(await logOf(id)).not.toContain('failed:');
  });

  it('a scheduler that ends takes its program with it, and the next one runs it again', async () => {
    dbtIs('echo "begun $$"; [ -e ../again ] || exec sleep 600');
    const id = await sync([await dbt()]);
    await expect.poll(() => logOf(id), eventually).toMatch(/dbt: begun \d+/);
    const [, pid = ''] = /begun (\d+)/.exec(await logOf(id)) ?? [];
    await stage.stopSchedulers();
    expect(isProcessAlive(Number(pid))).toBe(false);
    expect(await statusOf(id)).toBe('running');
    writeFileSync(join(projects, 'again'), '');
    stage.startScheduler('scheduler-2');
    await expect.poll(() => statusOf(id), eventually).toBe('succeeded');
    expect(await stage.store.jobs.attempts([id])).toHaveLength(1);
  });

  it('a long program holds up no other job', async () => {
    dbtIs('echo begun; exec sleep 600');
    const id = await sync([await dbt()]);
    await expect.poll(() => logOf(id), eventually).toContain('dbt: begun');
    const other = await sync([]);
    await expect.poll(() => statusOf(other), eventually).toBe('succeeded');
    expect(await statusOf(id)).toBe('running');
    await api.call('jobs/cancel', { id });
  });
});
