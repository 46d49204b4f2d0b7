import { toPipelineError, type PipelineError } from '../../core/errors/pipeline-error.ts';
import { metrics } from '../../core/observe/metrics.ts';
import { resourceNotes } from '../../core/config/connection-resources.ts';
import type { Logger } from '../../core/observe/logger.ts';
import { failureReason } from '../../core/store/failure-reason.ts';
import type { FailureReason, Job } from '../../core/store/jobs.ts';
import type {
  ConnectionReport,
  ConnectionWork,
  SourceReport,
  SourceWork,
  Work,
} from '../../core/store/work.ts';
import type { TimedReport } from '../../core/store/worker-store.ts';
import type { Connectors } from '../../connectors/registry.ts';
import {
  deliveryVerdict,
  failuresSince,
  isAmong,
  RETRY_GRACE_MS,
  standingFailures,
  topicsOf,
  topicsVerdict,
  type Verdict,
} from './barrier.ts';
import { addFigures, firstFigures, streamStats } from './job-figures.ts';
import { afterFailedJob } from './failing-connection.ts';
import { noteDifferences } from './schema-watch.ts';
import { runHooks, type HookOptions } from './hooks.ts';
import { NOT_BEGUN, type JobProgress } from './job-progress.ts';
import { memoryDeaths } from './out-of-memory.ts';
import { isWorthRetrying, type JobPolicy } from './job-policy.ts';
import {
  sourceSideOf,
  sourceSideReport,
  sourceSideVerdict,
  type SourceSide,
} from './source-side.ts';
import { addStages, stageShares, type SeenStages } from './job-stages.ts';

const FLUSH_AGAIN_MS = 10_000;
const LOG_AGAIN_MS = 60_000;

export interface SyncJobOptions extends HookOptions {
  readonly connectors: Connectors;
  readonly logger: Logger;
  readonly policy: JobPolicy;
  /** Ends of all partitions of these topics as a committed reader sees them: "topic:partition" to
   * the offset after the last. */
  endOffsets(topics: string[]): Promise<Map<string, number>>;
}

/**
 * One step of a sync, which is a barrier: the job succeeds when everything that was committed at the
 * source before it is durable in the destination, be it captured from a log or read for the job. All
 * state is in the store, so a step can be taken by any scheduler at any time.
 */
export class SyncJob {
  private readonly options: SyncJobOptions;
  private job: Job;
  private progress: JobProgress;

  /** `job` as it stands now: notes of an earlier step that are missing would be made again. */
  constructor(options: SyncJobOptions, job: Job) {
    this.options = options;
    this.job = job;
    this.progress = { ...NOT_BEGUN, ...(job.progress as Partial<JobProgress> | null) };
  }

  async step(work: Work): Promise<void> {
    const report = await this.options.store.work.connectionReport(this.job.connectionId);
    if (this.job.status === 'incomplete' && !(await this.beginAgain(report))) return;
    if (this.job.status === 'pending') await this.begin(report);
    else this.change({ figures: addFigures(this.progress.figures, report) });
    const source = await this.measure(work, report);
    const died = memoryDeaths([source?.report.error, report?.report.error], this.progress.begunAt);
    const verdict: Verdict =
      died.length > 0
        ? { is: 'failed', failures: died }
        : this.outOfPatience(await this.advance(work, report).catch(whatFailed));
    if (verdict.is === 'wait') await this.sayWhy(verdict.kind, verdict.why);
    await this.save();
    if (verdict.is !== 'wait') await noteDifferences(this.options, this.job, report);
    if (verdict.is === 'met') await this.allDelivered();
    if (verdict.is === 'failed') {
      await this.attemptFailed(await this.withStanding(verdict.failures, work, report));
    }
  }

  private allDelivered(): Promise<void> {
    const { failures } = this.progress.unread;
    return failures.length === 0 ? this.finish() : this.attemptFailed(failures);
  }

  /** What runs after a sync is part of it: its failure is the job's. */
  private async finish(): Promise<void> {
    try {
      const deadline = this.job.createdAt + this.options.policy.maxJobMs;
      const isSync = this.job.configType === 'sync';
      if (isSync && (await runHooks(this.options, this.job, deadline)) === 'left') return;
    } catch (thrown) {
      const { code, message } = toPipelineError(thrown);
      return this.attemptFailed([failureReason(code, message)]);
    }
    return this.end('succeeded', []);
  }

