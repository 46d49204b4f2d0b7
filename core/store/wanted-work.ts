import { createHash } from 'node:crypto';
import { memoryLimitOf } from '../config/connection-resources.ts';
import { captureIdSql, captureNameSql } from './actors.ts';
import {
  isReadByJob,
  landingOf,
  primaryKeyOf,
  selectedStreams,
  type ConnectionDocument,
} from './connection-document.ts';
import type { Queryable } from './database.ts';
import type { JobStream } from './jobs.ts';
import { propertiesOf } from './field-transforms.ts';
import { normalizesSql, withNormalization } from './operations.ts';
import { withReplays } from './replays.ts';
import { isHeldToCatalog, schemaPolicyOf } from './schema-policy.ts';
import type { Sealer } from './sealer.ts';
import type {
  ConnectionStreamWork,
  ConnectionWork,
  NamedStream,
  ReadStreamWork,
  ReadWork,
  SourceStreamWork,
  SourceWork,
  Work,
} from './work.ts';

interface ActorColumns {
  readonly connector: string;
  readonly revision: number;
  readonly configuration: Record<string, unknown>;
}

interface Row {
  readonly id: string;
  readonly document: ConnectionDocument;
  readonly captureId: string;
  readonly captureName: string;
  readonly source: ActorColumns;
  readonly destination: ActorColumns;
  readonly due: boolean;
  readonly normalizes: boolean;
  readonly job: OpenJob | null;
  /** Jobs that asked for streams to begin anew, newest first. */
  readonly resets: readonly Pick<OpenJob, 'id' | 'streams'>[] | null;
  readonly copies: readonly (NamedStream & { readonly copy: string })[] | null;
}

interface OpenJob {
  readonly id: number;
  readonly attempt: number;
  readonly streams: readonly JobStream[];
}

/** A clean-up that has failed as often holds up new sources only while it is tried again. */
export const CLEANUP_PATIENCE = 3;

/**
 * The wanted state: every active connection's source is captured all the time, as far as it has a log
 * to follow, and the rest is read while a job is open; its destination is fed all the time when it
 * runs continuously, else while a job of it is open. A source that is still
 * being let go is left out: what it does next would race with the clean-up over the same slot. So
 * would a new source that was given the name of the slot of a deleted one, which is why a source
 * that has never run waits for clean-ups of its kind, though not for one that keeps failing.
 * `withResting`: destinations that rest until the next job are given too.
 */
export async function readWantedWork(
  database: Queryable,
  sealer: Sealer,
  options: { readonly withResting?: boolean } = {},
): Promise<Work> {
  const rows = await database.query<Row>(
    `SELECT c.id, c.document,
       ${captureIdSql('s')} AS "captureId", ${captureNameSql('s')} AS "captureName",
       ${actorJson('s')} AS source, ${actorJson('d')} AS destination,
       c.document->>'scheduleType' = 'continuous' OR EXISTS (
         SELECT 1 FROM headrace.job j
         WHERE j.connection_id = c.id AND j.status IN ('pending', 'running', 'incomplete')
       ) AS due,
       ${normalizesSql('c')} AS normalizes,
       (SELECT json_build_object('id', j.id, 'attempt', j.attempt, 'streams', j.streams)
        FROM headrace.job j WHERE j.connection_id = c.id
          AND j.status IN ('pending', 'running', 'incomplete')) AS job,
       (SELECT json_agg(json_build_object('id', j.id, 'streams', j.streams) ORDER BY j.id DESC)
        FROM headrace.job j
        WHERE j.connection_id = c.id AND j.config_type = 'reset_connection') AS resets,
       (SELECT json_agg(json_build_object('namespace', k.namespace, 'name', k.name, 'copy', k.copy))
        FROM headrace.stream_copy k WHERE k.actor_id = s.id) AS copies
     FROM headrace.connection c
       JOIN headrace.actor s ON s.id = c.source_id
       JOIN headrace.actor d ON d.id = c.destination_id
     WHERE c.status = 'active'
       AND NOT EXISTS (SELECT 1 FROM headrace.cleanup k WHERE k.actor_id = s.id)
       AND (
         EXISTS (SELECT 1 FROM headrace.report WHERE unit = 'source:' || ${captureIdSql('s')})
         OR NOT EXISTS (
           SELECT 1 FROM headrace.cleanup k JOIN headrace.actor a ON a.id = k.actor_id
           WHERE a.connector = s.connector
             AND (k.failed_attempts < ${CLEANUP_PATIENCE} OR k.claimed_until > headrace.now_ms())
         )
       )
     ORDER BY c.id`,
  );
  const due = rows.filter((row) => row.due || options.withResting === true);
  return {
    sources: sourceWork(rows, sealer),
    reads: rows.flatMap((row) => readWork(row, sealer)),
    connections: await withReplays(
      database,
      due.map((r) => connectionWork(r, sealer)),
    ),
  };
}

/** The streams' namespaces as they stand at the source: '' where it has none. */
export function namedStream(stream: { name: string; namespace?: string }): NamedStream {
  return { namespace: stream.namespace ?? '', name: stream.name };
}

