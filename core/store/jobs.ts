import { PipelineError } from '../errors/pipeline-error.ts';
import type { Database, Queryable } from './database.ts';
import { violates } from './errors.ts';
import { notFound } from './workspaces.ts';

export type JobStatus = 'pending' | 'running' | 'incomplete' | 'failed' | 'succeeded' | 'cancelled';

export interface JobStream {
  readonly name: string;
  readonly namespace?: string;
}

export interface StreamStats {
  readonly streamName: string;
  readonly streamNamespace?: string;
  readonly stats: { readonly recordsCommitted: number; readonly bytesCommitted: number };
}

/** Airbyte's FailureReason; `timestamp` in milliseconds. */
export interface FailureReason {
  readonly failureOrigin: string;
  readonly failureType: string;
  readonly externalMessage: string;
  readonly internalMessage: string;
  readonly retryable: boolean;
  readonly timestamp: number;
}

export interface Job {
  readonly id: number;
  readonly connectionId: string;
  readonly configType: string;
  readonly status: JobStatus;
  readonly streams: readonly JobStream[];
  /** The scheduler's own notes, so that another one can go on with the job. */
  readonly progress: Record<string, unknown> | null;
  /** Epoch milliseconds, as all times of jobs and attempts. */
  readonly createdAt: number;
  readonly updatedAt: number;
  readonly startedAt: number | null;
}

export interface Attempt {
  readonly jobId: number;
  readonly number: number;
  readonly status: 'running' | 'failed' | 'succeeded';
  readonly streamStats: readonly StreamStats[];
  readonly failures: readonly FailureReason[];
  readonly createdAt: number;
  readonly updatedAt: number;
  readonly endedAt: number | null;
}

const OPEN = `('pending', 'running', 'incomplete')`;
const JOB = `id, connection_id AS "connectionId", config_type AS "configType", status, streams,
  progress, created_at AS "createdAt", updated_at AS "updatedAt", started_at AS "startedAt"`;
const ATTEMPT = `job_id AS "jobId", number, status, stream_stats AS "streamStats", failures,
  created_at AS "createdAt", updated_at AS "updatedAt", ended_at AS "endedAt"`;

/** Sync jobs. A job has one attempt, number 0, from its first moment on: orchestrators read it at
 * once, and what Airbyte does by another attempt the pipeline's own retries do. */
export class Jobs {
  private readonly database: Database;

  constructor(database: Database) {
    this.database = database;
  }

  /** Throws JOB_CONNECTION_INACTIVE and JOB_ALREADY_RUNNING. */
  create(connectionId: string, streams: readonly JobStream[]): Promise<Job> {
    return this.insert(connectionId, (tx) => insertJob(tx, connectionId, 'sync', streams));
  }

  /**
   * A job that has the streams copied anew from their source. What ran is cancelled: a sync that a
   * stopped stream holds up must not hold up what mends it. The wish lies in the store until another
   * one replaces it, so no crash can lose it. Throws JOB_CONNECTION_INACTIVE.
   */
  createReset(connectionId: string, streams: readonly JobStream[]): Promise<Job> {
    return this.insert(connectionId, async (tx) => {
      await cancelOpenJob(tx, connectionId);
      const job = await insertJob(tx, connectionId, 'reset_connection', streams);
      for (const { namespace = '', name } of streams) {
        await tx.query(
          `INSERT INTO headrace.stream_copy (actor_id, namespace, name, copy)
           SELECT source_id, $2, $3, $4 FROM headrace.connection WHERE id = $1
           ON CONFLICT (actor_id, namespace, name) DO UPDATE SET copy = excluded.copy`,
          [connectionId, namespace, name, String(job.id)],
        );
      }
      return job;
    });
  }

  private async insert(connectionId: string, work: (tx: Queryable) => Promise<Job>): Promise<Job> {
    try {
      return await this.database.transaction(work);
    } catch (error) {
      if (!violates(error, 'job_one_open')) throw error;
      throw new PipelineError(
        'JOB_ALREADY_RUNNING',
        `A sync is already running for: ${connectionId}`,
        { details: { id: connectionId } },
      );
    }
  }

  /** Throws API_NOT_FOUND. */
  async get(id: number): Promise<Job> {
    const [found] = await this.database.query<Job>(
      `SELECT ${JOB} FROM headrace.job WHERE id = $1`,
      [id],
    );
    if (found === undefined) throw notFound('job', id);
    return found;
  }

  /** Newest first; `total` counts all matches. */
  async list(filter: {
    configTypes: readonly string[];
    connectionId: string | null;
    limit: number;
    offset: number;
    status?: string | undefined;
    /** Epoch milliseconds. */
    createdFrom?: number | undefined;
    createdTo?: number | undefined;
    oldestFirst?: boolean;
  }): Promise<{ jobs: Job[]; total: number }> {
    const where = `config_type = ANY($1::text[]) AND ($2::uuid IS NULL OR connection_id = $2::uuid)
      AND ($3::text IS NULL OR status = $3::text)
      AND created_at BETWEEN $4::bigint AND $5::bigint`;
    const match = [
      filter.configTypes,
      filter.connectionId,
      filter.status ?? null,
      filter.createdFrom ?? 0,
      filter.createdTo ?? Number.MAX_SAFE_INTEGER,
    ];
    const order = filter.oldestFirst === true ? 'ASC' : 'DESC';
    const jobs = await this.database.query<Job>(
      `SELECT ${JOB} FROM headrace.job WHERE ${where} ORDER BY id ${order} LIMIT $6 OFFSET $7`,
      [...match, filter.limit, filter.offset],
    );
    const [count] = await this.database.query<{ total: number }>(
      `SELECT count(*)::int AS total FROM headrace.job WHERE ${where}`,
      match,
    );
    return { jobs, total: count?.total ?? 0 };
  }

