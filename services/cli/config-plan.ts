import { isDeepStrictEqual } from 'node:util';
import { PipelineError } from '../../core/errors/pipeline-error.ts';
import {
  CONNECTION_FIELDS,
  type ActorEntry,
  type ConfigDocument,
  type ConnectionEntry,
  type StreamEntry,
} from './config-file.ts';
import {
  named,
  streamEntries,
  type Deployed,
  type DeployedConnection,
  type Kind,
} from './deployed-config.ts';
import { operationsContent, operationsDiffer } from './operation-entries.ts';
import type { RemoteApi } from './remote-api.ts';

/** One step of an apply. */
export interface Change {
  readonly verb: 'create' | 'update';
  readonly what: string;
  /** Names of the fields that change; never their values (invariant 8). */
  readonly fields: readonly string[];
  /** Ids by `kind name` of what earlier steps created. */
  run(created: Map<string, string>): Promise<void>;
}

export interface Plan {
  readonly changes: readonly Change[];
  readonly unchanged: number;
  /** Deployed and not in the file: left as it is. */
  readonly others: readonly string[];
}

/** What has to be done so that the deployed is as the file has it. Throws CFG_INVALID_FILE. */
export async function planApply(
  api: RemoteApi,
  deployed: Deployed,
  file: ConfigDocument,
): Promise<Plan> {
  const steps: (Change | null)[] = [];
  for (const entry of file.sources) steps.push(await actorStep(api, deployed, 'source', entry));
  for (const entry of file.destinations) {
    steps.push(await actorStep(api, deployed, 'destination', entry));
  }
  for (const entry of file.connections) {
    steps.push(await connectionStep(api, deployed, file, entry));
  }
  const changes = steps.filter((step) => step !== null);
  return {
    changes,
    unchanged: steps.length - changes.length,
    others: [
      ...missing('source', deployed.source, file.sources),
      ...missing('destination', deployed.destination, file.destinations),
      ...missing('connection', deployed.connections, file.connections),
    ],
  };
}

function missing(
  kind: string,
  deployed: readonly { readonly name: string }[],
  entries: readonly { readonly name: string }[],
): string[] {
  return deployed
    .filter(({ name }) => !entries.some((entry) => entry.name === name))
    .map(({ name }) => `${kind} ${name}`);
}

async function actorStep(
  api: RemoteApi,
  deployed: Deployed,
  kind: Kind,
  entry: ActorEntry,
): Promise<Change | null> {
  const definitionId =
    deployed.definitions[kind].get(entry.definition.toLowerCase()) ?? entry.definition;
  const what = `${kind} ${entry.name}`;
  const content = { name: entry.name, connectionConfiguration: entry.configuration };
  const found = named(deployed[kind], kind, entry.name);
  if (found === undefined) {
    return {
      verb: 'create',
      what,
      fields: [],
      async run(created) {
        const body = { ...content, workspaceId: 'default', [`${kind}DefinitionId`]: definitionId };
        const made = await api.call<Record<string, string>>(`${kind}s/create`, body);
        created.set(what, made[`${kind}Id`] as string);
      },
    };
  }
  if (found.definitionId !== definitionId) {
    throw new PipelineError('CFG_INVALID_FILE', `${what} is deployed with another definition`);
  }
  const body = { ...content, [`${kind}Id`]: found.id };
  const { changed } = await api.call<{ changed: string[] }>(`${kind}s/compare`, body);
  const run = async (): Promise<void> => void (await api.call(`${kind}s/update`, body));
  return changed.length === 0 ? null : { verb: 'update', what, fields: changed, run };
}

async function connectionStep(
  api: RemoteApi,
  deployed: Deployed,
  file: ConfigDocument,
  entry: ConnectionEntry,
): Promise<Change | null> {
  const what = `connection ${entry.name}`;
  const found = named(deployed.connections, 'connection', entry.name);
  const end = (kind: Kind): string | null => endOf(deployed, file, kind, entry);
  const ends = { source: end('source'), destination: end('destination') };
  const had = deployed.operations.get(found?.connectionId ?? '') ?? [];
  const operations = operationsContent(had, entry);
  const content = { ...contentOf(entry), ...(operations && { operations }) };
  if (found === undefined) {
    return {
      verb: 'create',
      what,
      fields: [],
      async run(created) {
        const sourceId = ends.source ?? created.get(`source ${entry.source}`);
        const destinationId = ends.destination ?? created.get(`destination ${entry.destination}`);
        await api.call('web_backend/connections/create', { ...content, sourceId, destinationId });
      },
    };
  }
  if (found.sourceId !== ends.source || found.destinationId !== ends.destination) {
    throw new PipelineError('CFG_INVALID_FILE', `${what} is deployed between other ends`);
  }
  const fields = changedFields(found, entry);
  if (entry.operations !== undefined && (await operationsDiffer(api, had, entry.operations))) {
    fields.push('operations');
  }
  const body = { ...content, connectionId: found.connectionId };
  const run = async (): Promise<void> =>
    void (await api.call('web_backend/connections/update', body));
  return fields.length === 0 ? null : { verb: 'update', what, fields, run };
}

/** Id of a connection's end; null for one that the file itself is going to create. */
function endOf(
  deployed: Deployed,
  file: ConfigDocument,
  kind: Kind,
  entry: ConnectionEntry,
): string | null {
  const found = named(deployed[kind], kind, entry[kind]);
  if (found !== undefined) return found.id;
  if (file[`${kind}s`].some(({ name }) => name === entry[kind])) return null;
  throw new PipelineError(
    'CFG_INVALID_FILE',
    `connection ${entry.name} names the ${kind} ${entry[kind]}, which there is not`,
  );
}

function contentOf(entry: ConnectionEntry): Record<string, unknown> {
  const { source: _source, destination: _destination, streams, operations: _, ...same } = entry;
  return {
    ...same,
    ...(streams === undefined ? {} : { syncCatalog: { streams: streams.map(catalogEntry) } }),
  };
}

function catalogEntry({ name, namespace, ...config }: StreamEntry): object {
  return {
    stream: { name, ...(namespace === undefined ? {} : { namespace }) },
    config: { ...config, selected: true },
  };
}

/** Of what the file says; what it leaves out stays as it is. */
function changedFields(found: DeployedConnection, entry: ConnectionEntry): string[] {
  const fields: string[] = CONNECTION_FIELDS.filter(
    (field) => entry[field] !== undefined && !isDeepStrictEqual(entry[field], found[field]),
  );
  if (entry.streams !== undefined && !sameStreams(streamEntries(found), entry.streams)) {
    fields.push('streams');
  }
  return fields;
}

function sameStreams(deployed: readonly StreamEntry[], asked: readonly StreamEntry[]): boolean {
  const matches = (wanted: StreamEntry): boolean =>
    deployed.some((each) =>
      Object.entries(wanted).every(([field, value]) =>
        isDeepStrictEqual(each[field as keyof StreamEntry], value),
      ),
    );
  return deployed.length === asked.length && asked.every(matches);
}
