import type { FastifyInstance } from 'fastify';
import Type, { type Static } from 'typebox';
import { PipelineError } from '../../core/errors/pipeline-error.ts';
import type { Actor } from '../../core/store/actors.ts';
import { selectedStreams, type ConnectionDocument } from '../../core/store/connection-document.ts';
import type { Connection } from '../../core/store/connections.ts';
import { addCall, workspaceId, type ApiContext } from './api-context.ts';
import { checkStreams, planStreams } from './connection-plan.ts';
import {
  ConnectionCreate,
  ConnectionId,
  ConnectionUpdate,
  keptFields,
  type ConnectionContent,
} from './connection-requests.ts';
import { scheduleOf } from './connection-schedule.ts';
import { connectionStatus } from './connection-status.ts';
import { jobInfo } from './job-shapes.ts';
import { WorkspaceRef } from './request-body.ts';

export function addConnectionRoutes(app: FastifyInstance, context: ApiContext): void {
  const { store } = context;
  addCall(app, 'connections/create', ConnectionCreate, (body) => create(context, body));
  addCall(app, 'connections/update', ConnectionUpdate, (body) => update(context, body));
  addCall(app, 'connections/get', ConnectionId, async (body) =>
    read(await store.connections.get(body.connectionId)),
  );
  addCall(app, 'connections/list', Type.Object({ workspaceId: WorkspaceRef }), async (body) => {
    const workspace = await workspaceId(store, body.workspaceId);
    return { connections: (await store.connections.list(workspace)).map(read) };
  });
  addCall(app, 'connections/delete', ConnectionId, async (body) => {
    await store.connections.remove(body.connectionId);
    return undefined;
  });
  addCall(app, 'connections/sync', ConnectionId, (body) => sync(context, body.connectionId));
  addCall(app, 'connections/status', ConnectionId, (body) =>
    connectionStatus(store, body.connectionId),
  );
}

async function create(context: ApiContext, body: Static<typeof ConnectionCreate>): Promise<object> {
  const { store } = context;
  const source = await store.actors.getLive('source', body.sourceId);
  const destination = await store.actors.getLive('destination', body.destinationId);
  refuseOperations(body);
  refuseOtherMethods(source);
  const ends = { source, destination };
  const landing = given(body, ['namespaceFormat', 'prefix']);
  const document: ConnectionDocument = {
    name: body.name ?? `${source.name} <> ${destination.name}`,
    namespaceDefinition: body.namespaceDefinition ?? 'source',
    ...landing,
    operationIds: [],
    // The schedule first: it can be refused without asking the source anything.
    ...scheduleOf(body, 'continuous'),
    breakingChange: false,
    ...keptFields(body),
    syncCatalog: { streams: await planStreams(context, ends, body.syncCatalog?.streams) },
  };
  await checkStreams(context, ends, document);
  const connection = await store.connections.create({
    workspaceId: source.workspaceId,
    sourceId: source.id,
    destinationId: destination.id,
    status: body.status ?? 'active',
    document,
  });
  return read(connection);
}

async function update(context: ApiContext, body: Static<typeof ConnectionUpdate>): Promise<object> {
  const { store } = context;
  const old = await store.connections.get(body.connectionId);
  if (old.status === 'deprecated') {
    throw new PipelineError(
      'API_INVALID_CONNECTION',
      `The connection ${old.id} was deleted; create a new one`,
      { details: { id: old.id } },
    );
  }
  refuseOperations(body);
  const status = body.status ?? old.status;
  const document = await updatedDocument(context, old, body);
  await store.connections.update(old.id, { status, document });
  return read({ ...old, status, document });
}

async function updatedDocument(
  context: ApiContext,
  old: Connection,
  body: ConnectionContent,
): Promise<ConnectionDocument> {
  const { actors } = context.store;
  const ends = {
    source: await actors.get('source', old.sourceId),
    destination: await actors.get('destination', old.destinationId),
  };
  const { scheduleType, scheduleData, schedule, ...rest } = old.document;
  const asked = body.scheduleType ?? body.scheduleData ?? body.schedule;
  const kept = {
    scheduleType,
    ...(scheduleData && { scheduleData }),
    ...(schedule && { schedule }),
  };
  const document: ConnectionDocument = {
    ...rest,
    ...(asked === undefined ? kept : scheduleOf(body, scheduleType)),
    ...given(body, ['name', 'namespaceDefinition', 'namespaceFormat', 'prefix']),
    ...keptFields(body),
  } as ConnectionDocument;
  if (body.syncCatalog === undefined) {
    await checkStreams(context, ends, document);
    return document;
  }
  const streams = await planStreams(context, ends, body.syncCatalog.streams);
  const planned = { ...document, syncCatalog: { streams } };
  await checkStreams(context, ends, planned);
  return planned;
}

/** Answers at once, however long the sync takes: orchestrators give up after five seconds. */
async function sync({ store }: ApiContext, connectionId: string): Promise<object> {
  const { document } = await store.connections.get(connectionId);
  const streams = selectedStreams(document).map(({ stream: { name, namespace } }) => ({
    name,
    ...(namespace === undefined ? {} : { namespace }),
  }));
  const job = await store.jobs.create(connectionId, streams);
  return jobInfo(store, job);
}

function read(connection: Connection): object {
  return {
    connectionId: connection.id,
    workspaceId: connection.workspaceId,
    sourceId: connection.sourceId,
    destinationId: connection.destinationId,
    status: connection.status,
    ...connection.document,
    createdAt: Math.floor(connection.createdAt / 1000),
  };
}

/** Change data capture is the one way streams are read here. */
function refuseOtherMethods(source: Actor): void {
  const given = source.configuration['replication_method'];
  const isObject = typeof given === 'object' && given !== null;
  const method = isObject ? (given as Record<string, unknown>)['method'] : given;
  if (typeof method !== 'string' || method.toUpperCase() === 'CDC') return;
  throw new PipelineError(
    'API_INVALID_CONNECTION',
    `The source ${source.name} has the replication method ${method}; only CDC is supported`,
    { details: { source: source.id } },
  );
}

/** Said at once, rather than stored and never carried out. */
function refuseOperations({ operationIds = [] }: ConnectionContent): void {
  const [id] = operationIds;
  if (id === undefined) return;
  throw new PipelineError('API_NOT_FOUND', `Could not find configuration for operation: ${id}.`, {
    details: { id },
  });
}

function given<T extends object, K extends keyof T>(
  body: T,
  names: readonly K[],
): { [P in K]?: Exclude<T[P], undefined> } {
  const present = names.filter((name) => body[name] !== undefined);
  const fields: unknown = Object.fromEntries(present.map((name) => [name, body[name]]));
  return fields as { [P in K]?: Exclude<T[P], undefined> };
}
