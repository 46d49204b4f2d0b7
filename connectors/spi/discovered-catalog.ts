import type { CatalogStream, ConfiguredStream } from '../../core/store/connection-document.ts';
import type { ConnectorSpec } from './connector.ts';
import type { DiscoveredStream } from './source.ts';

/** Airbyte's catalog of what a source offers, each stream with a configuration to start from. */
export function discoveredCatalog(discovered: readonly DiscoveredStream[]): {
  streams: ConfiguredStream[];
} {
  return { streams: discovered.map((each) => configured(each, 'append')) };
}

/** For a connection that names no streams: all of them. From a log, or by the usual cursor, one row
 * per key where there is a key and the destination does that by default; else the whole stream each time, in place of
 * the one before where the destination can. */
export function wholeCatalog(
  discovered: readonly DiscoveredStream[],
  destinationModes: readonly string[],
): ConfiguredStream[] {
  return discovered.map((each) => {
    const wanted = !isFollowed(each)
      ? 'overwrite'
      : each.primaryKey.length > 0
        ? 'append_dedup'
        : 'append';
    return configured(each, destinationModes.includes(wanted) ? wanted : 'append');
  });
}

/** Those of a destination that a stream may get without being asked for. */
export function defaultModes({
  supportedDestinationSyncModes = ['append'],
  appendsByDefault,
}: ConnectorSpec): readonly string[] {
  return supportedDestinationSyncModes.filter(
    (mode) => mode !== 'append_dedup' || appendsByDefault !== true,
  );
}

export function catalogStream(discovered: DiscoveredStream): CatalogStream {
  const { namespace, name } = discovered.stream;
  return {
    name,
    ...(namespace === '' ? {} : { namespace }),
    jsonSchema: discovered.jsonSchema,
    supportedSyncModes: discovered.supportedSyncModes,
    sourceDefinedCursor: discovered.sourceDefinedCursor,
    defaultCursorField: defaultCursorOf(discovered),
    sourceDefinedPrimaryKey: discovered.primaryKey.map((column) => [column]),
  };
}

/** Whether an incremental read needs nothing more to be said. */
export function isFollowed({ sourceDefinedCursor, defaultCursor }: DiscoveredStream): boolean {
  return sourceDefinedCursor || defaultCursor !== undefined;
}

function defaultCursorOf({ defaultCursor }: DiscoveredStream): string[] {
  return defaultCursor === undefined ? [] : [defaultCursor];
}

function configured(discovered: DiscoveredStream, destinationSyncMode: string): ConfiguredStream {
  const stream = catalogStream(discovered);
  return {
    stream,
    config: {
      syncMode: isFollowed(discovered) ? 'incremental' : 'full_refresh',
      cursorField: defaultCursorOf(discovered),
      destinationSyncMode,
      primaryKey: stream.sourceDefinedPrimaryKey ?? [],
      aliasName: stream.name.replace(/[^A-Za-z0-9_]/g, '_'),
      selected: true,
    },
  };
}
