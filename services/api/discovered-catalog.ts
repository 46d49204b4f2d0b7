import type { DiscoveredStream } from '../../connectors/spi/source.ts';
import type { CatalogStream, ConfiguredStream } from '../../core/store/connection-document.ts';

/** Airbyte's catalog of what a source offers, each stream with a configuration to start from. */
export function discoveredCatalog(discovered: readonly DiscoveredStream[]): {
  streams: ConfiguredStream[];
} {
  return { streams: discovered.map((each) => configured(each, 'append')) };
}

/** For a connection that names no streams: all of them, one row per key where there is a key and the
 * destination does that by default. */
export function wholeCatalog(
  discovered: readonly DiscoveredStream[],
  dedupes: boolean,
): ConfiguredStream[] {
  return discovered.map((each) => {
    const dedup = dedupes && each.primaryKey.length > 0;
    return configured(each, dedup ? 'append_dedup' : 'append');
  });
}

export function catalogStream(discovered: DiscoveredStream): CatalogStream {
  const { namespace, name } = discovered.stream;
  return {
    name,
    ...(namespace === '' ? {} : { namespace }),
    jsonSchema: discovered.jsonSchema,
    supportedSyncModes: discovered.supportedSyncModes,
    sourceDefinedCursor: discovered.sourceDefinedCursor,
    defaultCursorField: [],
    sourceDefinedPrimaryKey: discovered.primaryKey.map((column) => [column]),
  };
}

function configured(discovered: DiscoveredStream, destinationSyncMode: string): ConfiguredStream {
  const stream = catalogStream(discovered);
  return {
    stream,
    config: {
      syncMode: discovered.supportedSyncModes.includes('incremental')
        ? 'incremental'
        : 'full_refresh',
      cursorField: [],
      destinationSyncMode,
      primaryKey: stream.sourceDefinedPrimaryKey ?? [],
      aliasName: stream.name.replace(/[^A-Za-z0-9_]/g, '_'),
      selected: true,
    },
  };
}
