import type { FastifyInstance } from 'fastify';
import Type from 'typebox';
import type { Attempt, Job } from '../../core/store/jobs.ts';
import type { ApiContext } from './api-context.ts';
import { startSync } from './connection-routes.ts';
import { pageBounds, pageOf, uuid } from './public-page.ts';
import { addPublicRoute, PAGE_QUERY, WORKSPACE_QUERY } from './public-route.ts';
import { InvalidRequest, Text, Uuid } from './request-body.ts';
import { selectedStreams } from '../../core/store/connection-document.ts';

const Create = Type.Object({
  connectionId: Uuid,
  jobType: Type.Enum(['sync', 'reset', 'refresh', 'clear']),
});

const List = Type.Object({
  ...PAGE_QUERY,
  ...WORKSPACE_QUERY,
  connectionId: Type.Optional(Text),
  jobType: Type.Optional(Text),
  status: Type.Optional(Text),
  createdAtStart: Type.Optional(Text),
  createdAtEnd: Type.Optional(Text),
  orderBy: Type.Optional(Text),
});

const ENDED = ['succeeded', 'failed', 'cancelled'];

export function addPublicJobs(scope: FastifyInstance, context: ApiContext): void {
  const { jobs, connections } = context.store;
  const one = async (job: Job): Promise<object> => publicRead(job, await jobs.attempts([job.id]));
  addPublicRoute(scope, 'GET /jobs', { query: List }, async ({ query, request }) => {
    const { limit, offset } = pageBounds(request);
    const found = await jobs.list({
      configTypes:
        query.jobType === undefined ? ['sync', 'reset_connection'] : [typeOf(query.jobType)],
      connectionId: query.connectionId === undefined ? null : uuid(query.connectionId),
      status: query.status,
      createdFrom: time('createdAtStart', query.createdAtStart),
      createdTo: time('createdAtEnd', query.createdAtEnd),
      oldestFirst: query.orderBy === 'createdAt|ASC',
      limit,
      offset,
    });
    const attempts = await jobs.attempts(found.jobs.map((job) => job.id));
    const data = found.jobs.map((job) =>
      publicRead(
        job,
        attempts.filter((each) => each.jobId === job.id),
      ),
    );
    return pageOf(request, data, found.total > offset + limit);
  });
  addPublicRoute(scope, 'POST /jobs', { body: Create }, async ({ body }) => {
    const { connectionId, jobType } = body;
    if (jobType === 'sync') return one(await startSync(context, connectionId));
    const { document } = await connections.get(connectionId);
    const streams = selectedStreams(document).map(({ stream: { name, namespace } }) => ({
      name,
      ...(namespace === undefined ? {} : { namespace }),
    }));
    return one(await jobs.createReset(connectionId, streams));
  });
  addPublicRoute(scope, 'GET /jobs/:id', {}, async ({ id }) => one(await jobs.get(jobId(id))));
  addPublicRoute(scope, 'DELETE /jobs/:id', {}, async (call) => {
    const { id } = await jobs.get(jobId(call.id));
    await jobs.cancel(id);
    return one(await jobs.get(id));
  });
}

function jobId(text: string): number {
  return /^\d{1,15}$/.test(text) ? Number(text) : -1;
}

function typeOf(word: string): string {
  return word === 'sync' ? 'sync' : 'reset_connection';
}

function time(name: string, text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  const at = Date.parse(text);
  if (!Number.isNaN(at)) return at;
  throw new InvalidRequest([{ propertyPath: name, message: 'is not an ISO time' }]);
}

/** Airbyte's JobResponse: times that are not known are absent, never null. */
function publicRead(job: Job, attempts: readonly Attempt[]): object {
  const sum = (pick: 'recordsCommitted' | 'bytesCommitted'): number =>
    attempts
      .flatMap((attempt) => attempt.streamStats)
      .reduce((total, { stats }) => total + stats[pick], 0);
  const started = job.startedAt ?? job.createdAt;
  const seconds = Math.max(0, Math.round((job.updatedAt - started) / 1000));
  return {
    jobId: job.id,
    status: job.status,
    jobType: job.configType === 'sync' ? 'sync' : 'reset',
    startTime: iso(started),
    connectionId: job.connectionId,
    ...(ENDED.includes(job.status) ? { lastUpdatedAt: iso(job.updatedAt) } : {}),
    ...(job.status === 'pending' ? {} : { duration: `PT${seconds}S` }),
    bytesSynced: sum('bytesCommitted'),
    rowsSynced: sum('recordsCommitted'),
  };
}

/** With an offset, for Python 3.10 reads no Z. */
function iso(milliseconds: number): string {
  return new Date(milliseconds).toISOString().replace(/\.\d+Z$/, '+00:00');
}
