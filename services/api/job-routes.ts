import type { FastifyInstance } from 'fastify';
import Type, { type Static } from 'typebox';
import { PipelineError } from '../../core/errors/pipeline-error.ts';
import type { Store } from '../../core/store/store.ts';
import { addCall, addSharedCall, JSON_TEXT, type ApiContext } from './api-context.ts';
import { BODY_LIMIT_BYTES, parseJson } from './http-server.ts';
import { attemptRead, jobInfo, jobRead, schemaChangesRead } from './job-shapes.ts';
import type { Job } from '../../core/store/jobs.ts';
import { KeptTexts } from './kept-texts.ts';
import { definition } from './definition-routes.ts';
import { ConnectionId } from './connection-requests.ts';
import { startSync } from './connection-routes.ts';
import { resetStreams } from './reset-routes.ts';
import { bodyReader, InvalidRequest, Text, Uuid } from './request-body.ts';

const PAGE_SIZE = 200;
const KEPT_CHARACTERS = 8 << 20;

/** Documentation and scripts write the id as a number or as text. */
const JobId = Type.Object({
  id: Type.Union([
    Type.Integer({ minimum: 0, maximum: Number.MAX_SAFE_INTEGER }),
    Type.String({ pattern: String.raw`^\d{1,15}$` }),
  ]),
});

const JobList = Type.Object({
  configTypes: Type.Array(Text, { minItems: 1 }),
  configId: Type.Optional(Text),
  pagination: Type.Optional(
    Type.Object({
      pageSize: Type.Optional(Type.Integer({ minimum: 1, maximum: 1000 })),
      rowOffset: Type.Optional(Type.Integer({ minimum: 0 })),
    }),
  ),
});

const JobCreate = Type.Object({
  connectionId: Uuid,
  jobType: Type.Enum(['sync', 'reset', 'refresh', 'clear']),
});

const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;

export function addJobRoutes(app: FastifyInstance, context: ApiContext): void {
  const { store } = context;
  const find = (body: Static<typeof JobId>) => store.jobs.get(Number(body.id));
  addCall(app, 'jobs/get', JobId, async (body) => jobInfo(store, await find(body)));
  const kept = new KeptTexts(KEPT_CHARACTERS);
  addSharedCall(app, 'jobs/list', JobList, (body) => list(context, body, kept));
  addCall(app, 'jobs/cancel', JobId, async (body) => {
    const job = await find(body);
    await store.jobs.cancel(job.id);
    return jobInfo(store, await store.jobs.get(job.id));
  });
  addCall(app, 'jobs/get_light', JobId, async (body) => ({ job: jobRead(await find(body)) }));
  addCall(app, 'jobs/get_without_logs', JobId, async (body) => {
    const job = await find(body);
    const attempts = await store.jobs.attempts([job.id]);
    return {
      job: jobRead(job),
      attempts: attempts.map((each) => ({ attempt: attemptRead(each), logs: { logLines: [] } })),
    };
  });
  addCall(app, 'jobs/get_last_replication_job', ConnectionId, async (body) => {
    const job = await store.jobs.last(body.connectionId);
    return job === null ? {} : { job: jobRead(job) };
  });
  addCall(app, 'jobs/create', JobCreate, async ({ connectionId, jobType }) =>
    jobType === 'sync'
      ? jobInfo(store, await startSync(context, connectionId))
      : resetStreams(context, connectionId),
  );
  addCall(app, 'jobs/get_debug_info', JobId, async (body) => debugInfo(context, await find(body)));
  addListByGet(app, context, kept);
}

/** A job with the versions of both ends, as Airbyte's support asks for it. */
async function debugInfo(context: ApiContext, job: Job): Promise<object> {
  const { store } = context;
  const { sourceId, destinationId } = await store.connections.get(job.connectionId);
  const { attempts } = (await jobInfo(store, job)) as { attempts: object[] };
  const ends = await Promise.all([
    store.actors.get('source', sourceId),
    store.actors.get('destination', destinationId),
  ]);
  const [source, destination] = [
    await context.connectors.sources.load(ends[0].connector),
    await context.connectors.destinations.load(ends[1].connector),
  ];
  return {
    job: {
      ...jobRead(job),
      airbyteVersion: '0.50.0',
      sourceDefinition: definition('source', source.spec),
      destinationDefinition: definition('destination', destination.spec),
    },
    attempts,
    workflowState: { running: ['pending', 'running', 'incomplete'].includes(job.status) },
  };
}

/** A GET with a body, as widely copied documentation has it; Fastify reads no body for GET. */
function addListByGet(app: FastifyInstance, context: ApiContext, kept: KeptTexts): void {
  const read = bodyReader(JobList);
  app.get('/api/v1/jobs/list', async (request, reply) => {
    const body = read(parseJson(await bodyOfGet(request.raw)));
    return reply.type(JSON_TEXT).send(await list(context, body, kept));
  });
}

async function bodyOfGet(request: AsyncIterable<Buffer>): Promise<string> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of request) {
    chunks.push(chunk);
    size += chunk.length;
    if (size > BODY_LIMIT_BYTES) throw new PipelineError('API_TOO_LARGE', 'The body is too large');
  }
  return Buffer.concat(chunks).toString('utf8');
}

/** Only jobs that may have changed since the list before are read. */
async function list(
  { store }: ApiContext,
  body: Static<typeof JobList>,
  kept: KeptTexts,
): Promise<string> {
  if (body.configId !== undefined && !UUID.test(body.configId)) {
    throw new InvalidRequest([{ propertyPath: 'configId', message: 'has not the right form' }]);
  }
  const { jobs, total } = await store.jobs.listed({
    configTypes: body.configTypes,
    connectionId: body.configId ?? null,
    limit: body.pagination?.pageSize ?? PAGE_SIZE,
    offset: body.pagination?.rowOffset ?? 0,
  });
  // One that has since been told with a change is not settled any more, and what was kept is old.
  const texts = new Map(
    jobs.map(({ id, settled }) => [id, settled ? kept.get(String(id)) : undefined]),
  );
  const unknown = jobs.filter(({ id }) => texts.get(id) === undefined);
  const read = await jobTexts(
    store,
    unknown.map(({ id }) => id),
  );
  for (const { id, settled } of unknown) {
    const text = read.get(id);
    texts.set(id, text);
    if (settled && text !== undefined) kept.keep(String(id), text);
  }
  const present = jobs.flatMap(({ id }) => texts.get(id) ?? []);
  return `{"jobs":[${present.join(',')}],"totalJobCount":${total}}`;
}

async function jobTexts(store: Store, ids: readonly number[]): Promise<Map<number, string>> {
  if (ids.length === 0) return new Map();
  const jobs = await store.jobs.among(ids);
  const attempts = Map.groupBy(await store.jobs.attempts(ids), (attempt) => attempt.jobId);
  const changes = Map.groupBy(await store.schemaChanges.ofJobs(ids), ({ jobId }) => jobId);
  const texts = jobs.map((job) => {
    const read = {
      job: { ...jobRead(job), ...schemaChangesRead(changes.get(job.id) ?? []) },
      attempts: (attempts.get(job.id) ?? []).map(attemptRead),
    };
    return [job.id, JSON.stringify(read)] as const;
  });
  return new Map(texts);
}
