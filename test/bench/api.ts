import { apiContext } from '../integration/control/api-fixture.ts';
import { seedConnection } from '../integration/control/store-fixture.ts';

const CONNECTIONS = 200;
const JOBS_EACH = 5;
const PARALLEL = 20;
const REQUESTS = 400;

/** Lists over HTTP with 200 connections in the store, 20 requests at a time. The caller runs in the
 * same process, so its own work is part of the figures; `cpuMs` is of one request. */
export async function api(): Promise<Record<string, unknown>> {
  await using served = await apiContext();
  const { store } = served;
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
  const lists = {
    connections: () => served.call('connections/list', { workspaceId: one.workspaceId }),
    jobs: () => served.call('jobs/list', { configTypes: ['sync'] }),
    jobsOfOne: () => served.call('jobs/list', { configTypes: ['sync'], configId: one.id }),
  };
  const figures: Record<string, unknown> = {};
  for (const [name, list] of Object.entries(lists)) {
    await list();
    figures[name] = await latencies(list);
  }
  return { connections: connections.length, jobs: CONNECTIONS * JOBS_EACH, ...figures };
}

async function latencies(
  request: () => Promise<{ readonly status: number }>,
): Promise<{ medianMs: number; p99Ms: number; cpuMs: number }> {
  const taken: number[] = [];
  let left = REQUESTS;
  const before = process.cpuUsage();
  const worker = async (): Promise<void> => {
    while (left-- > 0) {
      const started = performance.now();
      const { status } = await request();
      if (status !== 200) throw new Error(`answered ${status}`);
      taken.push(performance.now() - started);
    }
  };
  await Promise.all(Array.from({ length: PARALLEL }, worker));
  const { user, system } = process.cpuUsage(before);
  const sorted = taken.toSorted((a, b) => a - b);
  const at = (share: number): number =>
    Math.round((sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? 0) * 10) /
    10;
  return {
    medianMs: at(0.5),
    p99Ms: at(0.99),
    cpuMs: Math.round((user + system) / REQUESTS / 10) / 100,
  };
}
