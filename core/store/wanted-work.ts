import { createHash } from 'node:crypto';
import { captureIdSql, captureNameSql } from './actors.ts';
import {
  landingOf,
  primaryKeyOf,
  selectedStreams,
  type ConnectionDocument,
} from './connection-document.ts';
import type { Queryable } from './database.ts';
import { normalizesSql, withNormalization } from './operations.ts';
import { withReplays } from './replays.ts';
import type { Sealer } from './sealer.ts';
import type {
  ConnectionStreamWork,
  ConnectionWork,
  NamedStream,
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
  readonly copies: readonly (NamedStream & { readonly copy: string })[] | null;
}

/** A clean-up that has failed as often holds up new sources only while it is tried again. */
export const CLEANUP_PATIENCE = 3;

/**
 * The wanted state: every active connection's source is captured all the time; its destination is
 * fed all the time when it runs continuously, else while a job of it is open. A source that is still
 * being let go is left out: what it does next would race with the clean-up over the same slot. So
 * would a new source that was given the name of the slot of a deleted one, which is why a source
 * that has never run waits for clean-ups of its kind, though not for one that keeps failing.
 */
export async function readWantedWork(database: Queryable, sealer: Sealer): Promise<Work> {
  const rows = await database.query<Row>(
    `SELECT c.id, c.document,
       ${captureIdSql('s')} AS "captureId", ${captureNameSql('s')} AS "captureName",
       ${actorJson('s')} AS source, ${actorJson('d')} AS destination,
       c.document->>'scheduleType' = 'continuous' OR EXISTS (
         SELECT 1 FROM headrace.job j
         WHERE j.connection_id = c.id AND j.status IN ('pending', 'running', 'incomplete')
       ) AS due,
       ${normalizesSql('c')} AS normalizes,
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
  const due = rows.filter((row) => row.due);
  return {
    sources: sourceWork(rows, sealer),
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
  return [...bySource].map(([sourceId, [first, ...others]]) => {
    const { source, captureName } = first as Row;
    const streams = unionOfStreams([first as Row, ...others]);
    return {
      sourceId,
      sourceName: captureName,
      connector: source.connector,
      config: sealer.open(source.configuration),
      streams,
      version: versionOf([captureName, source.revision, streams]),
    };
  });
}

function unionOfStreams(rows: readonly Row[]): SourceStreamWork[] {
  const streams = new Map<string, SourceStreamWork>();
  const copies = rows[0]?.copies ?? [];
  for (const { document } of rows) {
    for (const { stream } of selectedStreams(document)) {
      const named = namedStream(stream);
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
      destinationNamespace: landing.namespace,
      destinationName: landing.name,
      mode: each.config.destinationSyncMode === 'append_dedup' ? 'append_dedup' : 'append',
      primaryKey: primaryKeyOf(each),
    };
  });
  const config = sealer.open(row.destination.configuration);
  return {
    connectionId: row.id,
    sourceId: row.captureId,
    sourceName: row.captureName,
    connector: row.destination.connector,
    config: row.normalizes ? withNormalization(config) : config,
    streams,
    version: versionOf([row.captureName, row.destination.revision, row.normalizes, streams]),
  };
}

/** Of everything but the configuration itself, for which its revision stands: a version is reported
 * and logged, and a digest of a password can be guessed (invariant 8). */
function versionOf(parts: unknown): string {
  return createHash('sha256').update(JSON.stringify(parts)).digest('hex').slice(0, 16);
}
