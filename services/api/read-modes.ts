import type { Destination, DestinationMode } from '../../connectors/spi/destination.ts';
import type { DiscoveredStream, Source } from '../../connectors/spi/source.ts';
import { PipelineError } from '../../core/errors/pipeline-error.ts';
import {
  isReadByJob,
  primaryKeyOf,
  type CatalogStreamConfig,
  type ConfiguredStream,
} from '../../core/store/connection-document.ts';

/** Refuses, with the stream's name, a way to read it or a mode that makes no sense or does not exist
 * here. Answers the destination's mode. */
export function checkModes(
  source: Source,
  destination: Destination,
  each: ConfiguredStream,
  label: string,
): DestinationMode {
  const { syncMode, destinationSyncMode } = each.config;
  if (syncMode !== 'incremental' && syncMode !== 'full_refresh') {
    throw invalidStream(
      label,
      `there is no sync mode ${syncMode}; use incremental or full_refresh`,
    );
  }
  if (isReadByJob(each) && source.read === undefined) {
    throw invalidStream(
      label,
      `${source.spec.title} is read from its log only: replication method CDC, sync mode incremental`,
    );
  }
  const offered = destination.spec.supportedDestinationSyncModes ?? ['append'];
  const other = syncMode === 'incremental' ? 'overwrite' : 'append_dedup';
  const possible = offered.filter((word) => word !== other);
  const mode = possible.find((word) => word === destinationSyncMode);
  if (mode === undefined) {
    throw invalidStream(
      label,
      `destination sync mode ${destinationSyncMode} is not supported by ${destination.spec.title} with ${syncMode}; use ${possible.join(' or ')}`,
    );
  }
  if (mode === 'append_dedup' && primaryKeyOf(each).length === 0) {
    throw invalidStream(label, 'append_dedup needs a primary key, and the stream has none');
  }
  return mode;
}

/** The cursor of an incremental read: the one that is named, or the usual one. Refuses with the
 * stream's name what cannot be one. */
export function cursorOf(
  { cursorField = [] }: CatalogStreamConfig,
  { cursors, defaultCursor, jsonSchema }: DiscoveredStream,
  label: string,
): string {
  const [cursor = defaultCursor] = cursorField;
  if (cursor === undefined) {
    throw invalidStream(
      label,
      'incremental needs a cursor: name in cursorField a column that grows with every change, or use full_refresh',
    );
  }
  if (cursorField.length < 2 && cursors.includes(cursor)) return cursor;
  const { properties = {} } = jsonSchema as { properties?: object };
  const why = Object.hasOwn(properties, cursor)
    ? 'cannot be a cursor: the values of its type do not tell what came later'
    : 'does not exist';
  const possible = cursors.length === 0 ? '' : `; possible: ${cursors.join(', ')}`;
  throw invalidStream(label, `column ${cursorField.join('.') || cursor} ${why}${possible}`);
}

/** A key that is read by jobs is chosen freely, among the columns there are. */
export function checkKey(
  key: readonly string[],
  { jsonSchema }: DiscoveredStream,
  label: string,
): void {
  const { properties = {} } = jsonSchema as { properties?: object };
  const missing = key.find((name) => !Object.hasOwn(properties, name));
  if (missing === undefined) return;
  throw invalidStream(label, `column ${missing} of the primary key does not exist`);
}

export function invalidStream(label: string, why: string, cause?: unknown): PipelineError {
  return new PipelineError('API_INVALID_CONNECTION', `Stream ${label}: ${why}`, {
    details: { stream: label },
    cause,
  });
}
