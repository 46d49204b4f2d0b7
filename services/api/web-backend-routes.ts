import type { FastifyInstance } from 'fastify';
import Type, { type Static } from 'typebox';
import type { ActorKind } from '../../core/store/actors.ts';
import type { Connection } from '../../core/store/connections.ts';
import type { Job } from '../../core/store/jobs.ts';
import { ActorCalls, actorRead } from './actor-routes.ts';
import { addCall, addSharedCall, workspaceId, type ApiContext } from './api-context.ts';
import {
  catalogDiff,
  changeWord,
  refreshedCatalog,
  type SchemaChangeWord,
} from './catalog-diff.ts';
import { ConnectionCreate, ConnectionId, ConnectionUpdate } from './connection-requests.ts';
import { connectionRead, createConnection, updateConnection } from './connection-routes.ts';
import { InlineOperation, operationRead, savedOperations } from './operation-routes.ts';
import { Uuid, WorkspaceRef } from './request-body.ts';

const List = Type.Object({
  workspaceId: WorkspaceRef,
  sourceId: Type.Optional(Type.Array(Uuid)),
  destinationId: Type.Optional(Type.Array(Uuid)),
});

/** Operations come along: with an id they are changed, without one they are made. */
const operations = { operations: Type.Optional(Type.Array(InlineOperation)) };
const WebCreate = Type.Object({ ...ConnectionCreate.properties, ...operations });
const WebGet = Type.Object({
  ...ConnectionId.properties,
  withRefreshedCatalog: Type.Optional(Type.Boolean()),
});
const WebUpdate = Type.Object({ ...ConnectionUpdate.properties, ...operations });

/** What octavia and Airbyte's own pages call: a connection together with its ends and last job. */
export function addWebBackendRoutes(app: FastifyInstance, context: ApiContext): void {
  const { store } = context;
  const whole = async (id: unknown) => wholeRead(context, await store.connections.get(String(id)));
  addCall(app, 'web_backend/connections/create', WebCreate, async (body) => {
    const operationIds = await savedOperations(store, body);
    return whole((await createConnection(context, { ...body, operationIds }))['connectionId']);
  });
  addCall(app, 'web_backend/connections/update', WebUpdate, async (body) => {
    const operationIds = body.operations && (await savedOperations(store, body));
    const change = operationIds === undefined ? body : { ...body, operationIds };
    return whole((await updateConnection(context, change))['connectionId']);
  });
  addCall(app, 'web_backend/connections/get', WebGet, async (body) => {
    const connection = await store.connections.get(body.connectionId);
    const read = await wholeRead(context, connection);
    if (body.withRefreshedCatalog !== true) return read;
    return { ...read, ...(await refreshed(context, connection)) };
  });
  addSharedCall(app, 'web_backend/connections/list', List, async (body) =>
    JSON.stringify(await listed(context, body)),
  );
  addCall(app, 'web_backend/check_updates', Type.Object({}), () =>
    Promise.resolve({ sourceDefinitions: 0, destinationDefinitions: 0 }),
  );
  addCall(app, 'web_backend/geographies/list', Type.Object({}), () =>
    Promise.resolve({ geographies: ['auto'] }),
  );
}

async function wholeRead(context: ApiContext, connection: Connection): Promise<object> {
  const schemaChange = wordOf(await context.store.schemaChanges.standing(), connection);
  return {
    ...connectionRead(connection),
    source: await actorRead(context, 'source', connection.sourceId),
    destination: await actorRead(context, 'destination', connection.destinationId),
    operations: (await context.store.operations.among(connection.document.operationIds)).map(
      operationRead,
    ),
    ...jobPart((await context.store.jobs.last(connection.id)) ?? undefined),
    schemaChange,
    breakingChange: schemaChange === 'breaking',
    notifySchemaChanges: connection.document['notifySchemaChanges'] ?? true,
    notifySchemaChangesByEmail: connection.document['notifySchemaChangesByEmail'] ?? false,
  };
}

async function listed(context: ApiContext, asked: Static<typeof List>): Promise<object> {
  const { store } = context;
  const workspace = await workspaceId(store, asked.workspaceId);
  const connections = (await store.connections.list(workspace)).filter(
    (each) =>
      (asked.sourceId?.includes(each.sourceId) ?? true) &&
      (asked.destinationId?.includes(each.destinationId) ?? true),
  );
  const sources = await endsOf(context, 'source', workspace);
  const destinations = await endsOf(context, 'destination', workspace);
  const jobs = await store.jobs.newest(connections.map((each) => each.id));
  const standing = await store.schemaChanges.standing();
  const newest = new Map(jobs.map((job) => [job.connectionId, job]));
  return {
    connections: connections.map((each) => {
      const { connectionId, name, scheduleType, scheduleData, status } = connectionRead(each);
      return {
        connectionId,
        name,
        scheduleType,
        ...(scheduleData === undefined ? {} : { scheduleData }),
        status,
        source: sources.get(each.sourceId),
        destination: destinations.get(each.destinationId),
        ...jobPart(newest.get(each.id)),
        schemaChange: wordOf(standing, each),
      };
    }),
  };
}

function wordOf(standing: ReadonlyMap<string, boolean>, { id }: Connection): SchemaChangeWord {
  const isBreaking = standing.get(id);
  if (isBreaking === undefined) return 'no_change';
  return isBreaking ? 'breaking' : 'non_breaking';
}

/** The catalog as the source has it now, and the difference; an update with it accepts that. */
async function refreshed(context: ApiContext, connection: Connection): Promise<object> {
  const source = await context.store.actors.get('source', connection.sourceId);
  const connector = await context.connectors.sources.load(source.connector);
  const offered = await connector.discover(source.configuration);
  const { streams } = connection.document.syncCatalog;
  const transforms = catalogDiff(streams, offered);
  const word = changeWord(transforms);
  return {
    syncCatalog: refreshedCatalog(streams, offered),
    catalogDiff: { transforms },
    ...(word === 'no_change' ? {} : { schemaChange: word }),
  };
}

/** All of a workspace by id, without their configurations. */
async function endsOf(
  context: ApiContext,
  kind: ActorKind,
  workspace: string,
): Promise<Map<string, object>> {
  const calls = new ActorCalls(kind, context);
  const actors = await context.store.actors.list(kind, workspace);
  const reads = actors.map(async (actor) => {
    const { connectionConfiguration: _, ...read } = await calls.read(actor);
    return [actor.id, read] as const;
  });
  return new Map(await Promise.all(reads));
}

function jobPart(job: Job | undefined): object {
  if (job === undefined) return { isSyncing: false };
  return {
    isSyncing: ['pending', 'running', 'incomplete'].includes(job.status),
    latestSyncJobCreatedAt: Math.floor(job.createdAt / 1000),
    latestSyncJobStatus: job.status,
  };
}