function actorJson(table: string): string {
  return `json_build_object('connector', ${table}.connector, 'revision', ${table}.revision,
    'configuration', ${table}.configuration)`;
}

function sourceWork(rows: readonly Row[], sealer: Sealer): SourceWork[] {
  const bySource = new Map<string, Row[]>();
  for (const row of rows) {
    bySource.set(row.captureId, [...(bySource.get(row.captureId) ?? []), row]);
  }
  return [...bySource].flatMap(([sourceId, [first, ...others]]) => {
    const { source, captureName } = first as Row;
    const streams = unionOfStreams([first as Row, ...others]);
    if (streams.length === 0) return [];
    const version = versionOf([captureName, source.revision, streams]);
    const config = sealer.open(source.configuration);
    return {
      sourceId,
      sourceName: captureName,
      connector: source.connector,
      config,
      streams,
      version,
    };
  });
}

/** The streams that the connection's open job names, as far as jobs read them. */
function readWork(row: Row, sealer: Sealer): ReadWork[] {
  const { job, source, resets } = row;
  if (job === null) return [];
  const streams = selectedStreams(row.document).flatMap((each): ReadStreamWork[] => {
    const named = namedStream(each.stream);
    if (!isReadByJob(each) || !names(job, named)) return [];
    const reset = resets?.find((past) => names(past, named));
    const { syncMode, cursorField = [] } = each.config;
    return [
      {
        ...named,
        syncMode: syncMode === 'full_refresh' ? 'full_refresh' : 'incremental',
        cursor: cursorField[0] ?? null,
        primaryKey: primaryKeyOf(each),
        ...(reset === undefined ? {} : { copy: String(reset.id) }),
      },
    ];
  });
  if (streams.length === 0) return [];
  return [
    {
      connectionId: row.id,
      job: job.id,
      connector: source.connector,
      config: sealer.open(source.configuration),
      streams,
      version: versionOf([job.id, job.attempt, source.revision, streams]),
    },
  ];
}

function names({ streams }: Pick<OpenJob, 'streams'>, { namespace, name }: NamedStream): boolean {
  return streams.some((each) => each.name === name && (each.namespace ?? '') === namespace);
}

function unionOfStreams(rows: readonly Row[]): SourceStreamWork[] {
  const streams = new Map<string, SourceStreamWork>();
  const copies = rows[0]?.copies ?? [];
  for (const { document } of rows) {
    for (const each of selectedStreams(document)) {
      if (isReadByJob(each)) continue;
      const named = namedStream(each.stream);
      const asked = copies.find((c) => c.namespace === named.namespace && c.name === named.name);
      const wanted = asked === undefined ? named : { ...named, copy: asked.copy };
      streams.set(JSON.stringify([named.namespace, named.name]), wanted);
    }
  }
  // Sorted, so that the order of connections and of their streams does not restart the reader.
  return [...streams].toSorted(([a], [b]) => (a < b ? -1 : 1)).map(([, stream]) => stream);
}

function connectionWork(row: Row, sealer: Sealer): ConnectionWork {
  const streams = selectedStreams(row.document).map((each): ConnectionStreamWork => {
    const landing = landingOf(row.document, each.stream);
    return {
      ...namedStream(each.stream),
      topicOwner: isReadByJob(each) ? row.id : row.captureName,
      isReadByJob: isReadByJob(each),
      destinationNamespace: landing.namespace,
      destinationName: landing.name,
      mode: modeOf(each.config.destinationSyncMode),
      primaryKey: primaryKeyOf(each),
      properties: propertiesOf(each.stream.jsonSchema),
      schemaPolicy: schemaPolicyOf(row.document),
    };
  });
  const config = sealer.open(row.destination.configuration);
  const memoryLimitBytes = memoryLimitOf(row.document['resourceRequirements']);
  const limits = memoryLimitBytes === undefined ? {} : { memoryLimitBytes };
  const versioned = [row.destination.revision, row.normalizes, streams.map(versionedPart)];
  return {
    connectionId: row.id,
    sourceId: row.captureId,
    connector: row.destination.connector,
    config: row.normalizes ? withNormalization(config) : config,
    streams,
    ...limits,
    version: versionOf(memoryLimitBytes === undefined ? versioned : [...versioned, limits]),
  };
}

/** A catalog that only follows what is delivered anyway must not restart the delivery. */
function versionedPart(stream: ConnectionStreamWork): object {
  const { properties: _, schemaPolicy, ...rest } = stream;
  return isHeldToCatalog(schemaPolicy) ? stream : rest;
}

export function modeOf(word: string): ConnectionStreamWork['mode'] {
  return word === 'append_dedup' || word === 'overwrite' ? word : 'append';
}

/** Of everything but the configuration itself, for which its revision stands: a version is reported
 * and logged, and a digest of a password can be guessed (invariant 8). */
function versionOf(parts: unknown): string {
  return createHash('sha256').update(JSON.stringify(parts)).digest('hex').slice(0, 16);
}
