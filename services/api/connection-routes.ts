import type { FastifyInstance } from 'fastify';
import Type, { type Static } from 'typebox';
import { PipelineError } from '../../core/errors/pipeline-error.ts';
import { selectedStreams, type ConnectionDocument } from '../../core/store/connection-document.ts';
import type { Actor } from '../../core/store/actors.ts';
import type { Connection } from '../../core/store/connections.ts';
import type { Job } from '../../core/store/jobs.ts';
import type { Store } from '../../core/store/store.ts';
import { accepted } from '../../core/store/schema-changes.ts';
import { DEFAULT_SCHEMA_POLICY, schemaPolicyOf } from '../../core/store/schema-policy.ts';
import { addCall, addSharedCall, workspaceId, type ApiContext } from './api-context.ts';
import { checkStreams, planStreams } from './connection-plan.ts';
import {
  ConnectionCreate,
  ConnectionId,
  ConnectionSearch,
  ConnectionUpdate,
  keptFields,
  type ConnectionContent,
} from './connection-requests.ts';
import { isContinuous, refuseIdleSchedule, scheduleOf } from './connection-schedule.ts';
import { connectionStatus } from './connection-status.ts';
import { jobInfo } from './job-shapes.ts';
import { KeptTexts } from './kept-texts.ts';
import { asDelivered, operationsOf } from './operation-routes.ts';
import { WorkspaceRef } from './request-body.ts';
import { checkResourceRequirements } from './resource-requirements.ts';

const KEPT_CHARACTERS = 8 << 20;

export function addConnectionRoutes(app: FastifyInstance, context: ApiContext): void {
  const { store } = context;
  addCall(app, 'connections/create', ConnectionCreate, (body) => createConnection(context, body));
  addCall(app, 'connections/update', ConnectionUpdate, (body) => updateConnection(context, body));
  addCall(app, 'connections/get', ConnectionId, async (body) =>
    connectionRead(await store.connections.get(body.connectionId)),
  );
  const kept = new KeptTexts(KEPT_CHARACTERS);
  addSharedCall(app, 'connections/list', Type.Object({ workspaceId: WorkspaceRef }), (body) =>
    listText(store, body.workspaceId, kept),
  );
  addCall(app, 'connections/list_all', Type.Object({ workspaceId: WorkspaceRef }), async (body) => {
    const workspace = await workspaceId(store, body.workspaceId);
    return { connections: (await store.connections.listAll(workspace)).map(connectionRead) };
  });
  addCall(app, 'connections/search', ConnectionSearch, (body) => search(context, body));
  addCall(app, 'connections/delete', ConnectionId, async (body) => {
    await store.connections.remove(body.connectionId);
    return undefined;
  });
  addCall(app, 'connections/sync', ConnectionId, async (body) =>
    jobInfo(store, await startSync(context, body.connectionId)),
  );
  addCall(app, 'connections/status', ConnectionId, (body) =>
    connectionStatus(store, body.connectionId),
  );
}

/** Only connections that changed since the list before are read. */
async function listText(store: Store, workspace: string, kept: KeptTexts): Promise<string> {
  const listed = await store.connections.versions(await workspaceId(store, workspace));
  const texts = new Map(listed.map((each) => [each.id, kept.get(keyOf(each))]));
  const unknown = listed.filter(({ id }) => texts.get(id) === undefined);
  for (const connection of await store.connections.among(unknown.map(({ id }) => id))) {
    const text = JSON.stringify(connectionRead(connection));
    texts.set(connection.id, text);
    kept.keep(keyOf(connection), text);
  }
  const present = listed.flatMap(({ id }) => texts.get(id) ?? []);
  return `{"connections":[${present.join(',')}]}`;
}

function keyOf({ id, version }: { readonly id: string; readonly version: number }): string {
  return `${id} ${version}`;
}

/** Those that have every field asked for. */
async function search(
  { store }: ApiContext,
  wanted: Static<typeof ConnectionSearch>,
): Promise<object> {
  const lists = await Promise.all(
    (await store.workspaces.list()).map((each) => store.connections.list(each.id)),
  );
  const fields = Object.entries(wanted).filter(([name]) => name in ConnectionSearch.properties);
  const found = lists
    .flat()
    .map(connectionRead)
    .filter((each) => fields.every(([name, value]) => each[name] === value));
  return { connections: found };
}

