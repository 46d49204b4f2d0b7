import Type, { type TSchema } from 'typebox';

/** What calls answer, for the OpenAPI document; every answer in the tests is held against it. Fields
 * that are not named here may be there as well. */

const Maybe = Type.Optional;
const Text = Type.String();
const Id = Type.String({ format: 'uuid' });
const Whole = Type.Integer({ minimum: 0 });
const Any = Type.Record(Text, Type.Unknown());
const list = (name: string, item: TSchema): TSchema => Type.Object({ [name]: Type.Array(item) });
const words = (...all: string[]): TSchema => Type.Enum(all);

const Health = Type.Object({ available: Type.Boolean() });
const Outcome = Type.Object({ status: words('succeeded', 'failed'), message: Maybe(Text) });

const Workspace = Type.Object({
  workspaceId: Id,
  customerId: Id,
  name: Text,
  slug: Text,
  initialSetupComplete: Type.Boolean(),
});

const FailureReason = Type.Object({
  failureOrigin: Text,
  failureType: Text,
  externalMessage: Text,
  internalMessage: Text,
  retryable: Type.Boolean(),
  timestamp: Whole,
});
const Logs = Type.Object({ logLines: Type.Array(Text) });
const SynchronousJob = Type.Object({
  id: Id,
  configType: Text,
  createdAt: Whole,
  endedAt: Whole,
  succeeded: Type.Boolean(),
  connectorConfigurationUpdated: Type.Boolean(),
  logs: Logs,
  failureReason: Maybe(FailureReason),
});
const Check = Type.Object({
  status: words('succeeded', 'failed'),
  message: Maybe(Text),
  jobInfo: SynchronousJob,
});

const CatalogStream = Type.Object({
  stream: Type.Object({ name: Text, namespace: Maybe(Text) }),
  config: Type.Object({
    syncMode: Text,
    destinationSyncMode: Text,
    selected: Maybe(Type.Boolean()),
  }),
});
const Catalog = list('streams', CatalogStream);
const Discovered = Type.Object({
  catalog: Maybe(Catalog),
  catalogId: Maybe(Id),
  jobInfo: SynchronousJob,
});

function actor(kind: 'source' | 'destination'): TSchema {
  return Type.Object({
    [`${kind}Id`]: Id,
    [`${kind}DefinitionId`]: Id,
    [`${kind}Name`]: Text,
    workspaceId: Id,
    name: Text,
    connectionConfiguration: Any,
  });
}

function definition(kind: 'source' | 'destination'): TSchema {
  return Type.Object({
    [`${kind}DefinitionId`]: Id,
    name: Text,
    dockerRepository: Text,
    dockerImageTag: Text,
    documentationUrl: Text,
  });
}

function specification(kind: 'source' | 'destination'): TSchema {
  return Type.Object({
    [`${kind}DefinitionId`]: Id,
    documentationUrl: Text,
    connectionSpecification: Any,
    jobInfo: SynchronousJob,
  });
}

const connectionFields = {
  connectionId: Id,
  name: Text,
  workspaceId: Id,
  sourceId: Id,
  destinationId: Id,
  status: words('active', 'inactive', 'deprecated'),
  namespaceDefinition: words('source', 'destination', 'customformat'),
  namespaceFormat: Maybe(Text),
  prefix: Maybe(Text),
  operationIds: Type.Array(Id),
  syncCatalog: Catalog,
  scheduleType: words('manual', 'basic', 'cron', 'continuous'),
  scheduleData: Maybe(Any),
  breakingChange: Type.Boolean(),
  createdAt: Whole,
};
const Connection = Type.Object(connectionFields);
const Operation = Type.Object({
  operationId: Id,
  workspaceId: Id,
  name: Text,
  operatorConfiguration: Any,
});
const latest = {
  isSyncing: Type.Boolean(),
  latestSyncJobCreatedAt: Maybe(Whole),
  latestSyncJobStatus: Maybe(Text),
  schemaChange: words('no_change', 'non_breaking', 'breaking'),
};
const WebConnection = Type.Object({
  ...connectionFields,
  source: actor('source'),
  destination: actor('destination'),
  operations: Type.Array(Operation),
  ...latest,
});
const WebItem = Type.Object({
  connectionId: Id,
  name: Text,
  status: Text,
  scheduleType: Text,
  source: Any,
  destination: Any,
  ...latest,
});

