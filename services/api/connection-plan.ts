import type { Destination } from '../../connectors/spi/destination.ts';
import {
  catalogStream,
  defaultModes,
  isFollowed,
  wholeCatalog,
} from '../../connectors/spi/discovered-catalog.ts';
import type { DiscoveredStream, Source } from '../../connectors/spi/source.ts';
import { PipelineError } from '../../core/errors/pipeline-error.ts';
import type { Actor } from '../../core/store/actors.ts';
import {
  isReadByJob,
  landingOf,
  primaryKeyOf,
  selectedStreams,
  type CatalogStream,
  type ConfiguredStream,
  type ConnectionDocument,
} from '../../core/store/connection-document.ts';
import { propertiesOf } from '../../core/store/field-transforms.ts';
import { isHeldToCatalog, type SchemaPolicy } from '../../core/store/schema-policy.ts';
import type { ApiContext } from './api-context.ts';
import type { RequestedStream } from './connection-requests.ts';
import { checkKey, checkModes, cursorOf, invalidStream } from './read-modes.ts';

interface Ends {
  readonly source: Actor;
  readonly destination: Actor;
}

/**
 * The streams of a connection, complete: what a request leaves out (namespace, key, schema, modes)
 * comes from the source's own description. Without a request all streams are taken. Rejects with
 * API_INVALID_CONNECTION for a stream that the source does not have. A source that does not answer
 * fails the request only when something is missing that only it can tell.
 */
export async function planStreams(
  context: ApiContext,
  ends: Ends,
  requested: readonly RequestedStream[] | undefined,
  policy: SchemaPolicy,
): Promise<ConfiguredStream[]> {
  const source = await context.connectors.sources.load(ends.source.connector);
  const discovering = source.discover(ends.source.configuration);
  if (requested === undefined) {
    const { spec } = await context.connectors.destinations.load(ends.destination.connector);
    return wholeCatalog(await discovering, defaultModes(spec));
  }
  const hasLog = source.hasLog(ends.source.configuration);
  const needs = (each: RequestedStream) =>
    needsSource(each, hasLog) || (isHeldToCatalog(policy) && !hasColumns(each));
  const offered = await discovering.catch((error: unknown) => {
    if (requested.some(needs)) throw error;
    return null;
  });
  return requested.map((each) => complete(each, { offered, hasLog, policy }));
}

function hasColumns({ stream }: RequestedStream): boolean {
  return propertiesOf(stream.jsonSchema) !== null;
}

function needsSource({ stream, config }: RequestedStream, hasLog: boolean): boolean {
  if (config?.selected === false) return false;
  if (!hasLog) return true;
  const keyKnown =
    stream.sourceDefinedPrimaryKey !== undefined || (config?.primaryKey ?? []).length > 0;
  return (stream.namespace ?? '') === '' || !keyKnown;
}

interface PlannedFor {
  /** Null when the source does not answer. */
  readonly offered: readonly DiscoveredStream[] | null;
  readonly hasLog: boolean;
  readonly policy: SchemaPolicy;
}

function complete(
  requested: RequestedStream,
  { offered, hasLog, policy }: PlannedFor,
): ConfiguredStream {
  const { namespace, ...given } = requested.stream;
  const stream: CatalogStream =
    namespace === null || namespace === undefined ? given : { ...given, namespace };
  const found = offered === null ? null : find(offered, stream);
  if (found === null && offered !== null && requested.config?.selected !== false) {
    throw invalidStream(labelOf({ stream }), 'the source has no such stream');
  }
  const known = found === null ? {} : catalogStream(found);
  // Airbyte's clients send `jsonSchema: {}` and no key; the source knows better.
  const filled = {
    ...known,
    ...withoutEmpty(stream),
    ...(isHeldToCatalog(policy) ? {} : wholeSchema(stream, found)),
    name: stream.name,
    // Not the client's to say: it decides who reads the stream.
    sourceDefinedCursor: hasLog,
  };
  const config = {
    syncMode: hasLog || (found !== null && isFollowed(found)) ? 'incremental' : 'full_refresh',
    destinationSyncMode: 'append',
    cursorField: [],
    ...requested.config,
    selected: requested.config?.selected ?? true,
  };
  const primaryKey =
    (config.primaryKey ?? []).length > 0 ? config.primaryKey : filled.sourceDefinedPrimaryKey;
  const planned = { stream: filled, config: { ...config, primaryKey: primaryKey ?? [] } };
  return found !== null && config.selected && isReadByJob(planned)
    ? readable(planned, found)
    : planned;
}

