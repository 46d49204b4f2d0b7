import { toPipelineError } from '../../core/errors/pipeline-error.ts';
import { Backoff } from '../../core/run/backoff.ts';
import { systemClock, type Clock } from '../../core/run/clock.ts';
import type { Service } from '../../core/run/service.ts';
import { selectedStreams } from '../../core/store/connection-document.ts';
import { letGo } from './let-go.ts';
import { SchemaWatch } from './schema-watch.ts';
import { SourceTables } from './source-tables.ts';
import { SyncJob, type SyncJobOptions } from './sync-job.ts';
import { dueAt } from './timetable.ts';

export interface SchedulerOptions extends Omit<SyncJobOptions, 'clock'> {
  /** Name of this process in the lease; one scheduler works at a time. */
  readonly owner: string;
  readonly clock?: Clock;
  /** How often sources are asked for new tables. */
  readonly schemaLookMs: number;
}

const LEASE_TTL_MS = 10_000;
const BUSY_TICK_MS = 200;
const IDLE_TICK_MS = 500;
const DRAIN_MS = 5_000;
const PRUNE_EVERY_MS = 600_000;
const PASSED_OVER = ['JOB_ALREADY_RUNNING', 'JOB_CONNECTION_INACTIVE', 'JOB_SLOT_TAKEN'];

/** Runs sync jobs, starts scheduled ones and lets deleted sources go. */
export function createScheduler(options: SchedulerOptions): Service {
  const scheduler = new Scheduler({ ...options, clock: options.clock ?? systemClock });
  return { name: 'scheduler', run: (signal) => scheduler.run(signal) };
}

class Scheduler {
  private readonly options: SchedulerOptions & SyncJobOptions;
  /** Steps and clean-ups under way: a source that hangs must hold up no other job. */
  private readonly underWay = new Map<string, Promise<void>>();
  private readonly schemas: SchemaWatch;
  private readonly tables: SourceTables;
  private prunedAt = 0;

  constructor(options: SchedulerOptions & SyncJobOptions) {
    this.options = options;
    this.schemas = new SchemaWatch(options.store);
    this.tables = new SourceTables(options);
  }

  async run(signal: AbortSignal): Promise<void> {
    const { clock, store, owner, logger } = this.options;
    const backoff = new Backoff({ firstMs: 200, maxMs: 5_000, clock });
    while (!signal.aborted) {
      try {
        const busy = await this.tick(signal);
        backoff.reset();
        await clock.wait(busy ? BUSY_TICK_MS : IDLE_TICK_MS, signal);
      } catch (error) {
        logger.warn({ err: error, failures: backoff.count }, 'the store does not answer');
        await backoff.wait(signal);
      }
    }
    // A step left behind is harmless: all its state is in the store.
    await Promise.race([
      Promise.all(this.underWay.values()),
      clock.wait(DRAIN_MS, new AbortController().signal),
    ]);
    await store.work.releaseLease('scheduler', owner).catch(() => undefined);
  }

  /** Answers whether a job is open. */
  private async tick(stopping: AbortSignal): Promise<boolean> {
    const { store, owner } = this.options;
    if (!(await store.work.acquireLease('scheduler', owner, LEASE_TTL_MS))) return false;
    await this.startDueJobs();
    for (const cleanup of await store.cleanups.due()) {
      this.start(`cleanup ${cleanup.id}`, () => letGo(this.options, cleanup));
    }
    if (this.options.clock.now() - this.prunedAt > PRUNE_EVERY_MS)
      this.start('prune', () => this.prune());
    this.start('connections', () => this.watchConnections());
    const jobs = await store.jobs.open();
    for (const { id } of jobs) this.start(`job ${id}`, () => this.step(id, stopping));
    return jobs.length > 0;
  }

  /** One reading for both: it brings all reports along and is the largest question to the store. */
  private async watchConnections(): Promise<void> {
    const connections = await this.options.store.monitoring.activeConnections();
    this.start('schemas', () => this.schemas.look(connections));
    this.start('tables', () => this.tables.look(connections));
  }

  /** Reads the job itself: the list may be from before the step that has just ended. */
  private async step(id: number, stopping: AbortSignal): Promise<void> {
    const { store } = this.options;
    const job = await store.jobs.get(id);
    if (!['pending', 'running', 'incomplete'].includes(job.status)) return;
    await new SyncJob({ ...this.options, stopping }, job).step(await store.work.listWork());
  }

  private async startDueJobs(): Promise<void> {
    const { store, clock, logger } = this.options;
    for (const connection of await store.connections.scheduled()) {
      const due = dueAt(connection);
      if (due === null || due > clock.now()) continue;
      const streams = selectedStreams(connection.document).map(({ stream }) => ({
        name: stream.name,
        ...(stream.namespace === undefined ? {} : { namespace: stream.namespace }),
      }));
      try {
        const job = await store.jobs.create(connection.id, streams, due);
        logger.info({ connection: connection.id, job: job.id }, 'scheduled sync');
      } catch (error) {
        // It runs already, was switched off this moment, or another scheduler was first.
        const { code } = toPipelineError(error);
        if (!PASSED_OVER.includes(code)) throw error;
      }
    }
  }

  private async prune(): Promise<void> {
    const { store, policy, clock, logger } = this.options;
    this.prunedAt = clock.now();
    if (policy.historyMs === 0) return;
    const jobs = await store.jobs.prune(policy.historyMs);
    if (jobs > 0) logger.info({ jobs }, 'old jobs forgotten');
  }

  private start(key: string, work: () => Promise<void>): void {
    if (this.underWay.has(key)) return;
    const running = work()
      .catch((error: unknown) => {
        this.options.logger.warn({ err: error, step: key }, 'step failed; it is taken again');
      })
      .finally(() => this.underWay.delete(key));
    this.underWay.set(key, running);
  }
}