const Job = Type.Object({
  id: Whole,
  configType: words('sync', 'reset_connection'),
  configId: Id,
  enabledStreams: Type.Array(Type.Object({ name: Text, namespace: Maybe(Text) })),
  createdAt: Whole,
  updatedAt: Whole,
  startedAt: Maybe(Whole),
  status: words('pending', 'running', 'incomplete', 'failed', 'succeeded', 'cancelled'),
});
const Stats = Type.Object({
  recordsEmitted: Whole,
  bytesEmitted: Whole,
  recordsCommitted: Whole,
  bytesCommitted: Whole,
});
const Attempt = Type.Object({
  id: Whole,
  status: words('running', 'failed', 'succeeded'),
  createdAt: Whole,
  updatedAt: Whole,
  endedAt: Maybe(Whole),
  bytesSynced: Whole,
  recordsSynced: Whole,
  totalStats: Stats,
  streamStats: Type.Array(
    Type.Object({
      streamName: Text,
      streamNamespace: Maybe(Text),
      stats: Stats,
      nulledValues: Maybe(Type.Record(Text, Whole)),
    }),
  ),
  failureSummary: Maybe(
    Type.Object({ failures: Type.Array(FailureReason), partialSuccess: Type.Boolean() }),
  ),
});
const JobInfo = Type.Object({
  job: Job,
  attempts: Type.Array(Type.Object({ attempt: Attempt, logs: Logs })),
});
const JobList = Type.Object({
  jobs: Type.Array(Type.Object({ job: Job, attempts: Type.Array(Attempt) })),
  totalJobCount: Whole,
});

const State = Type.Object({
  connectionId: Id,
  stateType: words('global', 'stream', 'legacy', 'not_set'),
  globalState: Maybe(Any),
});

/** By the name of a call; `null` answers 204. */
const CALLS: Readonly<Record<string, TSchema | null>> = {
  health: Health,
  'workspaces/list': list('workspaces', Workspace),
  ...each('workspaces', ['get', 'get_by_slug', 'get_by_connection_id', 'create'], Workspace),
  ...each('workspaces', ['update', 'update_name'], Workspace),
  ...each('workspaces', ['delete', 'tag_feedback_status_as_done'], null),
  ...kindCalls('source'),
  ...kindCalls('destination'),
  ...each('sources', ['discover_schema'], Discovered),
  ...each('scheduler/sources', ['check_connection'], Check),
  ...each('scheduler/sources', ['discover_schema'], Discovered),
  ...each('scheduler/destinations', ['check_connection'], Check),
  ...each('connections', ['create', 'update', 'get'], Connection),
  ...each('connections', ['list', 'list_all', 'search'], list('connections', Connection)),
  ...each('connections', ['sync', 'reset', 'clear', 'refresh'], JobInfo),
  ...each('connections', ['reset/stream', 'clear/stream', 'refresh/stream'], JobInfo),
  ...each('connections', ['delete'], null),
  ...each('notifications', ['try', 'try_webhook'], Outcome),
  ...each('operations', ['create', 'update', 'get'], Operation),
  'operations/list': list('operations', Operation),
  'operations/delete': null,
  'operations/check': Outcome,
  'operations/compare': list('changed', Text),
  'state/get': State,
  ...each('jobs', ['get', 'get_without_logs', 'create', 'cancel'], JobInfo),
  'jobs/list': JobList,
  'jobs/get_light': Type.Object({ job: Job }),
  'jobs/get_last_replication_job': Type.Object({ job: Maybe(Job) }),
  ...each('web_backend/connections', ['create', 'update', 'get'], WebConnection),
  'web_backend/connections/list': list('connections', WebItem),
  'web_backend/geographies/list': list('geographies', Text),
};

/** The shape that a call of the configuration API answers with; undefined where it has none of its
 * own, null where it answers nothing. */
export function answerOf(pattern: string): TSchema | null | undefined {
  return CALLS[pattern.replace('/api/v1/', '')];
}

function each(
  family: string,
  names: readonly string[],
  shape: TSchema | null,
): Record<string, TSchema | null> {
  return Object.fromEntries(names.map((name) => [`${family}/${name}`, shape]));
}

function kindCalls(kind: 'source' | 'destination'): Record<string, TSchema | null> {
  const one = definition(kind);
  const all = list(`${kind}Definitions`, one);
  const lists = ['list', 'list_for_workspace', 'list_latest', 'list_private'];
  return {
    ...each(`${kind}s`, ['create', 'update', 'partial_update', 'clone', 'get'], actor(kind)),
    ...each(`${kind}s`, ['list', 'search'], list(`${kind}s`, actor(kind))),
    ...each(`${kind}s`, ['check_connection', 'check_connection_for_update'], Check),
    ...each(`${kind}s`, ['delete'], null),
    ...each(`${kind}_definitions`, lists, all),
    ...each(`${kind}_definitions`, ['get', 'get_for_workspace'], one),
    ...each(`${kind}_definition_specifications`, ['get', `get_for_${kind}`], specification(kind)),
  };
}