  async last(connectionId: string): Promise<Job | null> {
    const configTypes = ['sync', 'reset_connection'];
    const { jobs } = await this.list({ configTypes, connectionId, limit: 1, offset: 0 });
    return jobs[0] ?? null;
  }

  /** In order of job and attempt. */
  attempts(jobIds: readonly number[]): Promise<Attempt[]> {
    return this.database.query<Attempt>(
      `SELECT ${ATTEMPT} FROM headrace.attempt WHERE job_id = ANY($1::bigint[])
       ORDER BY job_id, number`,
      [jobIds],
    );
  }

  /** The last `limit` lines of an attempt's log, oldest first. */
  async logLines(jobId: number, attempt: number, limit: number): Promise<string[]> {
    const rows = await this.database.query<{ line: string }>(
      `SELECT line FROM headrace.job_log WHERE job_id = $1 AND attempt = $2
       ORDER BY line_no DESC LIMIT $3`,
      [jobId, attempt, limit],
    );
    return rows.map((row) => row.line).toReversed();
  }

  /** Jobs that have not ended, oldest first: the scheduler's work. */
  open(): Promise<Job[]> {
    return this.database.query<Job>(
      `SELECT ${JOB} FROM headrace.job WHERE status IN ${OPEN} ORDER BY id`,
    );
  }

  async start(id: number): Promise<void> {
    await this.database.query(
      `UPDATE headrace.job SET status = 'running', started_at = coalesce(started_at, headrace.now_ms()),
         updated_at = headrace.now_ms() WHERE id = $1 AND status IN ${OPEN}`,
      [id],
    );
  }

  async log(id: number, line: string): Promise<void> {
    await this.database.query(
      `INSERT INTO headrace.job_log (job_id, attempt, line) VALUES ($1, 0, $2)`,
      [id, `${new Date().toISOString()} ${line}`],
    );
  }

  /** Notes of a job that goes on. */
  async saveProgress(
    id: number,
    progress: object,
    streamStats: readonly StreamStats[],
  ): Promise<void> {
    await this.database.transaction(async (tx) => {
      const open = await tx.query(
        `UPDATE headrace.job SET progress = $2::json, updated_at = headrace.now_ms()
         WHERE id = $1 AND status IN ${OPEN} RETURNING id`,
        [id, JSON.stringify(progress)],
      );
      if (open.length === 0) return;
      await tx.query(
        `UPDATE headrace.attempt SET stream_stats = $2::json, updated_at = headrace.now_ms()
         WHERE job_id = $1`,
        [id, JSON.stringify(streamStats)],
      );
    });
  }

  /** Answers false when it had ended otherwise, a cancel for example, which then stands. */
  finish(
    id: number,
    end: { status: 'succeeded' | 'failed'; failures: readonly FailureReason[] },
  ): Promise<boolean> {
    return this.database.transaction((tx) => endJob(tx, id, end));
  }

  /** No effect on a job that has ended. */
  async cancel(id: number): Promise<void> {
    await this.database.transaction((tx) => endJob(tx, id, cancelled()));
  }
}

async function insertJob(
  tx: Queryable,
  connectionId: string,
  configType: 'sync' | 'reset_connection',
  streams: readonly JobStream[],
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
    `INSERT INTO headrace.job (connection_id, config_type, status, streams)
     VALUES ($1, $3, 'pending', $2::json) RETURNING ${JOB}`,
    [connectionId, JSON.stringify(streams), configType],
  );
  const job = rows[0] as Job;
  await tx.query(
    `INSERT INTO headrace.attempt (job_id, number, status) VALUES ($1, 0, 'running')`,
    [job.id],
  );
  return job;
}

/** For a connection that is deleted or switched off. */
export async function cancelOpenJob(tx: Queryable, connectionId: string): Promise<void> {
  const open = await tx.query<{ id: number }>(
    `SELECT id FROM headrace.job WHERE connection_id = $1 AND status IN ${OPEN}`,
    [connectionId],
  );
  for (const job of open) await endJob(tx, job.id, cancelled());
}

interface JobEnd {
  readonly status: 'succeeded' | 'failed' | 'cancelled';
  readonly failures: readonly FailureReason[];
}

function cancelled(): JobEnd {
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

async function endJob(tx: Queryable, id: number, end: JobEnd): Promise<boolean> {
  const ended = await tx.query(
    `UPDATE headrace.job SET status = $2, updated_at = headrace.now_ms()
     WHERE id = $1 AND status IN ${OPEN} RETURNING id`,
    [id, end.status],
  );
  if (ended.length === 0) return false;
  await tx.query(
    `UPDATE headrace.attempt SET status = $2, failures = $3::json, updated_at = headrace.now_ms(),
       ended_at = headrace.now_ms() WHERE job_id = $1 AND status = 'running'`,
    [id, end.status === 'succeeded' ? 'succeeded' : 'failed', JSON.stringify(end.failures)],
  );
  return true;
}
