import type { FailureReason } from '../../core/store/jobs.ts';

const DAY_MS = 24 * 3_600_000;
const FIRST_RETRY_MS = 10_000;
const LONGEST_RETRY_MS = 600_000;

/** When an attempt gives up, a job fails and a connection is switched off; 0 switches off the three
 * last ones. docs/jobs.md explains it. */
export interface JobPolicy {
  readonly maxAttempts: number;
  /** How long a server that does not answer is waited for in one attempt. */
  readonly patienceMs: number;
  readonly maxJobMs: number;
  readonly historyMs: number;
  readonly disableAfterJobs: number;
  readonly disableAfterMs: number;
  retryInMs(failedAttempts: number): number;
}

export interface JobPolicySettings {
  readonly jobMaxAttempts: number;
  readonly jobMaxDays: number;
  readonly jobPatienceSeconds: number;
  readonly jobHistoryDays: number;
  readonly disableAfterFailedJobs: number;
  readonly disableAfterFailedDays: number;
}

export function jobPolicy(settings: JobPolicySettings): JobPolicy {
  return {
    maxAttempts: settings.jobMaxAttempts,
    patienceMs: settings.jobPatienceSeconds * 1000,
    maxJobMs: settings.jobMaxDays * DAY_MS,
    historyMs: settings.jobHistoryDays * DAY_MS,
    disableAfterJobs: settings.disableAfterFailedJobs,
    disableAfterMs: settings.disableAfterFailedDays * DAY_MS,
    retryInMs: (failed) => Math.min(LONGEST_RETRY_MS, FIRST_RETRY_MS * 2 ** (failed - 1)),
  };
}

/** Another attempt helps only when all that failed may pass by itself. */
export function isWorthRetrying(failures: readonly FailureReason[]): boolean {
  return failures.length > 0 && failures.every((failure) => failure.retryable);
}

export type StreakVerdict = 'go on' | 'warn' | 'disable';

/** What a row of failed jobs means for its connection: half of a limit warns, once. */
export function streakVerdict(
  policy: Pick<JobPolicy, 'disableAfterJobs' | 'disableAfterMs'>,
  streak: { readonly count: number; readonly forMs: number },
): StreakVerdict {
  const reached = (share: number): boolean =>
    (policy.disableAfterJobs > 0 && streak.count >= Math.ceil(policy.disableAfterJobs * share)) ||
    (policy.disableAfterMs > 0 && streak.forMs >= policy.disableAfterMs * share);
  if (reached(1)) return 'disable';
  return reached(0.5) ? 'warn' : 'go on';
}