  /** With what else stands in the way, so that mending what failed the job is enough. */
  private async withStanding(
    failures: readonly FailureReason[],
    work: Work,
    report: TimedReport<ConnectionReport> | null,
  ): Promise<FailureReason[]> {
    const side = sourceSideOf(work, this.job.connectionId);
    if (side === null) return [...failures];
    const source = await sourceSideReport(this.options.store, side);
    const said = new Set(failures.map((each) => each.externalMessage));
    const standing = standingFailures(side.connection, source?.report, report?.report);
    return [...failures, ...standing.filter((each) => !said.has(each.externalMessage))];
  }

  private async begin(report: TimedReport<ConnectionReport> | null): Promise<void> {
    await this.options.store.jobs.start(this.job.id);
    this.change({ figures: firstFigures(report), begunAt: this.options.clock.now() });
    await this.log(
      this.job.configType === 'sync'
        ? 'job: sync started'
        : 'job: reset started: streams are copied anew',
    );
    const { document } = await this.options.store.connections.get(this.job.connectionId);
    for (const note of resourceNotes(document['resourceRequirements'])) {
      await this.log(`job: ${note}`);
    }
  }

  /** The barrier's mark stays: what was captured and delivered for it need not be again. */
  private async beginAgain(report: TimedReport<ConnectionReport> | null): Promise<boolean> {
    const { store, policy } = this.options;
    if (!(await store.jobs.beginNextAttempt(this.job.id))) return false;
    this.job = await store.jobs.get(this.job.id);
    const { position, askedOf, unread } = this.progress;
    // What could not be read is read again.
    const targets = unread.streams.length > 0 ? null : this.progress.targets;
    const begunAt = this.options.clock.now();
    const figures = firstFigures(report);
    this.progress = { ...NOT_BEGUN, begunAt, position, askedOf, targets, figures };
    await this.log(`job: attempt ${this.job.attempt + 1} of ${policy.maxAttempts}`);
    return true;
  }

  /** Answers the report of the source's side. */
  private async measure(
    work: Work,
    report: TimedReport<ConnectionReport> | null,
  ): Promise<TimedReport<SourceReport> | null> {
    const side = sourceSideOf(work, this.job.connectionId);
    const source = side && (await sourceSideReport(this.options.store, side));
    const now: SeenStages = {
      ...(source?.report.stageMs && { source: source.report.stageMs }),
      ...(report?.report.stageMs && { delivery: report.report.stageMs }),
    };
    const { stageMs, seenStages, targets } = this.progress;
    const spent = addStages(stageMs, seenStages, now, { capturing: targets === null });
    this.change({ stageMs: spent, seenStages: now });
    return source;
  }

  /** What fails is waited for while it may pass; a worker's next try looks well until it fails too. */
  private outOfPatience(verdict: Verdict): Verdict {
    const now = this.options.clock.now();
    const { failing } = this.progress;
    if (verdict.is !== 'wait') return verdict;
    if (verdict.cause === undefined) {
      if (failing !== null && now - failing.last > RETRY_GRACE_MS) this.change({ failing: null });
      return verdict;
    }
    const since = failing?.since ?? now;
    this.change({ failing: { since, last: now, cause: verdict.cause } });
    if (now - since < this.options.policy.patienceMs) return verdict;
    return { is: 'failed', failures: [verdict.cause] };
  }

  private async advance(
    work: Work,
    report: TimedReport<ConnectionReport> | null,
  ): Promise<Verdict> {
    if (this.options.clock.now() - this.job.createdAt > this.options.policy.maxJobMs) {
      return timedOut(this.progress.logged.why);
    }
    const side = sourceSideOf(work, this.job.connectionId);
    if (side === null) {
      return { is: 'wait', kind: 'clean-up', why: 'a deleted source is let go first' };
    }
    if (this.progress.targets === null) {
      if (side.source !== undefined) await this.askPosition(side.source);
      const captured = await this.captured(side, report);
      if (captured.is !== 'met') return captured;
    }
    return this.delivered(side.connection, report);
  }

  /** The barrier's mark. Asked after the request came in, so it is at or past what was committed
   * when it came. */
  private async askPosition(source: SourceWork): Promise<void> {
    const { position: known, askedOf } = this.progress;
    if (known !== null && askedOf === source.version) return;
    const connector = await this.options.connectors.sources.load(source.connector);
    const position = await connector.currentPosition(source.config);
    this.change({ position, askedOf: source.version });
    await this.log(`capture: waiting until the source is read through ${position}`);
  }

