import type { Queryable } from './database.ts';
import type { ConnectionDocument } from './connection-document.ts';
import type { FailureReason, StreamStats } from './jobs.ts';

export type EventKind = 'job' | 'disabled' | 'disable_warning' | 'schema_change';

export interface NewEvent {
  readonly kind: EventKind;
  readonly connectionId: string;
  readonly jobId?: number;
  readonly details?: Readonly<Record<string, unknown>>;
}

/** A fact with what a message about it needs. */
export interface StoredEvent {
  readonly id: number;
  readonly kind: EventKind;
  readonly details: Readonly<Record<string, unknown>>;
  readonly createdAt: number;
  readonly subject: Subject;
  readonly job: EventJob | null;
}

export interface Subject {
  readonly workspaceId: string;
  readonly workspaceName: string;
  readonly connectionId: string;
  readonly document: ConnectionDocument;
  readonly source: { readonly id: string; readonly name: string };
  readonly destination: { readonly id: string; readonly name: string };
}

export interface EventJob {
  readonly id: number;
  readonly status: string;
  readonly configType: string;
  readonly startedAt: number;
  readonly endedAt: number;
  readonly failures: readonly FailureReason[];
  readonly streamStats: readonly StreamStats[];
  /** Failed jobs in a row up to this one; of a successful one, those before it. */
  readonly failedInARow: number;
}

/** In the caller's transaction: a fact without its event, or an event without its fact, is neither. */
export async function recordEvent(tx: Queryable, event: NewEvent): Promise<void> {
  await tx.query(
    `INSERT INTO headrace.event (kind, connection_id, job_id, details) VALUES ($1, $2, $3, $4::json)`,
    [event.kind, event.connectionId, event.jobId ?? null, JSON.stringify(event.details ?? {})],
  );
}

export const SUBJECT = `json_build_object('workspaceId', w.id, 'workspaceName', w.name,
  'connectionId', c.id, 'document', c.document,
  'source', json_build_object('id', s.id, 'name', s.name),
  'destination', json_build_object('id', d.id, 'name', d.name))`;

export const SUBJECT_TABLES = `headrace.connection c
  JOIN headrace.workspace w ON w.id = c.workspace_id
  JOIN headrace.actor s ON s.id = c.source_id
  JOIN headrace.actor d ON d.id = c.destination_id`;

const FAILED_IN_A_ROW = `(
  SELECT count(*) FROM headrace.job f
  WHERE f.connection_id = j.connection_id AND f.status = 'failed' AND f.id <= j.id
    AND f.id > coalesce((SELECT max(k.id) FROM headrace.job k
      WHERE k.connection_id = j.connection_id AND k.status = 'succeeded' AND k.id < j.id), 0))`;

/** Oldest first. */
export function readEvents(database: Queryable, limit: number): Promise<StoredEvent[]> {
  return database.query<StoredEvent>(
    `SELECT e.id, e.kind, e.details, e.created_at AS "createdAt", ${SUBJECT} AS subject,
       CASE WHEN j.id IS NULL THEN NULL ELSE json_build_object('id', j.id, 'status', j.status,
         'configType', j.config_type, 'startedAt', coalesce(j.started_at, j.created_at),
         'endedAt', coalesce(a.ended_at, j.updated_at), 'failures', a.failures,
         'streamStats', a.stream_stats, 'failedInARow', ${FAILED_IN_A_ROW}) END AS job
     FROM headrace.event e
       JOIN ${SUBJECT_TABLES} ON c.id = e.connection_id
       LEFT JOIN headrace.job j ON j.id = e.job_id
       LEFT JOIN headrace.attempt a ON a.job_id = j.id AND a.number = j.attempt
     ORDER BY e.id LIMIT $1`,
    [limit],
  );
}