export async function createConnection(
  context: ApiContext,
  body: Static<typeof ConnectionCreate>,
): Promise<Record<string, unknown>> {
  const { store } = context;
  const source = await store.actors.getLive('source', body.sourceId);
  const destination = await store.actors.getLive('destination', body.destinationId);
  const operations = await operationsOf(store, body.operationIds ?? []);
  const ends = { source, destination: asDelivered(destination, operations) };
  const landing = given(body, ['namespaceFormat', 'prefix']);
  // The schedule first: it can be refused without asking the source anything.
  scheduleOf(body, 'continuous');
  const policy = body.nonBreakingChangesPreference ?? DEFAULT_SCHEMA_POLICY;
  const streams = await planStreams(context, ends, body.syncCatalog?.streams, policy);
  checkResourceRequirements(body.resourceRequirements);
  const document: ConnectionDocument = {
    name: body.name ?? `${source.name} <> ${destination.name}`,
    namespaceDefinition: body.namespaceDefinition ?? 'source',
    ...landing,
    operationIds: body.operationIds ?? [],
    ...scheduleOf(body, isContinuous(streams) ? 'continuous' : 'manual'),
    breakingChange: false,
    ...keptFields(body),
    syncCatalog: { streams },
    ...(policy === 'propagate_fully' ? await knownStreams(context, source) : {}),
  };
  refuseIdleSchedule(document);
  await checkStreams(context, ends, document);
  const connection = await store.connections.create({
    workspaceId: source.workspaceId,
    sourceId: source.id,
    destinationId: destination.id,
    status: body.status ?? 'active',
    document,
  });
  return connectionRead(connection);
}

/** What the source offers now: what comes later is new. */
async function knownStreams(
  { connectors }: ApiContext,
  source: Actor,
): Promise<Pick<ConnectionDocument, 'knownStreams'>> {
  const connector = await connectors.sources.load(source.connector);
  const offered = await connector.discover(source.configuration);
  return { knownStreams: offered.map(({ stream }) => stream) };
}

export async function updateConnection(
  context: ApiContext,
  body: Static<typeof ConnectionUpdate>,
): Promise<Record<string, unknown>> {
  const { store } = context;
  checkResourceRequirements(body.resourceRequirements);
  const old = await store.connections.get(body.connectionId);
  if (old.status === 'deprecated') {
    throw new PipelineError(
      'API_INVALID_CONNECTION',
      `The connection ${old.id} was deleted; create a new one`,
      { details: { id: old.id } },
    );
  }
  const status = body.status ?? old.status;
  const { statusReason, ...updated } = await updatedDocument(
    context,
    await acceptedBy(context, old, body),
    body,
  );
  // Why it was switched off is of no interest once someone has switched it on again.
  const kept = status === 'active' || statusReason === undefined ? {} : { statusReason };
  const document = { ...updated, ...kept } as ConnectionDocument;
  await store.connections.update(old.id, { status, document });
  await store.schemaChanges.settled(old.id, document);
  return connectionRead({ ...old, status, document });
}

/** To switch a connection on again is to accept what its source looks like now. */
async function acceptedBy(
  { store }: ApiContext,
  old: Connection,
  { status }: ConnectionContent,
): Promise<Connection> {
  if (status !== 'active' || old.status !== 'inactive') return old;
  const pending = await store.schemaChanges.pending(old.id);
  return { ...old, document: accepted(old.document, pending) };
}

async function updatedDocument(
  context: ApiContext,
  old: Connection,
  body: ConnectionContent,
): Promise<ConnectionDocument> {
  const { actors } = context.store;
  const operationIds = body.operationIds ?? old.document.operationIds;
  const operations =
    body.operationIds === undefined
      ? await context.store.operations.among(operationIds)
      : await operationsOf(context.store, operationIds);
  const ends = {
    source: await actors.get('source', old.sourceId),
    destination: asDelivered(await actors.get('destination', old.destinationId), operations),
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
    operationIds,
  } as ConnectionDocument;
  const policy = schemaPolicyOf(document);
  const isNewlyFull =
    policy === 'propagate_fully' && schemaPolicyOf(old.document) !== 'propagate_fully';
  const known = isNewlyFull ? await knownStreams(context, ends.source) : {};
  if (body.syncCatalog === undefined) {
    refuseIdleSchedule(document);
    await checkStreams(context, ends, document);
    return { ...document, ...known };
  }
  const streams = await planStreams(context, ends, body.syncCatalog.streams, policy);
  const planned = { ...document, ...known, syncCatalog: { streams } };
  refuseIdleSchedule(planned);
  await checkStreams(context, ends, planned);
  return planned;
}

/** Answers at once, however long the sync takes: orchestrators give up after five seconds. */
export async function startSync({ store }: ApiContext, connectionId: string): Promise<Job> {
  const { document } = await store.connections.get(connectionId);
  const streams = selectedStreams(document).map(({ stream: { name, namespace } }) => ({
    name,
    ...(namespace === undefined ? {} : { namespace }),
  }));
  return store.jobs.create(connectionId, streams);
}

export function connectionRead(connection: Connection): Record<string, unknown> {
  const { knownStreams: _, ...document } = connection.document;
  return {
    connectionId: connection.id,
    workspaceId: connection.workspaceId,
    sourceId: connection.sourceId,
    destinationId: connection.destinationId,
    status: connection.status,
    ...document,
    nonBreakingChangesPreference: schemaPolicyOf(connection.document),
    createdAt: Math.floor(connection.createdAt / 1000),
  };
}

function given<T extends object, K extends keyof T>(
  body: T,
  names: readonly K[],
): { [P in K]?: Exclude<T[P], undefined> } {
  const present = names.filter((name) => body[name] !== undefined);
  const fields: unknown = Object.fromEntries(present.map((name) => [name, body[name]]));
  return fields as { [P in K]?: Exclude<T[P], undefined> };
}
