import { describe, expect, it } from 'vitest';
import { loadSettings } from '../../../../core/config/settings.ts';
import { failureReason } from '../../../../core/store/failure-reason.ts';
import {
  isWorthRetrying,
  jobPolicy,
  streakVerdict,
} from '../../../../services/scheduler/job-policy.ts';
import { stageShares } from '../../../../services/scheduler/job-stages.ts';

const DAY_MS = 24 * 3_600_000;

describe('job policy', () => {
  it("reads Airbyte's names where ours are not set", () => {
    const policy = jobPolicy(loadSettings({ SYNC_JOB_MAX_ATTEMPTS: '5' }));
    expect(policy.maxAttempts).toBe(5);
    const both = { SYNC_JOB_MAX_ATTEMPTS: '5', HEADRACE_JOB_MAX_ATTEMPTS: '2' };
    expect(jobPolicy(loadSettings(both)).maxAttempts).toBe(2);
    expect(() => loadSettings({ SYNC_JOB_MAX_ATTEMPTS: 'many' })).toThrow('SYNC_JOB_MAX_ATTEMPTS');
  });

  it('waits longer after each failed attempt, ten minutes at most', () => {
    const { retryInMs } = jobPolicy(loadSettings({}));
    expect([1, 2, 3, 50].map(retryInMs)).toEqual([10_000, 20_000, 40_000, 600_000]);
  });

  it('tries again only what may pass, all of it', () => {
    const passing = failureReason('SRC_UNREACHABLE', 'no answer');
    const standing = failureReason('SRC_SLOT_MISSING', 'gone');
    expect(isWorthRetrying([passing])).toBe(true);
    expect(isWorthRetrying([passing, standing])).toBe(false);
    expect(isWorthRetrying([])).toBe(false);
  });

  it.each([
    [{ count: 49, forMs: 0 }, 'go on'],
    [{ count: 50, forMs: 0 }, 'warn'],
    [{ count: 2, forMs: 7 * DAY_MS }, 'warn'],
    [{ count: 100, forMs: 0 }, 'disable'],
    [{ count: 2, forMs: 14 * DAY_MS }, 'disable'],
  ] as const)('%o is to %s', (streak, verdict) => {
    expect(streakVerdict(jobPolicy(loadSettings({})), streak)).toBe(verdict);
  });

  it('never switches off when both limits are 0', () => {
    const off = { disableAfterJobs: 0, disableAfterMs: 0 };
    expect(streakVerdict(off, { count: 1e6, forMs: 1e15 })).toBe('go on');
  });

  it('says nothing about the stages when nothing was measured', () => {
    expect(stageShares({})).toBe('');
    expect(stageShares({ read: 0, write: 0 })).toBe('');
  });
});
