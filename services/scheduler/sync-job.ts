import { toPipelineError, type PipelineError } from '../../core/errors/pipeline-error.ts';
import { metrics } from '../../core/observe/metrics.ts';
import type { Logger } from '../../core/observe/logger.ts';
import type { Clock } from '../../core/run/clock.ts';
import { failureReason } from '../../core/store/failure-reason.ts';
import type { FailureReason, Job } from '../../core/store/jobs.ts';
import type { Store } from '../../core/store/store.ts';
import type { ConnectionReport, ConnectionWork, SourceWork, Work } from '../../core/store/work.ts';
import type { TimedReport } from '../../core/store/worker-store.ts';
import type { Connectors } from '../../connectors/registry.ts';
import {
  captureVerdict,
  deliveryVerdict,
  failuresSince,
  standingFailures,
  topicsOf,
  topicsVerdict,
  type Verdict,
} from './barrier.ts';
import { addFigures, firstFigures, streamStats, type StreamFigures } from './job-figures.ts';

const MAX_JOB_MS = 3 * 24 * 3_600_000;
const FLUSH_AGAIN_MS = 10_000;
const LOG_AGAIN_MS = 60_000;

export interface SyncJobOptions {
  readonly store: Store;
  readonly connectors: Connectors;
  readonly clock: Clock;
  readonly logger: Logger;
  /** Ends of all partitions of these topics as a committed reader sees them: "topic:partition" to
   * the offset after the last. */
  endOffsets(topics: string[]): Promise<Map<string, number>>;
}

/**
 * How far a job has come, stored with it: whoever takes the job up goes on from here.
 * `position` null: the source has not been asked yet; `targets` null: not everything is captured.
 */
interface Progress {
  readonly position: string | null;
  readonly targets: Readonly<Record<string, number>> | null;
  readonly figures: readonly StreamFigures[];
  readonly flushedAt: number;
  readonly logged: { readonly kind: string; readonly at: number };
}

/**
 * One step of a sync on a continuous connection, which is a barrier: the job succeeds when
 * everything that was committed at the source before it is durable in the destination. All state
 * is in the store, so a step can be taken by any scheduler at any time.
 */
export class SyncJob {
  private readonly options: SyncJobOptions;
  private readonly job: Job;
  private progress: Progress;

  /** `job` as it stands now: notes of an earlier step that are missing would be made again. */
  constructor(options: SyncJobOptions, job: Job) {
    this.options = options;
    this.job = job;
    this.progress = (job.progress as Progress | null) ?? {
      position: null,
      targets: null,
      figures: [],
      flushedAt: 0,
      logged: { kind: '', at: 0 },
    };
  }

  async step(work: Work): Promise<void> {
    const { job, options } = this;
    const report = await options.store.work.connectionReport(job.connectionId);
    if (job.status === 'pending') await this.begin(report);
    else this.change({ figures: addFigures(this.progress.figures, report) });
    const verdict = await this.advance(work, report).catch(whatFailed);
    if (verdict.is === 'wait') await this.sayWhy(verdict.kind, verdict.why);
    await this.save();
    if (verdict.is === 'met') await this.end('succeeded', []);
    if (verdict.is === 'failed') {
      await this.end('failed', await this.withStanding(verdict.failures, work, report));
    }
  }

  /** With what else stands in the way, so that mending what failed the job is enough. */
  private async withStanding(
    failures: readonly FailureReason[],
    work: Work,
    report: TimedReport<ConnectionReport> | null,
  ): Promise<FailureReason[]> {
    const connection = work.connections.find((c) => c.connectionId === this.job.connectionId);
    if (connection === undefined) return [...failures];
    const source = await this.options.store.work.sourceReport(connection.sourceId);
    const said = new Set(failures.map((each) => each.externalMessage));
    const standing = standingFailures(connection, source?.report, report?.report);
    return [...failures, ...standing.filter((each) => !said.has(each.externalMessage))];
  }

  private async begin(report: TimedReport<ConnectionReport> | null): Promise<void> {
    await this.options.store.jobs.start(this.job.id);
    this.change({ figures: firstFigures(report) });
    await this.log(
      this.job.configType === 'sync' ? 'sync started' : 'reset started: streams are copied anew',
    );
  }

  private async advance(
    work: Work,
    report: TimedReport<ConnectionReport> | null,
  ): Promise<Verdict> {
    if (this.options.clock.now() - this.job.createdAt > MAX_JOB_MS) return timedOut();
    const connection = work.connections.find((c) => c.connectionId === this.job.connectionId);
    const source = work.sources.find((each) => each.sourceId === connection?.sourceId);
    if (connection === undefined || source === undefined) {
      return { is: 'wait', kind: 'clean-up', why: 'a deleted source is let go first' };
    }
    const position = this.progress.position ?? (await this.askPosition(source));
    if (this.progress.targets === null) {
      const captured = await this.captured(position, connection, source, report);
      if (captured.is !== 'met') return captured;
    }
    return this.delivered(connection, report);
  }

