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
}

const WEBHOOK_TIMEOUT_MS = 30_000;
const CANCEL_POLL_MS = 500;

/**
 * What a connection runs after a sync whose data is durable, in the order of its operations. The
 * first that fails ends it with its error. A scheduler that dies in between leaves the job to
 * another one, which runs them again: an operation may run twice, never not at all.
 */
export async function runHooks(options: HookOptions, job: Job): Promise<void> {
  const { store } = options;
  const connection = await store.connections.get(job.connectionId);
  const operations = await store.operations.among(connection.document.operationIds);
  for (const operation of operations) await runHook(options, job, operation);
}

async function runHook(options: HookOptions, job: Job, operation: Operation): Promise<void> {
  const { dbt, webhook, operatorType } = operation.configuration;
  if (operatorType === 'webhook' && webhook !== undefined) {
    return callWebhook(options, job, operation.name, webhook);
  }
  if (operatorType !== 'dbt' || dbt === undefined) return;
  const log = logOf(options.store, job, 'dbt');
  await log(`${operation.name}: dbt ${dbt.dbtArguments ?? 'run'}`);
  const { destinationId } = await options.store.connections.get(job.connectionId);
  const destination = await options.store.actors.get('destination', destinationId);
  await whileOpen(options, job, (signal) =>
    runDbt(dbt, destination.configuration, { settings: options.dbt, signal, log }),
  );
}

async function callWebhook(
  { store, rules }: HookOptions,
  job: Job,
  name: string,
  webhook: NonNullable<Operation['configuration']['webhook']>,
): Promise<void> {
  const { status } = await guardedRequest(rules, webhook.executionUrl, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body:
      webhook.executionBody ?? JSON.stringify({ connectionId: job.connectionId, jobId: job.id }),
    timeoutMs: WEBHOOK_TIMEOUT_MS,
  });
  await logOf(store, job, 'webhook')(`${name}: answered ${status}`);
  if (status >= 200 && status < 300) return;
  throw new PipelineError('OPS_WEBHOOK_FAILED', `the webhook of ${name} answered ${status}`, {
    details: { status },
  });
}

/** Aborts the work when its job ends otherwise: a cancel takes effect within a second. */
async function whileOpen(
  { store, clock }: HookOptions,
  job: Job,
  work: (signal: AbortSignal) => Promise<void>,
): Promise<void> {
  const stop = new AbortController();
  const done = new AbortController();
  const watch = async (): Promise<void> => {
    while (!done.signal.aborted) {
      const { status } = await store.jobs.get(job.id);
      if (status !== 'running') stop.abort();
      await clock.wait(CANCEL_POLL_MS, done.signal);
    }
  };
  // A store that does not answer for a moment is no reason to stop the work.
  const watching = watch().catch(() => undefined);
  try {
    await work(stop.signal);
  } finally {
    done.abort();
    await watching;
  }
}

function logOf(store: Store, job: Job, stage: string): (line: string) => Promise<void> {
  return (line) => store.jobs.log(job.id, job.attempt, `${stage}: ${line}`);
}
