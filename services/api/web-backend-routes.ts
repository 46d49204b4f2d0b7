import type { FastifyInstance } from 'fastify';
import Type from 'typebox';
import type { Connection } from '../../core/store/connections.ts';
import { actorRead } from './actor-routes.ts';
import { addCall, workspaceId, type ApiContext } from './api-context.ts';
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
  addCall(app, 'web_backend/connections/get', ConnectionId, (body) => whole(body.connectionId));
  addCall(app, 'web_backend/connections/list', List, async (body) => {
    const all = await store.connections.list(await workspaceId(store, body.workspaceId));
    const asked = all.filter(
      (each) =>
        (body.sourceId?.includes(each.sourceId) ?? true) &&
        (body.destinationId?.includes(each.destinationId) ?? true),
    );
    return { connections: await Promise.all(asked.map((each) => listItem(context, each))) };
  });
  addCall(app, 'web_backend/check_updates', Type.Object({}), () =>
    Promise.resolve({ sourceDefinitions: 0, destinationDefinitions: 0 }),
  );
  addCall(app, 'web_backend/geographies/list', Type.Object({}), () =>
    Promise.resolve({ geographies: ['auto'] }),
  );
}

async function wholeRead(context: ApiContext, connection: Connection): Promise<object> {
  return {
    ...connectionRead(connection),
    source: await actorRead(context, 'source', connection.sourceId),
    destination: await actorRead(context, 'destination', connection.destinationId),
    operations: (await context.store.operations.among(connection.document.operationIds)).map(
      operationRead,
    ),
    ...(await lastJob(context, connection)),
    schemaChange: 'no_change',
    notifySchemaChanges: connection.document['notifySchemaChanges'] ?? false,
    notifySchemaChangesByEmail: connection.document['notifySchemaChangesByEmail'] ?? false,
    nonBreakingChangesPreference: connection.document['nonBreakingChangesPreference'] ?? 'ignore',
  };
}

async function listItem(context: ApiContext, connection: Connection): Promise<object> {
  const { connectionId, name, scheduleType, scheduleData, status } = connectionRead(connection);
  const { connectionConfiguration: _s, ...source } = await actorRead(
    context,
    'source',
    connection.sourceId,
  );
  const { connectionConfiguration: _d, ...destination } = await actorRead(
    context,
    'destination',
    connection.destinationId,
  );
  return {
    connectionId,
    name,
    scheduleType,
    ...(scheduleData === undefined ? {} : { scheduleData }),
    status,
    source,
    destination,
    ...(await lastJob(context, connection)),
    schemaChange: 'no_change',
  };
}

async function lastJob({ store }: ApiContext, { id }: Connection): Promise<object> {
  const job = await store.jobs.last(id);
  if (job === null) return { isSyncing: false };
  return {
    isSyncing: ['pending', 'running', 'incomplete'].includes(job.status),
    latestSyncJobCreatedAt: Math.floor(job.createdAt / 1000),
    latestSyncJobStatus: job.status,
  };
}