  /** The barrier's mark. Asked after the request came in, so it is at or past what was committed
   * when it came. */
  private async askPosition(source: SourceWork): Promise<string> {
    const connector = await this.options.connectors.sources.load(source.connector);
    const position = await connector.currentPosition(source.config);
    this.change({ position });
    await this.log(`capture: waiting until the source is read through ${position}`);
    return position;
  }

  private async captured(
    position: string,
    connection: ConnectionWork,
    source: SourceWork,
    report: TimedReport<ConnectionReport> | null,
  ): Promise<Verdict> {
    const sourceReport = await this.options.store.work.sourceReport(source.sourceId);
    const verdict = captureVerdict(position, connection, source, sourceReport, this.since);
    // A destination that cannot go on fails the job now, not after a long capture.
    const open = topicsVerdict(connection, report, this.since);
    if (open.is === 'failed') return open;
    if (verdict.is !== 'met' || open.is !== 'met' || report === null) {
      return verdict.is === 'met' ? open : verdict;
    }
    // Only now: the ends of the topics hold everything up to the position once it is captured.
    const topics = topicsOf(report.report);
    const ends = await this.options.endOffsets(topics);
    // A topic without an end is gone: to go on would promise what nobody can deliver.
    const gone = topics.find((topic) => ![...ends.keys()].some((key) => isOf(key, topic)));
    if (gone !== undefined) return { is: 'wait', kind: 'gone', why: `topic ${gone} is not there` };
    const records = [...ends.values()].reduce((sum, end) => sum + end, 0);
    this.change({ targets: Object.fromEntries(ends) });
    await this.log(
      `deliver: waiting until ${records} offsets in ${ends.size} partitions are durable`,
    );
    return verdict;
  }

  private async delivered(
    connection: ConnectionWork,
    report: TimedReport<ConnectionReport> | null,
  ): Promise<Verdict> {
    const targets = new Map(Object.entries(this.progress.targets ?? {}));
    const verdict = deliveryVerdict(targets, connection, report, this.since);
    if (verdict.is !== 'flush') return verdict;
    const now = this.options.clock.now();
    // Again after a while: a sink that died with the order in hand has lost it.
    if (now - this.progress.flushedAt > FLUSH_AGAIN_MS) {
      await this.options.store.work.sendCommand(
        `connection:${connection.connectionId}`,
        'flush',
        [],
      );
      this.change({ flushedAt: now });
    }
    return { is: 'wait', kind: 'flush', why: 'destination: everything is read, flushing' };
  }

  private get since(): number {
    return failuresSince(this.job.createdAt, this.options.clock.now());
  }

  private async end(
    status: 'succeeded' | 'failed',
    failures: readonly FailureReason[],
  ): Promise<void> {
    const { store, logger } = this.options;
    for (const failure of failures) await this.log(`failed: ${failure.externalMessage}`);
    const records = this.progress.figures.reduce((sum, stream) => sum + stream.records, 0);
    if (status === 'succeeded') await this.log(`sync succeeded, ${records} records delivered`);
    if (!(await store.jobs.finish(this.job.id, { status, failures }))) return;
    const connection = this.job.connectionId;
    metrics.jobs.inc({ connection, status });
    logger.info({ connection, job: this.job.id, status, records }, 'sync ended');
  }

  /** A line when the reason changes, and once a minute while it stays. */
  private async sayWhy(kind: string, why: string): Promise<void> {
    const now = this.options.clock.now();
    const { logged } = this.progress;
    if (kind === logged.kind && now - logged.at < LOG_AGAIN_MS) return;
    this.change({ logged: { kind, at: now } });
    await this.log(why);
  }

  private log(line: string): Promise<void> {
    return this.options.store.jobs.log(this.job.id, line);
  }

  private change(changes: Partial<Progress>): void {
    this.progress = { ...this.progress, ...changes };
  }

  private save(): Promise<void> {
    const { progress } = this;
    return this.options.store.jobs.saveProgress(
      this.job.id,
      progress,
      streamStats(progress.figures),
    );
  }
}

/** The source, Kafka or the store did not answer: what passes is waited out, the rest ends the job. */
function whatFailed(thrown: unknown): Verdict {
  const error: PipelineError = toPipelineError(thrown);
  if (error.spec.reaction === 'retry') {
    return { is: 'wait', kind: error.code, why: `${error.code}: ${error.message}` };
  }
  return { is: 'failed', failures: [failureReason(error.code, error.message)] };
}

function isOf(partitionKey: string, topic: string): boolean {
  return partitionKey.slice(0, partitionKey.lastIndexOf(':')) === topic;
}

function timedOut(): Verdict {
  const failure = failureReason('JOB_TIMED_OUT', 'the sync did not end within three days.');
  return { is: 'failed', failures: [failure] };
}
