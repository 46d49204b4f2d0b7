import { fork } from 'node:child_process';
import { once } from 'node:events';
import { apiContext } from '../integration/control/api-fixture.ts';
import { seedConnection } from '../integration/control/store-fixture.ts';
import type { Calls, Load } from './api-caller.ts';

const CONNECTIONS = 200;
const JOBS_EACH = 5;
const PARALLEL = 20;
const REQUESTS = 400;

/** Lists over HTTP with 200 connections in the embedded store, 20 requests at a time by another
 * process; `cpuMs` is the server's for one request, its store included, `callerCpuMs` the other's. */
export async function api(): Promise<Record<string, unknown>> {
  await using served = await apiContext();
  const { store, url } = served;
  const first = await seedConnection(store);
  const one = await store.connections.get(first.connectionId);
  for (let i = 1; i < CONNECTIONS; i++) await store.connections.create(one);
  const connections = await store.connections.list(one.workspaceId);
  for (const { id } of connections) {
    for (let n = 0; n < JOBS_EACH; n++) {
      const job = await store.jobs.create(id, [{ name: 'orders', namespace: 'public' }]);
      await store.jobs.finish(job.id, { status: 'succeeded', failures: [] });
    }
  }
  const { workspaceId } = one;
  const lists: Readonly<Record<string, readonly [string, object]>> = {
    connections: ['connections/list', { workspaceId }],
    jobs: ['jobs/list', { configTypes: ['sync'] }],
    jobsOfOne: ['jobs/list', { configTypes: ['sync'], configId: one.id }],
    webBackend: ['web_backend/connections/list', { workspaceId }],
  };
  const figures: Record<string, unknown> = {};
  for (const [name, [path, body]] of Object.entries(lists)) {
    const load = { url: `${url}/api/v1/${path}`, body, parallel: PARALLEL };
    figures[name] = await latencies(load);
  }
  return { connections: connections.length, jobs: CONNECTIONS * JOBS_EACH, ...figures };
}

async function latencies(load: Omit<Load, 'requests'>): Promise<Record<string, number>> {
  const caller = fork(new URL('./api-caller.ts', import.meta.url), { stdio: 'inherit' });
  const ask = async (requests: number): Promise<Calls> => {
    caller.send({ ...load, requests } satisfies Load);
    const [calls] = (await once(caller, 'message')) as [Calls];
    return calls;
  };
  // A first round, so that neither process is compiling code while it is measured.
  await ask(PARALLEL * 2);
  const before = process.cpuUsage();
  const { taken, cpuMicroseconds } = await ask(REQUESTS);
  const sorted = taken.toSorted((a, b) => a - b);
  const { user, system } = process.cpuUsage(before);
  caller.disconnect();
  const at = (share: number): number =>
    Math.round((sorted[Math.floor((REQUESTS - 1) * share)] ?? 0) * 10) / 10;
  const each = (microseconds: number): number => Math.round(microseconds / REQUESTS / 10) / 100;
  return {
    medianMs: at(0.5),
    p99Ms: at(0.99),
    cpuMs: each(user + system),
    callerCpuMs: each(cpuMicroseconds),
  };
}
