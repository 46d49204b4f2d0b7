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
    const remaining = whatRemains(policy, count, forMs);
    return store.connections.warn(connectionId, { failedJobs: count, remaining });
  }
  const days = Math.floor(forMs / DAY_MS);
  const reason =
    `switched off after ${count} failed jobs in a row over ${days} days. Its source's slot is kept, ` +
    "and the source's server keeps its log, until the connection is active again or deleted.";
  if (!(await store.connections.switchOff(connectionId, reason))) return;
  logger.error({ connection: connectionId, failedJobs: count }, 'connection switched off');
}

function whatRemains(policy: JobPolicy, count: number, forMs: number): string {
  const { disableAfterJobs, disableAfterMs } = policy;
  const jobs = `${Math.max(1, disableAfterJobs - count)} more failed jobs`;
  const days = `${Math.max(1, Math.ceil((disableAfterMs - forMs) / DAY_MS))} more days of failures`;
  const limits = [...(disableAfterJobs > 0 ? [jobs] : []), ...(disableAfterMs > 0 ? [days] : [])];
  return `${count} syncs in a row have failed; ${limits.join(' or ')} switch it off.`;
}
