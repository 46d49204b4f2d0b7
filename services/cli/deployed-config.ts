import { PipelineError } from '../../core/errors/pipeline-error.ts';
import type { ConfiguredStream } from '../../core/store/connection-document.ts';
import {
  CONNECTION_FIELDS,
  type ActorEntry,
  type ConfigDocument,
  type ConnectionEntry,
  type OperationEntry,
  type StreamEntry,
} from './config-file.ts';
import type { RemoteApi } from './remote-api.ts';

export type Kind = 'source' | 'destination';

export interface DeployedActor {
  readonly id: string;
  readonly name: string;
  readonly definitionId: string;
  /** Secrets masked. */
  readonly configuration: Record<string, unknown>;
}

export interface DeployedOperation extends OperationEntry {
  readonly operationId: string;
}

export interface DeployedConnection {
  readonly connectionId: string;
  readonly name: string;
  readonly sourceId: string;
  readonly destinationId: string;
  readonly syncCatalog: { readonly streams: readonly ConfiguredStream[] };
  readonly [field: string]: unknown;
}

/** What a Headrace holds, as its API tells it. */
export interface Deployed {
  readonly source: readonly DeployedActor[];
  readonly destination: readonly DeployedActor[];
  readonly connections: readonly DeployedConnection[];
  /** By the id of their connection; one that has none is not there. */
  readonly operations: ReadonlyMap<string, readonly DeployedOperation[]>;
  /** Definition ids by title, in lower case. */
  readonly definitions: Readonly<Record<Kind, ReadonlyMap<string, string>>>;
}

const WORKSPACE = { workspaceId: 'default' };

export async function readDeployed(api: RemoteApi): Promise<Deployed> {
  const { connections } = await api.call<{ connections: DeployedConnection[] }>(
    'connections/list',
    WORKSPACE,
  );
  return {
    source: await readActors(api, 'source'),
    destination: await readActors(api, 'destination'),
    connections,
    operations: await readOperations(api, connections),
    definitions: {
      source: await readDefinitions(api, 'source'),
      destination: await readDefinitions(api, 'destination'),
    },
  };
}

async function readOperations(
  api: RemoteApi,
  connections: readonly DeployedConnection[],
): Promise<Map<string, DeployedOperation[]>> {
  const all = new Map<string, DeployedOperation[]>();
  for (const { connectionId, operationIds } of connections) {
    if (!Array.isArray(operationIds) || operationIds.length === 0) continue;
    const { operations } = await api.call<{ operations: DeployedOperation[] }>('operations/list', {
      connectionId,
    });
    all.set(connectionId, operations);
  }
  return all;
}

async function readActors(api: RemoteApi, kind: Kind): Promise<DeployedActor[]> {
  const answer = await api.call<Record<string, Record<string, string>[]>>(
    `${kind}s/list`,
    WORKSPACE,
  );
  return (answer[`${kind}s`] ?? []).map((each) => ({
    id: each[`${kind}Id`] as string,
    name: each['name'] as string,
    definitionId: each[`${kind}DefinitionId`] as string,
    configuration: each['connectionConfiguration'] as unknown as Record<string, unknown>,
  }));
}

async function readDefinitions(api: RemoteApi, kind: Kind): Promise<Map<string, string>> {
  const answer = await api.call<Record<string, Record<string, string>[]>>(
    `${kind}_definitions/list`,
    {},
  );
  return new Map(
    (answer[`${kind}Definitions`] ?? []).map((each) => [
      (each['name'] as string).toLowerCase(),
      each[`${kind}DefinitionId`] as string,
    ]),
  );
}

/** The one of this name, or undefined. Throws CFG_INVALID_FILE where two have it. */
export function named<T extends { readonly name: string }>(
  all: readonly T[],
  kind: string,
  name: string,
): T | undefined {
  const found = all.filter((each) => each.name === name);
  if (found.length < 2) return found[0];
  throw new PipelineError(
    'CFG_INVALID_FILE',
    `${found.length} deployed ${kind}s are called ${name}: rename all but one`,
  );
}

/** What is deployed as a file: applied where it came from it changes nothing. */
export function exported(deployed: Deployed): ConfigDocument {
  return {
    sources: deployed.source.map((each) => actorEntry(deployed, 'source', each)),
    destinations: deployed.destination.map((each) => actorEntry(deployed, 'destination', each)),
    connections: deployed.connections.map((each) => connectionEntry(deployed, each)),
  };
}

function actorEntry({ definitions }: Deployed, kind: Kind, actor: DeployedActor): ActorEntry {
  const [title] = [...definitions[kind]].find(([, id]) => id === actor.definitionId) ?? [];
  const { name, definitionId, configuration } = actor;
  return { name, definition: title ?? definitionId, configuration };
}

function connectionEntry(deployed: Deployed, connection: DeployedConnection): ConnectionEntry {
  const nameOf = (actors: readonly DeployedActor[], id: string): string =>
    actors.find((each) => each.id === id)?.name ?? id;
  const fields = CONNECTION_FIELDS.filter((field) => connection[field] !== undefined);
  const operations = deployed.operations.get(connection.connectionId) ?? [];
  return {
    name: connection.name,
    source: nameOf(deployed.source, connection.sourceId),
    destination: nameOf(deployed.destination, connection.destinationId),
    ...Object.fromEntries(fields.map((field) => [field, connection[field]])),
    streams: streamEntries(connection),
    ...(operations.length === 0 ? {} : { operations: operations.map(operationEntry) }),
  };
}

function operationEntry({ name, operatorConfiguration }: DeployedOperation): OperationEntry {
  return { name, operatorConfiguration };
}

/** The selected streams with what the file can say of one. */
export function streamEntries({ syncCatalog }: DeployedConnection): StreamEntry[] {
  return syncCatalog.streams
    .filter(({ config }) => config.selected !== false)
    .map(({ stream: { name, namespace }, config }) => ({
      name,
      ...(namespace === undefined ? {} : { namespace }),
      syncMode: config.syncMode,
      destinationSyncMode: config.destinationSyncMode,
      cursorField: [...(config.cursorField ?? [])],
      primaryKey: (config.primaryKey ?? []).map((path) => [...path]),
    }));
}
