import Type, { type Static } from 'typebox';
import { TIME_UNITS } from '../../core/run/schedule.ts';
import { SCHEMA_POLICIES } from '../../core/store/schema-policy.ts';
import { Json, Text, Uuid } from './request-body.ts';

const Strings = Type.Array(Text);
const Maybe = Type.Optional;

const BasicSchedule = Type.Object({
  units: Type.Integer({ minimum: 1 }),
  timeUnit: Type.Enum(TIME_UNITS),
});

const Stream = Type.Object({
  name: Type.String({ minLength: 1 }),
  namespace: Maybe(Type.Union([Text, Type.Null()])),
  jsonSchema: Maybe(Json),
  supportedSyncModes: Maybe(Strings),
  sourceDefinedCursor: Maybe(Type.Boolean()),
  defaultCursorField: Maybe(Strings),
  sourceDefinedPrimaryKey: Maybe(Type.Array(Strings)),
});

const StreamConfig = Type.Object({
  syncMode: Maybe(Text),
  destinationSyncMode: Maybe(Text),
  cursorField: Maybe(Strings),
  primaryKey: Maybe(Type.Array(Strings)),
  aliasName: Maybe(Text),
  selected: Maybe(Type.Boolean()),
});

/** Of connections/create and update alike; what an update leaves out stays as it is. */
const content = {
  name: Maybe(Text),
  namespaceDefinition: Maybe(Type.Enum(['source', 'destination', 'customformat'])),
  namespaceFormat: Maybe(Text),
  prefix: Maybe(Text),
  operationIds: Maybe(Type.Array(Uuid)),
  syncCatalog: Maybe(
    Type.Object({
      streams: Type.Array(Type.Object({ stream: Stream, config: Maybe(StreamConfig) })),
    }),
  ),
  schedule: Maybe(BasicSchedule),
  scheduleType: Maybe(Type.Enum(['manual', 'basic', 'cron', 'continuous'])),
  scheduleData: Maybe(
    Type.Object({
      basicSchedule: Maybe(BasicSchedule),
      cron: Maybe(Type.Object({ cronExpression: Text, cronTimeZone: Maybe(Text) })),
    }),
  ),
  status: Maybe(Type.Enum(['active', 'inactive', 'deprecated'])),
  nonBreakingChangesPreference: Maybe(Type.Enum(SCHEMA_POLICIES)),
  notifySchemaChanges: Maybe(Type.Boolean()),
  notifySchemaChangesByEmail: Maybe(Type.Boolean()),
  resourceRequirements: Maybe(Type.Record(Type.String(), Type.Unknown())),
  /** Our own: how far the destination may be behind before someone is told. */
  freshnessObjectiveSeconds: Maybe(Type.Integer({ minimum: 1, maximum: 1_000_000_000 })),
};

export const ConnectionCreate = Type.Object({ ...content, sourceId: Uuid, destinationId: Uuid });
export const ConnectionUpdate = Type.Object({ ...content, connectionId: Uuid });
export const ConnectionId = Type.Object({ connectionId: Uuid });

export const ConnectionSearch = Type.Object({
  name: Maybe(Text),
  sourceId: Maybe(Uuid),
  destinationId: Maybe(Uuid),
  status: Maybe(Text),
});

export type ConnectionContent = Omit<Static<typeof ConnectionUpdate>, 'connectionId'>;
export type RequestedStream = NonNullable<ConnectionContent['syncCatalog']>['streams'][number];

/** Fields that are stored and read back as given. */
const KEPT = [
  'geography',
  'resourceRequirements',
  'sourceCatalogId',
  'notifySchemaChanges',
  'notifySchemaChangesByEmail',
  'nonBreakingChangesPreference',
  'freshnessObjectiveSeconds',
] as const;

export function keptFields(body: object): Record<string, unknown> {
  const given = body as Record<string, unknown>;
  const kept = KEPT.filter((name) => given[name] !== undefined);
  return Object.fromEntries(kept.map((name) => [name, given[name]]));
}
