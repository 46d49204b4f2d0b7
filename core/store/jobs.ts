import { PipelineError } from '../errors/pipeline-error.ts';
import { isReadByJob, selectedStreams, type ConnectionDocument } from './connection-document.ts';
import type { Database, Queryable } from './database.ts';
import { violates } from './errors.ts';
import {
  cancelOpenJob,
  cancelled,
  endAttempt,
  endJob,
  insertJob,
  JOB,
  nextAttempt,
  OPEN,
  pruneJobs,
} from './job-changes.ts';
import { queryMany } from './many-rows.ts';
import { notFound } from './workspaces.ts';

export type JobStatus = 'pending' | 'running' | 'incomplete' | 'failed' | 'succeeded' | 'cancelled';

export interface JobStream {
  readonly name: string;
  readonly namespace?: string;
}

/** Emitted: handed to the destination; committed: durable in it. */
export interface StreamStats {
  readonly streamName: string;
  readonly streamNamespace?: string;
  readonly stats: {
    readonly recordsEmitted: number;
    readonly bytesEmitted: number;
    readonly recordsCommitted: number;
    readonly bytesCommitted: number;
  };
  /** Values that became NULL because their column cannot hold them, by field; absent where there were
   * none. Our own. */
  readonly nulledValues?: Readonly<Record<string, number>>;
}

/** Where an attempt's time went, in milliseconds by stage: read, encode, kafka, write. */
export type StageMs = Readonly<Record<string, number>>;

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
  /** Number of the newest attempt, from 0. */
  readonly attempt: number;
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
  readonly stageMs: StageMs;
  readonly failures: readonly FailureReason[];
  readonly createdAt: number;
  readonly updatedAt: number;
  readonly endedAt: number | null;
}

export interface JobFilter {
  readonly configTypes: readonly string[];
  readonly connectionId: string | null;
  readonly limit: number;
  readonly offset: number;
  readonly status?: string | undefined;
  /** Epoch milliseconds. */
  readonly createdFrom?: number | undefined;
  readonly createdTo?: number | undefined;
  readonly oldestFirst?: boolean;
}

export interface ListedJob {
  readonly id: number;
  readonly settled: boolean;
}

const ATTEMPT = `job_id AS "jobId", number, status, stream_stats AS "streamStats",
  stage_ms AS "stageMs", failures, created_at AS "createdAt", updated_at AS "updatedAt",
  ended_at AS "endedAt"`;

/** Sync jobs. A job has an attempt, number 0, from its first moment on: orchestrators read it at
 * once. */
export class Jobs {
  private readonly database: Database;

  constructor(database: Database) {
    this.database = database;
  }

  /** `slot`: the time on the connection's timetable that it is started for. Throws
   * JOB_CONNECTION_INACTIVE, JOB_ALREADY_RUNNING and, for a slot that had its job, JOB_SLOT_TAKEN. */
  create(
    connectionId: string,
    streams: readonly JobStream[],
    slot: number | null = null,
  ): Promise<Job> {
    return this.insert(connectionId, (tx) => insertJob(tx, connectionId, 'sync', streams, slot));
  }

