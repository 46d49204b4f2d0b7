import type { Attempt, Job, StreamStats } from '../../core/store/jobs.ts';
import {
  STREAM_ADDED,
  STREAM_REMOVED,
  type SchemaChange,
} from '../../core/store/schema-changes.ts';
import type { Store } from '../../core/store/store.ts';

/** Lines of a log that one answer carries; what is older is counted, never left out in silence. */
const LOG_LINES = 1000;

/** Airbyte's JobRead; times in seconds, absent rather than null. */
export function jobRead(job: Job): object {
  return {
    id: job.id,
    configType: job.configType,
    configId: job.connectionId,
    enabledStreams: job.streams,
    createdAt: seconds(job.createdAt),
    updatedAt: seconds(job.updatedAt),
    ...(job.configType === 'reset_connection'
      ? { resetConfig: { streamsToReset: job.streams } }
      : {}),
    ...(job.startedAt === null ? {} : { startedAt: seconds(job.startedAt) }),
    status: job.status,
  };
}

/** What changed in its streams' schemas since the job before: how many times, and Airbyte's
 * catalogDiff. Nothing when nothing did. */
export function schemaChangesRead(changes: readonly SchemaChange[]): object {
  if (changes.length === 0) return {};
  const transforms = changes.map(({ namespace, name, transforms: updateStream, message }) => ({
    transformType: transformType(message, updateStream.length),
    streamDescriptor: namespace === '' ? { name } : { name, namespace },
    ...(updateStream.length === 0 ? { message } : { updateStream }),
  }));
  return { schemaChanges: changes.length, catalogDiff: { transforms } };
}

function transformType(message: string, fields: number): string {
  if (fields > 0) return 'update_stream';
  if (message === STREAM_ADDED) return 'add_stream';
  return message === STREAM_REMOVED ? 'remove_stream' : 'update_stream';
}

/** Airbyte's AttemptRead; `stageMs` (time by stage) is our own. */
export function attemptRead(attempt: Attempt): object {
  const sum = (pick: keyof StreamStats['stats']): number =>
    attempt.streamStats.reduce((total, { stats }) => total + stats[pick], 0);
  const recordsCommitted = sum('recordsCommitted');
  const bytesCommitted = sum('bytesCommitted');
  const emitted = { recordsEmitted: sum('recordsEmitted'), bytesEmitted: sum('bytesEmitted') };
  return {
    id: attempt.number,
    status: attempt.status,
    createdAt: seconds(attempt.createdAt),
    updatedAt: seconds(attempt.updatedAt),
    ...(attempt.endedAt === null ? {} : { endedAt: seconds(attempt.endedAt) }),
    bytesSynced: bytesCommitted,
    recordsSynced: recordsCommitted,
    totalStats: { ...emitted, recordsCommitted, bytesCommitted },
    streamStats: attempt.streamStats,
    stageMs: attempt.stageMs,
    ...(attempt.failures.length === 0
      ? {}
      : { failureSummary: { failures: attempt.failures, partialSuccess: recordsCommitted > 0 } }),
  };
}

/** Airbyte's JobInfoRead: attempts with their logs. */
export async function jobInfo(store: Store, job: Job): Promise<object> {
  const attempts = await store.jobs.attempts([job.id]);
  const wrapped = attempts.map(async (attempt) => ({
    attempt: attemptRead(attempt),
    logs: { logLines: await logLines(store, attempt) },
  }));
  const changes = schemaChangesRead(await store.schemaChanges.ofJobs([job.id]));
  return { job: { ...jobRead(job), ...changes }, attempts: await Promise.all(wrapped) };
}

async function logLines(store: Store, { jobId, number }: Attempt): Promise<string[]> {
  const lines = await store.jobs.logLines(jobId, number, LOG_LINES + 1);
  if (lines.length <= LOG_LINES) return lines;
  return [`(only the last ${LOG_LINES} lines)`, ...lines.slice(-LOG_LINES)];
}

function seconds(milliseconds: number): number {
  return Math.floor(milliseconds / 1000);
}
