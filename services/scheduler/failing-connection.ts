import type { Logger } from '../../core/observe/logger.ts';
import type { Clock } from '../../core/run/clock.ts';
import type { Store } from '../../core/store/store.ts';
import { streakVerdict, type JobPolicy } from './job-policy.ts';

export interface FailingConnectionOptions {
  readonly store: Store;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly policy: JobPolicy;
}

const DAY_MS = 24 * 3_600_000;

/** Switches a connection off whose jobs do nothing but fail; warns when it is half-way there. */
export async function afterFailedJob(
  { store, clock, logger, policy }: FailingConnectionOptions,
  connectionId: string,
): Promise<void> {
  const { count, since } = await store.jobs.failureStreak(connectionId);
  const forMs = since === null ? 0 : clock.now() - since;
  const verdict = streakVerdict(policy, { count, forMs });
  if (verdict === 'go on') return;
  if (verdict === 'warn') {
    logger.warn({ connection: connectionId, failedJobs: count }, 'connection keeps failing');
    return;
  }
  const days = Math.floor(forMs / DAY_MS);
  const reason =
    `switched off after ${count} failed jobs in a row over ${days} days. Its source's slot is kept, ` +
    "and the source's server keeps its log, until the connection is active again or deleted.";
  if (!(await store.connections.switchOff(connectionId, reason))) return;
  logger.error({ connection: connectionId, failedJobs: count }, 'connection switched off');
}
