import type { FastifyInstance } from 'fastify';
import Type, { type Static } from 'typebox';
import { PipelineError } from '../../core/errors/pipeline-error.ts';
import type { ConfiguredStream } from '../../core/store/connection-document.ts';
import type { Connection } from '../../core/store/connections.ts';
import { schemaPolicyOf, type SchemaPolicy } from '../../core/store/schema-policy.ts';
import type { ApiContext } from './api-context.ts';
import type { ConnectionContent } from './connection-requests.ts';
import { createConnection, updateConnection } from './connection-routes.ts';
import { page, uuid, workspacesOf } from './public-page.ts';
import { addPublicRoute, PAGE_QUERY, WORKSPACE_QUERY } from './public-route.ts';
import { InvalidRequest, Text, Uuid } from './request-body.ts';

const Maybe = Type.Optional;

/** Sync mode of the source and of the destination, by the public API's one word for both. */
export const PUBLIC_SYNC_MODES: Record<string, readonly [string, string]> = {
  full_refresh_overwrite: ['full_refresh', 'overwrite'],
  full_refresh_append: ['full_refresh', 'append'],
  incremental_append: ['incremental', 'append'],
  incremental_deduped_history: ['incremental', 'append_dedup'],
};

/** The configuration API's word for each of the public API's. */
const SCHEMA_POLICIES: Readonly<Record<string, SchemaPolicy>> = {
  ignore: 'ignore',
  disable_connection: 'disable',
  propagate_columns: 'propagate_columns',
  propagate_fully: 'propagate_fully',
};

const PublicStream = Type.Object({
  name: Text,
  namespace: Maybe(Text),
  syncMode: Maybe(Type.Enum(Object.keys(PUBLIC_SYNC_MODES))),
  cursorField: Maybe(Type.Array(Text)),
  primaryKey: Maybe(Type.Array(Type.Array(Text))),
});

const content = {
  name: Maybe(Text),
  configurations: Maybe(Type.Object({ streams: Maybe(Type.Array(PublicStream)) })),
  schedule: Maybe(
    Type.Object({ scheduleType: Type.Enum(['manual', 'cron']), cronExpression: Maybe(Text) }),
  ),
  namespaceDefinition: Maybe(Type.Enum(['source', 'destination', 'custom_format'])),
  namespaceFormat: Maybe(Text),
  prefix: Maybe(Text),
  status: Maybe(Type.Enum(['active', 'inactive', 'deprecated'])),
  nonBreakingSchemaUpdatesBehavior: Maybe(Type.Enum(Object.keys(SCHEMA_POLICIES))),
};
const PublicContent = Type.Object(content);
type PublicContent = Static<typeof PublicContent>;

const Create = Type.Object({ ...content, sourceId: Uuid, destinationId: Uuid });
const List = Type.Object({
  ...PAGE_QUERY,
  ...WORKSPACE_QUERY,
  includeDeleted: Maybe(Type.Enum(['true', 'false'])),
});

export function addPublicConnections(scope: FastifyInstance, context: ApiContext): void {
  const { connections } = context.store;
  addPublicRoute(scope, 'GET /connections', { query: List }, async ({ query, request }) => {
    const ids = await workspacesOf(context.store, query);
    const all = await Promise.all(
      ids.map((id) =>
        query.includeDeleted === 'true' ? connections.listAll(id) : connections.list(id),
      ),
    );
    return page(request, all.flat().map(publicRead));
  });
  addPublicRoute(scope, 'POST /connections', { body: Create }, async ({ body }) => {
    const { sourceId, destinationId, ...given } = body;
    const created = await createConnection(context, {
      namespaceDefinition: 'destination',
      ...configContent(given),
      sourceId,
      destinationId,
    });
    return publicRead(await connections.get(created['connectionId'] as string));
  });
  addPublicRoute(scope, 'GET /connections/:id', {}, async ({ id }) =>
    publicRead(await live(context, id)),
  );
  addPublicRoute(scope, 'PATCH /connections/:id', { body: PublicContent }, async (call) => {
    const { id } = await live(context, call.id);
    await updateConnection(context, { connectionId: id, ...configContent(call.body) });
    return publicRead(await connections.get(id));
  });
  addPublicRoute(scope, 'DELETE /connections/:id', {}, async ({ id }) => {
    await connections.remove((await live(context, id)).id);
    return undefined;
  });
}

/** A deleted one is not found here, so that terraform makes it anew. */
async function live({ store }: ApiContext, id: string): Promise<Connection> {
  const connection = await store.connections.get(uuid(id));
  if (connection.status !== 'deprecated') return connection;
  throw new PipelineError('API_NOT_FOUND', `The connection ${id} was deleted`, { details: { id } });
}