  private async captured(
    side: SourceSide,
    report: TimedReport<ConnectionReport> | null,
  ): Promise<Verdict> {
    const { store } = this.options;
    let verdict = await sourceSideVerdict(store, side, this.progress.position, this.since);
    if (verdict.is === 'partly') {
      this.change({ unread: verdict.unread });
      verdict = { is: 'met' };
    }
    // A destination that cannot go on fails the job now, not after a long capture.
    const open = topicsVerdict(this.toDeliver(side.connection), report, this.since);
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

  /** A stream that was never read may have no topic. */
  private toDeliver(connection: ConnectionWork): ConnectionWork {
    const { streams } = this.progress.unread;
    return { ...connection, streams: connection.streams.filter((each) => !isAmong(streams, each)) };
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
      await this.flush();
      this.change({ flushedAt: now });
    }
    return { is: 'wait', kind: 'flush', why: 'destination: everything is read, flushing' };
  }

  private flush(): Promise<void> {
    return this.options.store.work.sendCommand(`connection:${this.job.connectionId}`, 'flush', []);
  }

  private get since(): number {
    return failuresSince(this.job.createdAt, this.options.clock.now());
  }

  private async attemptFailed(failures: readonly FailureReason[]): Promise<void> {
    const { store, policy, logger } = this.options;
    const { id, attempt, connectionId } = this.job;
    // Files of the streams that did not fail are written now, not when they are old enough.
    await this.flush();
    if (attempt + 1 >= policy.maxAttempts || !isWorthRetrying(failures)) {
      return this.end('failed', failures);
    }
    const wait = policy.retryInMs(attempt + 1);
    for (const failure of failures) await this.log(`failed: ${failure.externalMessage}`);
    await this.log(`job: attempt ${attempt + 1} failed; the next one in ${wait / 1000} s`);
    if (!(await store.jobs.failAttempt(id, failures, wait))) return;
    logger.warn({ connection: connectionId, job: id, attempt }, 'attempt failed');
  }

  private async end(
    status: 'succeeded' | 'failed',
    failures: readonly FailureReason[],
  ): Promise<void> {
    const { store, logger } = this.options;
    const { id, connectionId: connection } = this.job;
    for (const failure of failures) await this.log(`failed: ${failure.externalMessage}`);
    const records = this.progress.figures.reduce((sum, { counted }) => sum + counted.records, 0);
    const shares = stageShares(this.progress.stageMs);
    if (shares !== '') await this.log(`job: time by stage: ${shares}`);
    if (status === 'succeeded') await this.log(`job: sync succeeded, ${records} records delivered`);
    if (!(await store.jobs.finish(id, { status, failures }))) return;
    metrics.jobs.inc({ connection, status });
    logger.info({ connection, job: id, status, records }, 'sync ended');
    if (status === 'failed') await afterFailedJob(this.options, connection);
  }

  /** A line when the reason changes, and once a minute while it stays. */
  private async sayWhy(kind: string, why: string): Promise<void> {
    const now = this.options.clock.now();
    const { logged } = this.progress;
    if (kind === logged.kind && now - logged.at < LOG_AGAIN_MS) return;
    this.change({ logged: { kind, at: now, why } });
    await this.log(why);
  }

  private log(line: string): Promise<void> {
    return this.options.store.jobs.log(this.job.id, this.job.attempt, line);
  }

  private change(changes: Partial<JobProgress>): void {
    this.progress = { ...this.progress, ...changes };
  }

  private save(): Promise<void> {
    const { progress } = this;
    return this.options.store.jobs.saveProgress(this.job.id, progress, {
      streamStats: streamStats(progress.figures),
      stageMs: progress.stageMs,
    });
  }
}

/** The source, Kafka or the store did not answer: what passes is waited out, the rest ends the job. */
function whatFailed(thrown: unknown): Verdict {
  const error: PipelineError = toPipelineError(thrown);
  if (error.spec.reaction === 'retry') {
    const cause = failureReason(error.code, error.message);
    return { is: 'wait', kind: error.code, why: `${error.code}: ${error.message}`, cause };
  }
  return { is: 'failed', failures: [failureReason(error.code, error.message)] };
}

function isOf(partitionKey: string, topic: string): boolean {
  return partitionKey.slice(0, partitionKey.lastIndexOf(':')) === topic;
}

function timedOut(lastWait: string): Verdict {
  const message = `the sync did not end in time; what it waited for last: ${lastWait}`;
  return { is: 'failed', failures: [failureReason('JOB_TIMED_OUT', message)] };
}
