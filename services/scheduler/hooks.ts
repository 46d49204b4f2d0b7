import { PipelineError } from '../../core/errors/pipeline-error.ts';
import { guardedRequest } from '../../core/net/guarded-request.ts';
import type { OutgoingRules } from '../../core/net/outgoing-rules.ts';
import type { Clock } from '../../core/run/clock.ts';
import type { Job } from '../../core/store/jobs.ts';
import type { Operation } from '../../core/store/operations.ts';
import type { Store } from '../../core/store/store.ts';
import { runDbt, type DbtSettings } from './dbt.ts';

export interface HookOptions {
  readonly store: Store;
  readonly clock: Clock;
  readonly rules: OutgoingRules;
  readonly dbt: DbtSettings;
  /** Aborts when this scheduler ends. */
  readonly stopping?: AbortSignal;
}

const WEBHOOK_TIMEOUT_MS = 30_000;
const CANCEL_POLL_MS = 500;

/**
 * What a connection runs after a sync whose data is durable, in the order of its operations, until
 * `deadline` (epoch milliseconds). The first that fails ends it with its error. `left`: the job was
 * cancelled, or this scheduler ends; what ran is stopped, and what it did not finish is no failure.
 * Whoever takes such a job up runs all of them again: an operation may run twice, never not at all.
 */
export async function runHooks(
  options: HookOptions,
  job: Job,
  deadline: number,
): Promise<'done' | 'left'> {
  const { store } = options;
  const connection = await store.connections.get(job.connectionId);
  const operations = await store.operations.among(connection.document.operationIds);
  if (operations.length === 0) return 'done';
  const watch = new OpenJobWatch(options, job, deadline);
  try {
    for (const operation of operations) {
      if (watch.signal.aborted) break;
      await runHook(options, job, operation, watch.signal);
    }
  } catch (error) {
    if (!watch.signal.aborted) throw error;
  } finally {
    await watch.end();
  }
  if (!watch.signal.aborted) return 'done';
  if (watch.isOverdue) throw overdue();
  return 'left';
}

async function runHook(
  options: HookOptions,
  job: Job,
  operation: Operation,
  signal: AbortSignal,
): Promise<void> {
  const { dbt, webhook, operatorType } = operation.configuration;
  if (operatorType === 'webhook' && webhook !== undefined) {
    return callWebhook(options, { job, name: operation.name, webhook, signal });
  }
  if (operatorType !== 'dbt' || dbt === undefined) return;
  const log = logOf(options.store, job, 'dbt');
  await log(`${operation.name}: dbt ${dbt.dbtArguments ?? 'run'}`);
  const { destinationId } = await options.store.connections.get(job.connectionId);
  const destination = await options.store.actors.get('destination', destinationId);
  await runDbt(dbt, destination.configuration, { settings: options.dbt, signal, log });
}

interface WebhookCall {
  readonly job: Job;
  readonly name: string;
  readonly webhook: NonNullable<Operation['configuration']['webhook']>;
  readonly signal: AbortSignal;
}

async function callWebhook(
  { store, rules }: HookOptions,
  { job, name, webhook, signal }: WebhookCall,
): Promise<void> {
  const { status } = await guardedRequest(rules, webhook.executionUrl, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body:
      webhook.executionBody ?? JSON.stringify({ connectionId: job.connectionId, jobId: job.id }),
    timeoutMs: WEBHOOK_TIMEOUT_MS,
    signal,
  });
  await logOf(store, job, 'webhook')(`${name}: answered ${status}`);
  if (status >= 200 && status < 300) return;
  throw new PipelineError('OPS_WEBHOOK_FAILED', `the webhook of ${name} answered ${status}`, {
    details: { status },
  });
}

/** Aborts its signal when the job has ended otherwise, is overdue, or the scheduler ends: a cancel
 * takes effect within a second. */
class OpenJobWatch {
  readonly signal: AbortSignal;
  isOverdue = false;
  private readonly left = new AbortController();
  private readonly done = new AbortController();
  private readonly watching: Promise<void>;

  constructor({ store, clock, stopping }: HookOptions, job: Job, deadline: number) {
    this.signal = stopping ? AbortSignal.any([this.left.signal, stopping]) : this.left.signal;
    const look = async (): Promise<void> => {
      while (!this.done.signal.aborted) {
        const status = await statusOf(store, job.id);
        this.isOverdue = clock.now() > deadline;
        if (status !== 'running' || this.isOverdue) return this.left.abort();
        await clock.wait(CANCEL_POLL_MS, this.done.signal);
      }
    };
    this.watching = look();
  }

  async end(): Promise<void> {
    this.done.abort();
    await this.watching;
  }
}

/** A store that does not answer for a moment is no reason to stop the work. */
function statusOf(store: Store, id: number): Promise<string> {
  return store.jobs.get(id).then(
    ({ status }) => status,
    () => 'running',
  );
}

function overdue(): PipelineError {
  return new PipelineError('JOB_TIMED_OUT', 'its operations have not ended in time');
}

function logOf(store: Store, job: Job, stage: string): (line: string) => Promise<void> {
  return (line) => store.jobs.log(job.id, job.attempt, `${stage}: ${line}`);
}
