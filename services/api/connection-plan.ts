import type { ConnectorSpec } from '../../connectors/spi/connector.ts';
import type { Destination } from '../../connectors/spi/destination.ts';
import type { DiscoveredStream } from '../../connectors/spi/source.ts';
import { PipelineError } from '../../core/errors/pipeline-error.ts';
import type { Actor } from '../../core/store/actors.ts';
import {
  landingOf,
  primaryKeyOf,
  selectedStreams,
  type CatalogStream,
  type ConfiguredStream,
  type ConnectionDocument,
} from '../../core/store/connection-document.ts';
import type { ApiContext } from './api-context.ts';
import type { RequestedStream } from './connection-requests.ts';
import { catalogStream, wholeCatalog } from './discovered-catalog.ts';

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
): Promise<ConfiguredStream[]> {
  const source = await context.connectors.sources.load(ends.source.connector);
  const discovering = source.discover(ends.source.configuration);
  if (requested === undefined) {
    const { spec } = await context.connectors.destinations.load(ends.destination.connector);
    return wholeCatalog(await discovering, dedupesByDefault(spec));
  }
  const offered = await discovering.catch((error: unknown) => {
    if (requested.some(needsSource)) throw error;
    return null;
  });
  return requested.map((each) => complete(each, offered));
}

function dedupesByDefault({
  supportedDestinationSyncModes,
  appendsByDefault,
}: ConnectorSpec): boolean {
  const canDedup = supportedDestinationSyncModes?.includes('append_dedup') ?? false;
  return canDedup && appendsByDefault !== true;
}

function needsSource({ stream, config }: RequestedStream): boolean {
  if (config?.selected === false) return false;
  const keyKnown =
    stream.sourceDefinedPrimaryKey !== undefined || (config?.primaryKey ?? []).length > 0;
  return (stream.namespace ?? '') === '' || !keyKnown;
}

function complete(
  requested: RequestedStream,
  offered: readonly DiscoveredStream[] | null,
): ConfiguredStream {
  const { namespace, ...given } = requested.stream;
  const stream: CatalogStream =
    namespace === null || namespace === undefined ? given : { ...given, namespace };
  const found = offered === null ? null : find(offered, stream);
  if (found === null && offered !== null && requested.config?.selected !== false) {
    const label =
      stream.namespace === undefined ? stream.name : `${stream.namespace}.${stream.name}`;
    throw invalid(label, 'the source has no such stream');
  }
  const known = found === null ? {} : catalogStream(found);
  // Airbyte's clients send `jsonSchema: {}` and no key; the source knows better.
  const filled = { ...known, ...withoutEmpty(stream), name: stream.name };
  const config = {
    syncMode: 'incremental',
    destinationSyncMode: 'append',
    cursorField: [],
    ...requested.config,
    selected: requested.config?.selected ?? true,
  };
  const primaryKey =
    (config.primaryKey ?? []).length > 0 ? config.primaryKey : filled.sourceDefinedPrimaryKey;
  return { stream: filled, config: { ...config, primaryKey: primaryKey ?? [] } };
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
  if (named.length > 1) throw invalid(name, 'more than one namespace has it: name the one meant');
  return named[0] ?? null;
}

/** Refuses, with the stream's name, what cannot be delivered: modes that do not exist here, deduped
 * without a key, two streams that land in one place, and what the destination itself refuses. */
export async function checkStreams(
  context: ApiContext,
  ends: Ends,
  document: ConnectionDocument,
): Promise<void> {
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
    const mode = checkModes(destination, each, label);
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
      if (other !== undefined) throw invalid(label, `lands in the same place as ${other}`);
      taken.set(place, label);
    }
  }
}

function checkModes(
  destination: Destination,
  each: ConfiguredStream,
  label: string,
): 'append' | 'append_dedup' {
  const { syncMode, destinationSyncMode: mode } = each.config;
  if (syncMode !== 'incremental') {
    throw invalid(label, `sync mode ${syncMode} is not supported; use incremental`);
  }
  const offered = destination.spec.supportedDestinationSyncModes ?? ['append'];
  const possible = offered.filter((word) => word !== 'overwrite');
  const found = possible.find((word) => word === mode);
  if (found === undefined) {
    throw invalid(
      label,
      `destination sync mode ${mode} is not supported by ${destination.spec.title} with incremental; use ${possible.join(' or ')}`,
    );
  }
  if (found === 'append_dedup' && primaryKeyOf(each).length === 0) {
    throw invalid(label, 'append_dedup needs a primary key, and the stream has none');
  }
  return found;
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
    throw invalid(namespace === '' ? name : `${namespace}.${name}`, error.message, error);
  }
}

function labelOf({ stream }: { stream: CatalogStream }): string {
  return stream.namespace === undefined ? stream.name : `${stream.namespace}.${stream.name}`;
}

function invalid(label: string, why: string, cause?: unknown): PipelineError {
  return new PipelineError('API_INVALID_CONNECTION', `Stream ${label}: ${why}`, {
    details: { stream: label },
    cause,
  });
}
