import { PipelineError } from '../errors/pipeline-error.ts';
import type { Queryable } from './database.ts';
import { recordEvent } from './events.ts';
import type { FailureReason, Job, JobStream } from './jobs.ts';
import { notFound } from './workspaces.ts';

/** Statements that change a job together with its attempts; each runs in its caller's transaction. */

export const OPEN = `('pending', 'running', 'incomplete')`;
export const JOB = `id, connection_id AS "connectionId", config_type AS "configType", status,
  attempt, streams, progress, created_at AS "createdAt", updated_at AS "updatedAt",
  started_at AS "startedAt"`;

export async function insertJob(
  tx: Queryable,
  connectionId: string,
  configType: 'sync' | 'reset_connection',
  streams: readonly JobStream[],
  slot: number | null,
): Promise<Job> {
  const [connection] = await tx.query<{ status: string }>(
    `SELECT status FROM headrace.connection WHERE id = $1 FOR SHARE`,
    [connectionId],
  );
  if (connection === undefined) throw notFound('connection', connectionId);
  if (connection.status !== 'active') {
    throw new PipelineError(
      'JOB_CONNECTION_INACTIVE',
      `Can only sync an active connection: ${connectionId} is ${connection.status}`,
      { details: { id: connectionId } },
    );
  }
  const rows = await tx.query<Job>(
    `INSERT INTO headrace.job (connection_id, config_type, status, streams, slot)
     VALUES ($1, $3, 'pending', $2::json, $4) RETURNING ${JOB}`,
    [connectionId, JSON.stringify(streams), configType, slot],
  );
  const job = rows[0] as Job;
  await tx.query(
    `INSERT INTO headrace.attempt (job_id, number, status) VALUES ($1, 0, 'running')`,
    [job.id],
  );
  await takeSchemaChanges(tx, job);
  return job;
}

/** Changes that were found since the job before are shown by this one. */
async function takeSchemaChanges(tx: Queryable, { id, connectionId }: Job): Promise<void> {
  await tx.query(
    `WITH taken AS (
       UPDATE headrace.schema_change SET job_id = $1
       WHERE connection_id = $2 AND job_id IS NULL RETURNING id, namespace, name, message)
     INSERT INTO headrace.job_log (job_id, attempt, line)
     SELECT $1, 0, $3 || concat_ws('.', nullif(namespace, ''), name) || ': ' || message
     FROM taken ORDER BY id`,
    [id, connectionId, `${new Date().toISOString()} source: schema change of stream `],
  );
}

/** Writes a line into the log of the connection's open job; answers the job, null when none is open. */
export async function noteInOpenJob(
  tx: Queryable,
  connectionId: string,
  line: string,
): Promise<number | null> {
  const [job] = await tx.query<{ id: number }>(
    `WITH open AS (
       SELECT id, attempt FROM headrace.job WHERE connection_id = $1 AND status IN ${OPEN}),
     noted AS (
       INSERT INTO headrace.job_log (job_id, attempt, line) SELECT id, attempt, $2 FROM open)
     SELECT id FROM open`,
    [connectionId, `${new Date().toISOString()} ${line}`],
  );
  return job?.id ?? null;
}

/** For a connection that is deleted or switched off. */
export async function cancelOpenJob(tx: Queryable, connectionId: string): Promise<void> {
  const open = await tx.query<{ id: number }>(
    `SELECT id FROM headrace.job WHERE connection_id = $1 AND status IN ${OPEN}`,
    [connectionId],
  );
  for (const job of open) await endJob(tx, job.id, cancelled());
}

export interface JobEnd {
  readonly status: 'succeeded' | 'failed' | 'cancelled';
  readonly failures: readonly FailureReason[];
}

export function cancelled(): JobEnd {
  const failure: FailureReason = {
    failureOrigin: 'airbyte_platform',
    failureType: 'manual_cancellation',
    externalMessage: 'The job was cancelled.',
    internalMessage: 'JOB_CANCELLED',
    retryable: false,
    timestamp: Date.now(),
  };
  return { status: 'cancelled', failures: [failure] };
}

/** Answers false for a job that had ended. */
export async function endJob(tx: Queryable, id: number, end: JobEnd): Promise<boolean> {
  const ended = await tx.query<{ connectionId: string }>(
    `UPDATE headrace.job SET status = $2, updated_at = headrace.now_ms(), retry_at = NULL
     WHERE id = $1 AND status IN ${OPEN} RETURNING connection_id AS "connectionId"`,
    [id, end.status],
  );
  const [job] = ended;
  if (job === undefined) return false;
  await tx.query(
    `UPDATE headrace.attempt SET status = $2, failures = $3::json, updated_at = headrace.now_ms(),
       ended_at = headrace.now_ms() WHERE job_id = $1 AND status = 'running'`,
    [id, end.status === 'succeeded' ? 'succeeded' : 'failed', JSON.stringify(end.failures)],
  );
  if (end.status !== 'cancelled') {
    await recordEvent(tx, { kind: 'job', connectionId: job.connectionId, jobId: id });
  }
  return true;
}

export async function endAttempt(
  tx: Queryable,
  id: number,
  failures: readonly FailureReason[],
  retryInMs: number,
): Promise<boolean> {
  const open = await tx.query(
    `UPDATE headrace.job SET status = 'incomplete', updated_at = headrace.now_ms(),
       retry_at = headrace.now_ms() + $2::bigint
     WHERE id = $1 AND status IN ${OPEN} RETURNING id`,
    [id, retryInMs],
  );
  if (open.length === 0) return false;
  await tx.query(
    `UPDATE headrace.attempt SET status = 'failed', failures = $2::json,
       updated_at = headrace.now_ms(), ended_at = headrace.now_ms()
     WHERE job_id = $1 AND status = 'running'`,
    [id, JSON.stringify(failures)],
  );
  return true;
}

export async function nextAttempt(tx: Queryable, id: number): Promise<boolean> {
  const [job] = await tx.query<{ attempt: number }>(
    `UPDATE headrace.job SET status = 'running', attempt = attempt + 1, retry_at = NULL,
       updated_at = headrace.now_ms()
     WHERE id = $1 AND status = 'incomplete' AND retry_at <= headrace.now_ms() RETURNING attempt`,
    [id],
  );
  if (job === undefined) return false;
  await tx.query(
    `INSERT INTO headrace.attempt (job_id, number, status) VALUES ($1, $2, 'running')`,
    [id, job.attempt],
  );
  return true;
}

export async function pruneJobs(tx: Queryable, olderThanMs: number): Promise<number> {
  await tx.query(`DELETE FROM headrace.event WHERE created_at < headrace.now_ms() - $1::bigint`, [
    olderThanMs,
  ]);
  const old = await tx.query<{ id: number }>(
    `SELECT id FROM headrace.job j
     WHERE status NOT IN ${OPEN} AND updated_at < headrace.now_ms() - $1::bigint
       AND id < (SELECT max(id) FROM headrace.job k WHERE k.connection_id = j.connection_id)
     ORDER BY id LIMIT 10000`,
    [olderThanMs],
  );
  const ids = old.map((job) => job.id);
  for (const table of ['job_log', 'attempt']) {
    await tx.query(`DELETE FROM headrace.${table} WHERE job_id = ANY($1::bigint[])`, [ids]);
  }
  await tx.query(
    `DELETE FROM headrace.schema_change WHERE job_id = ANY($1::bigint[]) AND NOT pending`,
    [ids],
  );
  await tx.query(`DELETE FROM headrace.job WHERE id = ANY($1::bigint[])`, [ids]);
  return ids.length;
}
