import type { Connectors } from '../../connectors/registry.ts';
import { defaultModes, wholeCatalog } from '../../connectors/spi/discovered-catalog.ts';
import type { DiscoveredStream } from '../../connectors/spi/source.ts';
import type { Destination } from '../../connectors/spi/destination.ts';
import type { Actor } from '../../core/store/actors.ts';
import {
  landingOf,
  primaryKeyOf,
  type ConfiguredStream,
  type ConnectionDocument,
} from '../../core/store/connection-document.ts';
import type { Logger } from '../../core/observe/logger.ts';
import type { MonitoredConnection } from '../../core/store/monitoring.ts';
import { schemaPolicyOf } from '../../core/store/schema-policy.ts';
import type { Store } from '../../core/store/store.ts';
import type { DestinationMode } from '../../connectors/spi/destination.ts';
import type { NamedStream } from '../../core/store/work.ts';
import { streamLabel } from '../../schemas/catalog/stream-id.ts';

export interface SourceTablesOptions {
  readonly store: Store;
  readonly connectors: Connectors;
  readonly logger: Logger;
  /** How often a source is asked. */
  readonly schemaLookMs: number;
}

/** A stream that has stopped may have events on their way to Kafka for this long. */
const SETTLED_MS = 5_000;

/**
 * Asks the sources of connections that follow them fully (`propagate_fully`) for tables that have
 * come or gone. A table that was there when the connection was set up and is not in its catalog was
 * left out on purpose and stays out.
 */
export class SourceTables {
  private readonly options: SourceTablesOptions;
  private readonly askedAt = new Map<string, number>();

  constructor(options: SourceTablesOptions) {
    this.options = options;
  }

  async look(connections: readonly MonitoredConnection[]): Promise<void> {
    const { logger, schemaLookMs } = this.options;
    for (const connection of connections) {
      const { connectionId, document } = connection.subject;
      if (schemaPolicyOf(document) !== 'propagate_fully') continue;
      if (Date.now() - (this.askedAt.get(connectionId) ?? 0) < schemaLookMs) continue;
      this.askedAt.set(connectionId, Date.now());
      try {
        await this.follow(connection);
      } catch (error) {
        // Its own service tells of a source that cannot be reached.
        logger.warn(
          { err: error, connection: connectionId },
          'the source was not asked for tables',
        );
      }
    }
  }

  private async follow(connection: MonitoredConnection): Promise<void> {
    const { store, connectors } = this.options;
    const { connectionId, document } = connection.subject;
    const { sourceId, destinationId } = await store.connections.get(connectionId);
    const source = await store.actors.get('source', sourceId);
    const connector = await connectors.sources.load(source.connector);
    const offered = await connector.discover(source.configuration);
    const known = document.knownStreams;
    const names = offered.map(({ stream }) => stream);
    const removed = goneStreams(connection, offered);
    const fresh = known === undefined ? [] : offered.filter((each) => isNew(each, known, document));
    const added = await this.landable(fresh, document, destinationId);
    if (known !== undefined && added.length === 0 && removed.length === 0) {
      if (sameNames(known, names)) return;
    }
    await store.schemaChanges.streamsChanged(connectionId, { added, removed, known: names });
  }

  /** Those that the destination can take beside what is there; others are logged and left out. */
  private async landable(
    fresh: readonly DiscoveredStream[],
    document: ConnectionDocument,
    destinationId: string,
  ): Promise<ConfiguredStream[]> {
    if (fresh.length === 0) return [];
    const { store, connectors, logger } = this.options;
    const actor = await store.actors.get('destination', destinationId);
    const destination = await connectors.destinations.load(actor.connector);
    const taken = new Set(
      document.syncCatalog.streams.flatMap((each) => placesOf(destination, actor, document, each)),
    );
    return wholeCatalog(fresh, defaultModes(destination.spec)).filter((each) => {
      try {
        destination.validateStream(actor.configuration, landed(document, each));
        const places = placesOf(destination, actor, document, each);
        if (places.some((place) => taken.has(place))) throw new Error('its place is taken');
        for (const place of places) taken.add(place);
        return true;
      } catch (error) {
        logger.warn({ err: error, stream: each.stream.name }, 'a new table is left out');
        return false;
      }
    });
  }
}

function isNew(
  { stream }: DiscoveredStream,
  known: readonly NamedStream[],
  { syncCatalog }: ConnectionDocument,
): boolean {
  const label = streamLabel(stream);
  const isConfigured = syncCatalog.streams.some(
    (each) =>
      streamLabel({ namespace: each.stream.namespace ?? '', name: each.stream.name }) === label,
  );
  return !isConfigured && !known.some((each) => streamLabel(each) === label);
}

function sameNames(a: readonly NamedStream[], b: readonly NamedStream[]): boolean {
  const labels = (streams: readonly NamedStream[]) =>
    streams.map(streamLabel).toSorted().join('\0');
  return labels(a) === labels(b);
}

/** Streams whose tables are gone and whose last event is in the destination. */
function goneStreams(
  { subject, source, delivery }: MonitoredConnection,
  offered: readonly DiscoveredStream[],
): NamedStream[] {
  const there = new Set(offered.map(({ stream }) => streamLabel(stream)));
  const isDelivered = delivery?.partitions.every(({ durable, end }) => durable >= end) ?? false;
  return subject.document.syncCatalog.streams.flatMap(({ stream }) => {
    const named = { namespace: stream.namespace ?? '', name: stream.name };
    if (there.has(streamLabel(named))) return [];
    const report = source?.streams.find((each) => streamLabel(each) === streamLabel(named));
    if (report === undefined) return source === null ? [named] : [];
    const { error } = report;
    const isOver = error?.code === 'SRC_STREAM_GONE' && Date.now() - error.at > SETTLED_MS;
    return isOver && isDelivered ? [named] : [];
  });
}

function landed(document: ConnectionDocument, each: ConfiguredStream) {
  const { namespace = '', name } = each.stream;
  return {
    stream: { namespace, name },
    ...landingOf(document, each.stream),
    mode: each.config.destinationSyncMode as DestinationMode,
    primaryKey: primaryKeyOf(each),
  };
}

function placesOf(
  destination: Destination,
  actor: Actor,
  document: ConnectionDocument,
  each: ConfiguredStream,
): string[] {
  const stream = landed(document, each);
  const further = destination.places?.(actor.configuration, stream) ?? [];
  return [JSON.stringify([stream.namespace, stream.name]), ...further];
}