/** Whatever a client lists, all columns are delivered: then the catalog has them all, so that only what
 * changes later is a change. */
function wholeSchema(
  { jsonSchema }: CatalogStream,
  found: DiscoveredStream | null,
): Pick<CatalogStream, 'jsonSchema'> {
  const now = propertiesOf(found?.jsonSchema);
  if (found === null || now === null) return {};
  const given = propertiesOf(jsonSchema) ?? {};
  return { jsonSchema: { ...found.jsonSchema, ...jsonSchema, properties: { ...given, ...now } } };
}

/** With the cursor that is to be read by. */
function readable(planned: ConfiguredStream, found: DiscoveredStream): ConfiguredStream {
  const { stream, config } = planned;
  const label = labelOf(planned);
  checkKey(primaryKeyOf(planned), found, label);
  if (config.syncMode !== 'incremental') return planned;
  return { stream, config: { ...config, cursorField: [cursorOf(config, found, label)] } };
}

function withoutEmpty<T extends object>(stream: T): Partial<T> {
  const kept = Object.entries(stream).filter(
    ([, value]) => typeof value !== 'object' || Object.keys(value as object).length > 0,
  );
  return Object.fromEntries(kept) as Partial<T>;
}

/** Without a namespace the name alone decides, when only one stream has it. */
function find(
  offered: readonly DiscoveredStream[],
  { name, namespace }: { name: string; namespace?: string },
): DiscoveredStream | null {
  const named = offered.filter((each) => each.stream.name === name);
  if (namespace !== undefined && namespace !== '') {
    return named.find((each) => each.stream.namespace === namespace) ?? null;
  }
  if (named.length > 1)
    throw invalidStream(name, 'more than one namespace has it: name the one meant');
  return named[0] ?? null;
}

/** Refuses, with the stream's name, what cannot be delivered: modes that do not exist here, deduped
 * without a key, two streams that land in one place, and what the destination itself refuses. */
export async function checkStreams(
  context: ApiContext,
  ends: Ends,
  document: ConnectionDocument,
): Promise<void> {
  const source: Source = await context.connectors.sources.load(ends.source.connector);
  const destination = await context.connectors.destinations.load(ends.destination.connector);
  if (document.namespaceDefinition === 'customformat' && document.namespaceFormat === undefined) {
    throw new PipelineError(
      'API_INVALID_CONNECTION',
      'namespaceFormat is required with namespaceDefinition customformat',
    );
  }
  const taken = new Map<string, string>();
  for (const each of selectedStreams(document)) {
    const label = labelOf(each);
    const mode = checkModes(source, destination, each, label);
    const landing = landingOf(document, each.stream);
    const stream = {
      stream: { namespace: each.stream.namespace ?? '', name: each.stream.name },
      ...landing,
      mode,
      primaryKey: primaryKeyOf(each),
    };
    checkWithDestination(destination, ends.destination, stream);
    const own = JSON.stringify([landing.namespace, landing.name]);
    const further = destination.places?.(ends.destination.configuration, stream) ?? [];
    for (const place of [own, ...further]) {
      const other = taken.get(place);
      if (other !== undefined) throw invalidStream(label, `lands in the same place as ${other}`);
      taken.set(place, label);
    }
  }
}

function checkWithDestination(
  destination: Destination,
  actor: Actor,
  stream: Parameters<Destination['validateStream']>[1],
): void {
  try {
    destination.validateStream(actor.configuration, stream);
  } catch (error) {
    if (!(error instanceof PipelineError)) throw error;
    const { namespace, name } = stream.stream;
    throw invalidStream(namespace === '' ? name : `${namespace}.${name}`, error.message, error);
  }
}

function labelOf({ stream }: { stream: CatalogStream }): string {
  return stream.namespace === undefined ? stream.name : `${stream.namespace}.${stream.name}`;
}
