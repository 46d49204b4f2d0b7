import Type, { type TSchema } from 'typebox';

/** What the public API answers, for its OpenAPI document; every answer in the tests is held against
 * it. Fields that are not named here may be there as well. */

const Maybe = Type.Optional;
const Text = Type.String();
const Id = Type.String({ format: 'uuid' });
const Whole = Type.Integer({ minimum: 0 });
const Any = Type.Record(Text, Type.Unknown());
const Path = Type.Array(Text);
const IsoTime = Type.String({ format: 'date-time' });

const Token = Type.Object({
  access_token: Text,
  token_type: Type.Enum(['Bearer']),
  expires_in: Whole,
});
const Document = Type.Object({ openapi: Text, info: Any, paths: Any });
const Workspace = Type.Object({
  workspaceId: Id,
  name: Text,
  dataResidency: Text,
  notifications: Any,
});
const Definition = Type.Object({
  id: Id,
  name: Text,
  dockerRepository: Text,
  dockerImageTag: Text,
  documentationUrl: Text,
});

function actor(kind: 'source' | 'destination'): TSchema {
  return Type.Object({
    [`${kind}Id`]: Id,
    name: Text,
    [`${kind}Type`]: Text,
    definitionId: Id,
    workspaceId: Id,
    configuration: Any,
    createdAt: Whole,
  });
}

const Connection = Type.Object({
  connectionId: Id,
  name: Text,
  sourceId: Id,
  destinationId: Id,
  workspaceId: Id,
  status: Type.Enum(['active', 'inactive', 'deprecated']),
  schedule: Type.Object({
    scheduleType: Type.Enum(['manual', 'cron', 'basic']),
    cronExpression: Maybe(Text),
    basicTiming: Maybe(Text),
  }),
  dataResidency: Text,
  configurations: Type.Object({
    streams: Type.Array(
      Type.Object({
        name: Text,
        namespace: Maybe(Text),
        syncMode: Text,
        cursorField: Path,
        primaryKey: Type.Array(Path),
        selectedFields: Type.Array(Any),
        mappers: Type.Array(Any),
      }),
    ),
  }),
  createdAt: Whole,
  namespaceDefinition: Type.Enum(['source', 'destination', 'custom_format']),
  namespaceFormat: Maybe(Text),
  prefix: Maybe(Text),
  nonBreakingSchemaUpdatesBehavior: Type.Enum([
    'ignore',
    'disable_connection',
    'propagate_columns',
    'propagate_fully',
  ]),
  tags: Type.Array(Any),
});

const Job = Type.Object({
  jobId: Whole,
  status: Type.Enum(['pending', 'running', 'incomplete', 'failed', 'succeeded', 'cancelled']),
  jobType: Type.Enum(['sync', 'reset']),
  startTime: IsoTime,
  connectionId: Id,
  lastUpdatedAt: Maybe(IsoTime),
  duration: Maybe(Type.String({ pattern: String.raw`^PT\d+S$` })),
  bytesSynced: Whole,
  rowsSynced: Whole,
});

const Stream = Type.Object({
  streamName: Text,
  streamnamespace: Maybe(Text),
  syncModes: Type.Array(Text),
  defaultCursorField: Path,
  sourceDefinedCursorField: Type.Boolean(),
  sourceDefinedPrimaryKey: Type.Array(Path),
  propertyFields: Type.Array(Path),
});

function page(item: TSchema): TSchema {
  return Type.Object({ data: Type.Array(item), previous: Text, next: Text });
}

/** A collection's routes; `changes` are the methods that change one of it. */
function family(
  name: string,
  item: TSchema,
  changes: readonly string[],
): Record<string, TSchema | null> {
  const one = `/${name}/:id`;
  return {
    [`GET /${name}`]: page(item),
    [`POST /${name}`]: item,
    [`GET ${one}`]: item,
    ...Object.fromEntries(changes.map((method) => [`${method} ${one}`, item])),
    [`DELETE ${one}`]: null,
  };
}

/** By method and path below the API's own; `null` answers 204. */
const ANSWERS: Readonly<Record<string, TSchema | null>> = {
  'GET /health': Type.Object({ status: Text }),
  'GET /openapi': Document,
  'POST /applications/token': Token,
  'POST /v1/applications/token': Token,
  ...family('workspaces', Workspace, ['PATCH']),
  'GET /workspaces/:id/definitions/sources': page(Definition),
  'GET /workspaces/:id/definitions/sources/:definitionId': Definition,
  'GET /workspaces/:id/definitions/destinations': page(Definition),
  'GET /workspaces/:id/definitions/destinations/:definitionId': Definition,
  ...family('sources', actor('source'), ['PATCH', 'PUT']),
  ...family('destinations', actor('destination'), ['PATCH', 'PUT']),
  ...family('connections', Connection, ['PATCH']),
  ...family('jobs', Job, []),
  // A cancelled job is answered, not taken away: clients parse it.
  'DELETE /jobs/:id': Job,
  'GET /streams': Type.Array(Stream),
};

/** Undefined for a route that is not entered above. */
export function publicAnswerOf(method: string, path: string): TSchema | null | undefined {
  return ANSWERS[`${method} ${path}`];
}