/** The same wishes in the words of the configuration API. */
function configContent(given: PublicContent): ConnectionContent {
  const {
    configurations,
    schedule,
    namespaceDefinition,
    nonBreakingSchemaUpdatesBehavior: policy,
    ...same
  } = given;
  return {
    ...same,
    ...(policy === undefined
      ? {}
      : { nonBreakingChangesPreference: SCHEMA_POLICIES[policy] as SchemaPolicy }),
    ...(namespaceDefinition === undefined
      ? {}
      : { namespaceDefinition: namespaceWord(namespaceDefinition) }),
    ...(schedule === undefined ? {} : scheduleContent(schedule)),
    ...(configurations?.streams === undefined
      ? {}
      : { syncCatalog: { streams: configurations.streams.map(requested) } }),
  };
}

function namespaceWord(
  word: NonNullable<PublicContent['namespaceDefinition']>,
): 'source' | 'destination' | 'customformat' {
  return word === 'custom_format' ? 'customformat' : word;
}

function scheduleContent(
  schedule: NonNullable<PublicContent['schedule']>,
): Pick<ConnectionContent, 'scheduleType' | 'scheduleData'> {
  if (schedule.scheduleType === 'manual') return { scheduleType: 'manual' };
  if (schedule.cronExpression === undefined) {
    throw new InvalidRequest([{ propertyPath: 'schedule.cronExpression', message: 'is required' }]);
  }
  const cronExpression = schedule.cronExpression.replace(/\s+UTC$/, '');
  return { scheduleType: 'cron', scheduleData: { cron: { cronExpression, cronTimeZone: 'UTC' } } };
}

function requested({
  name,
  namespace,
  syncMode,
  cursorField,
  primaryKey,
}: Static<typeof PublicStream>) {
  const [source, destination] = PUBLIC_SYNC_MODES[syncMode ?? 'incremental_append'] ?? [];
  return {
    stream: { name, ...(namespace === undefined ? {} : { namespace }) },
    config: {
      ...(source === undefined ? {} : { syncMode: source }),
      ...(destination === undefined ? {} : { destinationSyncMode: destination }),
      ...(cursorField === undefined ? {} : { cursorField }),
      ...(primaryKey === undefined ? {} : { primaryKey }),
    },
  };
}

function publicRead(connection: Connection): object {
  const { document } = connection;
  return {
    connectionId: connection.id,
    name: document.name,
    sourceId: connection.sourceId,
    destinationId: connection.destinationId,
    workspaceId: connection.workspaceId,
    status: connection.status,
    schedule: scheduleRead(connection),
    dataResidency: 'auto',
    configurations: {
      streams: document.syncCatalog.streams
        .filter((each) => each.config.selected !== false)
        .map(streamRead),
    },
    createdAt: Math.floor(connection.createdAt / 1000),
    namespaceDefinition:
      document.namespaceDefinition === 'customformat'
        ? 'custom_format'
        : document.namespaceDefinition,
    ...(document.namespaceFormat === undefined
      ? {}
      : { namespaceFormat: document.namespaceFormat }),
    ...(document.prefix === undefined ? {} : { prefix: document.prefix }),
    nonBreakingSchemaUpdatesBehavior: policyRead(schemaPolicyOf(document)),
    tags: [],
  };
}

function policyRead(policy: SchemaPolicy): string {
  const [word] = Object.entries(SCHEMA_POLICIES).find(([, each]) => each === policy) ?? [];
  return word ?? policy;
}

/** Clients know three words: a connection that always runs is one nobody has to schedule. */
function scheduleRead({ document }: Connection): object {
  const { cron, basicSchedule } = document.scheduleData ?? {};
  if (cron !== undefined) {
    const cronExpression = `${cron.cronExpression} ${cron.cronTimeZone}`;
    return { scheduleType: 'cron', cronExpression };
  }
  if (basicSchedule !== undefined) {
    const { units, timeUnit } = basicSchedule;
    return { scheduleType: 'basic', basicTiming: `Every ${units} ${timeUnit}` };
  }
  return { scheduleType: 'manual' };
}

function streamRead({ stream, config }: ConfiguredStream): object {
  const word = Object.entries(PUBLIC_SYNC_MODES).find(
    ([, [source, destination]]) =>
      source === config.syncMode && destination === config.destinationSyncMode,
  );
  return {
    name: stream.name,
    ...(stream.namespace === undefined ? {} : { namespace: stream.namespace }),
    syncMode: word?.[0] ?? 'incremental_append',
    cursorField: config.cursorField ?? [],
    primaryKey: config.primaryKey ?? [],
    selectedFields: [],
    mappers: [],
  };
}
