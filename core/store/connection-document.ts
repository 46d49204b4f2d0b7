/** A connection as the API keeps it: Airbyte's own field names, stored as one JSON document. */

export type ConnectionStatus = 'active' | 'inactive' | 'deprecated';
export type ScheduleType = 'manual' | 'basic' | 'cron' | 'continuous';
export type TimeUnit = 'minutes' | 'hours' | 'days' | 'weeks' | 'months';

export interface BasicSchedule {
  readonly timeUnit: TimeUnit;
  readonly units: number;
}

export interface CronSchedule {
  readonly cronExpression: string;
  readonly cronTimeZone: string;
}

export interface CatalogStream {
  readonly name: string;
  readonly namespace?: string;
  readonly jsonSchema?: Record<string, unknown>;
  readonly supportedSyncModes?: readonly string[];
  readonly sourceDefinedCursor?: boolean;
  readonly defaultCursorField?: readonly string[];
  readonly sourceDefinedPrimaryKey?: readonly (readonly string[])[];
}

export interface CatalogStreamConfig {
  readonly syncMode: string;
  readonly destinationSyncMode: string;
  readonly cursorField?: readonly string[];
  /** Paths of the key's columns; one segment each. */
  readonly primaryKey?: readonly (readonly string[])[];
  readonly aliasName?: string;
  /** Absent means true. */
  readonly selected?: boolean;
}

export interface ConfiguredStream {
  readonly stream: CatalogStream;
  readonly config: CatalogStreamConfig;
}

export interface ConnectionDocument {
  readonly name: string;
  readonly namespaceDefinition: 'source' | 'destination' | 'customformat';
  readonly namespaceFormat?: string;
  readonly prefix?: string;
  readonly operationIds: readonly string[];
  readonly syncCatalog: { readonly streams: readonly ConfiguredStream[] };
  readonly scheduleType: ScheduleType;
  readonly scheduleData?: { readonly basicSchedule?: BasicSchedule; readonly cron?: CronSchedule };
  /** Airbyte's older form, read back as it was given. */
  readonly schedule?: BasicSchedule;
  /** A stream was stopped by a change of its table. */
  readonly breakingChange: boolean;
  /** What the source offered when it was last asked; kept while new tables are to be followed. */
  readonly knownStreams?: readonly { readonly namespace: string; readonly name: string }[];
  /** Whatever else a client may set and expects back (geography, resourceRequirements, ...). */
  readonly [other: string]: unknown;
}

/** Streams that are to be synced: `selected: false` leaves one out. */
export function selectedStreams(document: ConnectionDocument): ConfiguredStream[] {
  return document.syncCatalog.streams.filter((each) => each.config.selected !== false);
}

/** Whether jobs read the stream: a full refresh, or a stream whose source has no log to follow. */
export function isReadByJob({ stream, config }: ConfiguredStream): boolean {
  return config.syncMode === 'full_refresh' || stream.sourceDefinedCursor === false;
}

/** The key that rows are told apart by: the configured one, else the source's; first path segments. */
export function primaryKeyOf({ stream, config }: ConfiguredStream): string[] {
  const configured = config.primaryKey ?? [];
  const paths = configured.length > 0 ? configured : (stream.sourceDefinedPrimaryKey ?? []);
  return paths.flatMap((path) => path.slice(0, 1));
}

/**
 * Where a stream lands. `namespace` null leaves it to the destination's own setting: the rule
 * `destination`, a source without namespaces, and a custom format that comes out blank.
 */
export function landingOf(
  document: Pick<ConnectionDocument, 'namespaceDefinition' | 'namespaceFormat' | 'prefix'>,
  stream: CatalogStream,
): { namespace: string | null; name: string } {
  const name = `${document.prefix ?? ''}${stream.name}`;
  const source = stream.namespace ?? '';
  switch (document.namespaceDefinition) {
    case 'source':
      return { namespace: source === '' ? null : source, name };
    case 'destination':
      return { namespace: null, name };
    case 'customformat': {
      const format = document.namespaceFormat ?? '';
      const namespace = format.replaceAll('${SOURCE_NAMESPACE}', source).trim();
      return { namespace: namespace === '' ? null : namespace, name };
    }
  }
}
