import Type, { type Static } from 'typebox';
import { parse } from 'yaml';
import { PipelineError } from '../../core/errors/pipeline-error.ts';
import { OperatorConfig } from '../api/operation-routes.ts';
import { bodyReader, InvalidRequest } from '../api/request-body.ts';

const Maybe = Type.Optional;
const Text = Type.String();
const Name = Type.String({ minLength: 1 });
/** A misspelt field that was ignored would leave a default nobody asked for. */
const closed = { additionalProperties: false };

const Actor = Type.Object(
  {
    name: Name,
    /** Title (`Postgres`) or definition id. */
    definition: Name,
    configuration: Type.Record(Text, Type.Unknown()),
  },
  closed,
);

const Stream = Type.Object(
  {
    name: Name,
    namespace: Maybe(Text),
    syncMode: Maybe(Text),
    destinationSyncMode: Maybe(Text),
    cursorField: Maybe(Type.Array(Text)),
    primaryKey: Maybe(Type.Array(Type.Array(Text))),
  },
  closed,
);

/** As the API has it; what the type names is set. */
const Operation = Type.Object({ name: Name, operatorConfiguration: OperatorConfig }, closed);

/** Fields of a connection that go to the API as they stand. */
export const CONNECTION_FIELDS = [
  'status',
  'scheduleType',
  'scheduleData',
  'namespaceDefinition',
  'namespaceFormat',
  'prefix',
  'nonBreakingChangesPreference',
] as const;

const Connection = Type.Object(
  {
    name: Name,
    source: Name,
    destination: Name,
    status: Maybe(Text),
    scheduleType: Maybe(Text),
    scheduleData: Maybe(Type.Record(Text, Type.Unknown())),
    namespaceDefinition: Maybe(Text),
    namespaceFormat: Maybe(Text),
    prefix: Maybe(Text),
    nonBreakingChangesPreference: Maybe(Text),
    /** All of the source's when left out. */
    streams: Maybe(Type.Array(Stream)),
    /** All that it is to have, in their order. */
    operations: Maybe(Type.Array(Operation)),
  },
  closed,
);

const ConfigFile = Type.Object(
  {
    sources: Maybe(Type.Array(Actor)),
    destinations: Maybe(Type.Array(Actor)),
    connections: Maybe(Type.Array(Connection)),
  },
  closed,
);

export type ActorEntry = Static<typeof Actor>;
export type ConnectionEntry = Static<typeof Connection>;
export type OperationEntry = Static<typeof Operation>;
export type StreamEntry = Static<typeof Stream>;
export interface ConfigDocument {
  readonly sources: readonly ActorEntry[];
  readonly destinations: readonly ActorEntry[];
  readonly connections: readonly ConnectionEntry[];
}

const read = bodyReader(ConfigFile);

/** What `headrace apply` reads and `headrace export` writes. Throws CFG_INVALID_FILE naming fields. */
export function parseConfigFile(text: string): ConfigDocument {
  const document = shaped(parsed(text) ?? {});
  const { sources = [], destinations = [], connections = [] } = document;
  for (const [kind, entries] of Object.entries({ sources, destinations, connections })) {
    const names = entries.map(({ name }) => name);
    const twice = names.find((name, i) => names.indexOf(name) !== i);
    if (twice !== undefined) {
      throw new PipelineError('CFG_INVALID_FILE', `${kind} has the name ${twice} twice`);
    }
  }
  return { sources, destinations, connections };
}

function parsed(text: string): unknown {
  try {
    return parse(text) as unknown;
  } catch (cause) {
    // The lines behind the first quote the file, which may hold a password (invariant 8).
    const [where = ''] = (cause as Error).message.split('\n');
    const why = `it cannot be read as YAML: ${where}`;
    throw new PipelineError('CFG_INVALID_FILE', why, { cause });
  }
}

/** An empty file has nothing of each kind. */
function shaped(document: unknown): Static<typeof ConfigFile> {
  if (typeof document !== 'object' || Array.isArray(document)) {
    const why = 'it must be a mapping with sources, destinations and connections';
    throw new PipelineError('CFG_INVALID_FILE', why);
  }
  try {
    return read(document);
  } catch (cause) {
    if (!(cause instanceof InvalidRequest)) throw cause;
    throw new PipelineError('CFG_INVALID_FILE', cause.message, { cause });
  }
}