  /**
   * A job that has the streams copied anew from their source. What ran is cancelled: a sync that a
   * stopped stream holds up must not hold up what mends it. The wish lies in the store until another
   * one replaces it, so no crash can lose it: with the source for streams of its log, whose capture
   * is shared, and in the job itself for streams that jobs read. Throws JOB_CONNECTION_INACTIVE.
   */
  createReset(connectionId: string, streams: readonly JobStream[]): Promise<Job> {
    return this.insert(connectionId, async (tx) => {
      await cancelOpenJob(tx, connectionId);
      const job = await insertJob(tx, connectionId, 'reset_connection', streams, null);
      for (const { namespace = '', name } of await logged(tx, connectionId, streams)) {
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
      if (violates(error, 'job_one_per_slot')) {
        throw new PipelineError('JOB_SLOT_TAKEN', `this run of ${connectionId} was started before`);
      }
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
  async list(filter: JobFilter): Promise<{ jobs: Job[]; total: number }> {
    const { rows, total } = await this.page<Job>(JOB, filter);
    return { jobs: rows, total };
  }

  /** The jobs of `list` by id. A settled one has ended and never changes any more; one that a change
   * of a schema is told with may have been told with it after its end. */
  async listed(filter: JobFilter): Promise<{ jobs: ListedJob[]; total: number }> {
    const settled = `status NOT IN ${OPEN} AND NOT EXISTS (
      SELECT FROM headrace.schema_change s WHERE s.job_id = job.id)`;
    const { rows, total } = await this.page<ListedJob>(`id, ${settled} AS settled`, filter);
    return { jobs: rows, total };
  }

  /** Without those that are not there. */
  async among(ids: readonly number[]): Promise<Job[]> {
    if (ids.length === 0) return [];
    return queryMany<Job>(
      this.database,
      `SELECT ${JOB} FROM headrace.job WHERE id = ANY($1::bigint[])`,
      [ids],
    );
  }

  private async page<Row extends object>(
    columns: string,
    filter: JobFilter,
  ): Promise<{ rows: Row[]; total: number }> {
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
    const rows = await queryMany<Row>(
      this.database,
      `SELECT ${columns} FROM headrace.job WHERE ${where} ORDER BY id ${order} LIMIT $6 OFFSET $7`,
      [...match, filter.limit, filter.offset],
    );
    const isLastPage = rows.length > 0 && rows.length < filter.limit;
    if (isLastPage) return { rows, total: filter.offset + rows.length };
    const [count] = await this.database.query<{ total: number }>(
      `SELECT count(*)::int AS total FROM headrace.job WHERE ${where}`,
      match,
    );
    return { rows, total: count?.total ?? 0 };
  }

  async last(connectionId: string): Promise<Job | null> {
    const configTypes = ['sync', 'reset_connection'];
    const { jobs } = await this.list({ configTypes, connectionId, limit: 1, offset: 0 });
    return jobs[0] ?? null;
  }

  /** The newest job of each of these connections; one that never ran has none. */
  newest(connectionIds: readonly string[]): Promise<Job[]> {
    return queryMany<Job>(
      this.database,
      `SELECT DISTINCT ON (connection_id) ${JOB} FROM headrace.job
       WHERE connection_id = ANY($1::uuid[]) ORDER BY connection_id, id DESC`,
      [connectionIds],
    );
  }

  /** In order of job and attempt. */
  attempts(jobIds: readonly number[]): Promise<Attempt[]> {
    return queryMany<Attempt>(
      this.database,
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

  async log(id: number, attempt: number, line: string): Promise<void> {
    await this.database.query(
      `INSERT INTO headrace.job_log (job_id, attempt, line) VALUES ($1, $2, $3)`,
      [id, attempt, `${new Date().toISOString()} ${line}`],
    );
  }

  /** Notes of a job that goes on. */
  async saveProgress(
    id: number,
    progress: object,
    figures: { readonly streamStats: readonly StreamStats[]; readonly stageMs: StageMs },
  ): Promise<void> {
    await this.database.transaction(async (tx) => {
      const open = await tx.query(
        `UPDATE headrace.job SET progress = $2::json, updated_at = headrace.now_ms()
         WHERE id = $1 AND status IN ${OPEN} RETURNING id`,
        [id, JSON.stringify(progress)],
      );
      if (open.length === 0) return;
      await tx.query(
        `UPDATE headrace.attempt SET stream_stats = $2::json, stage_ms = $3::json,
           updated_at = headrace.now_ms()
         WHERE job_id = $1 AND status = 'running'`,
        [id, JSON.stringify(figures.streamStats), JSON.stringify(figures.stageMs)],
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

  /** Ends the attempt but not the job, which waits for its next one. False as of `finish`. */
  failAttempt(id: number, failures: readonly FailureReason[], retryInMs: number): Promise<boolean> {
    return this.database.transaction((tx) => endAttempt(tx, id, failures, retryInMs));
  }

  /** Begins the next attempt of a job whose wait is over; false before. */
  beginNextAttempt(id: number): Promise<boolean> {
    return this.database.transaction((tx) => nextAttempt(tx, id));
  }

  /** Failed jobs since the last one that succeeded, cancelled ones left out; `since` is when the
   * oldest of them began (epoch milliseconds), null when there are none. */
  async failureStreak(connectionId: string): Promise<{ count: number; since: number | null }> {
    const [row] = await this.database.query<{ count: number; since: number | null }>(
      `SELECT count(*)::int AS count, min(created_at) AS since FROM headrace.job
       WHERE connection_id = $1 AND status = 'failed' AND id > coalesce((
         SELECT max(id) FROM headrace.job WHERE connection_id = $1 AND status = 'succeeded'), 0)`,
      [connectionId],
    );
    return row ?? { count: 0, since: null };
  }

  /** Forgets jobs that ended longer ago than this, with their attempts and logs; each connection's
   * newest one stays, for its schedule counts from it. Answers how many. */
  prune(olderThanMs: number): Promise<number> {
    return this.database.transaction((tx) => pruneJobs(tx, olderThanMs));
  }

  /** No effect on a job that has ended. */
  async cancel(id: number): Promise<void> {
    await this.database.transaction((tx) => endJob(tx, id, cancelled()));
  }
}

/** Those that are captured from the source's log. */
async function logged(
  tx: Queryable,
  connectionId: string,
  streams: readonly JobStream[],
): Promise<JobStream[]> {
  const [row] = await tx.query<{ document: ConnectionDocument }>(
    `SELECT document FROM headrace.connection WHERE id = $1`,
    [connectionId],
  );
  const read = row === undefined ? [] : selectedStreams(row.document).filter(isReadByJob);
  return streams.filter(
    ({ name, namespace = '' }) =>
      !read.some(({ stream }) => stream.name === name && (stream.namespace ?? '') === namespace),
  );
}
