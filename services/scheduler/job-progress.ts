import type { FailureReason, StageMs } from '../../core/store/jobs.ts';
import type { Unread } from './barrier.ts';
import type { StreamFigures } from './job-figures.ts';
import type { SeenStages } from './job-stages.ts';

/**
 * How far a job has come, stored with it: whoever takes the job up goes on from here.
 * `position` null: the source has not been asked yet; `targets` null: not everything is captured.
 */
export interface JobProgress {
  readonly position: string | null;
  /** When the attempt began, epoch milliseconds. */
  readonly begunAt: number;
  /** Version of the source's work that was asked: another server's positions are its own. */
  readonly askedOf: string | null;
  readonly targets: Readonly<Record<string, number>> | null;
  readonly figures: readonly StreamFigures[];
  readonly stageMs: StageMs;
  readonly seenStages: SeenStages;
  /** The job fails for these once the rest is durable. */
  readonly unread: Unread;
  readonly flushedAt: number;
  readonly logged: { readonly kind: string; readonly at: number; readonly why: string };
  /** Something does not answer: since when, when it was last met, and what. */
  readonly failing: {
    readonly since: number;
    readonly last: number;
    readonly cause: FailureReason;
  } | null;
}

export const NOT_BEGUN: JobProgress = {
  position: null,
  begunAt: 0,
  askedOf: null,
  targets: null,
  figures: [],
  stageMs: {},
  seenStages: {},
  unread: { streams: [], failures: [] },
  flushedAt: 0,
  logged: { kind: '', at: 0, why: 'nothing was tried' },
  failing: null,
};
