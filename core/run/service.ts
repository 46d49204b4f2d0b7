import type { Logger } from '../observe/logger.ts';

/** A role of the program. `run` resolves after `signal` aborts and its work is drained; a rejection
 * ends the process and every other service in it. */
export interface Service {
  readonly name: string;
  run(signal: AbortSignal): Promise<void>;
}

/** Below the 30 s after which a supervisor usually kills. */
const DRAIN_MS = 25_000;

export interface RunOptions {
  readonly services: readonly Service[];
  readonly logger: Logger;
  /** Ends everything, as a signal to the process does; for embedding and tests. */
  readonly signal?: AbortSignal;
  readonly drainMs?: number;
}

/**
 * Runs services side by side until all have ended. SIGTERM, SIGINT, the given signal or the first
 * service that ends by itself drains the others. Resolves when all have ended cleanly; rejects with
 * the first failure, or when the drain takes longer than `drainMs`.
 */
export async function runServices(options: RunOptions): Promise<void> {
  const abort = new AbortController();
  const release = abortOnSignals(abort, options);
  let failure: { error: unknown } | undefined;
  const ended = options.services.map((service) =>
    runOne(service, abort.signal).then(
      () => abort.abort(),
      (error: unknown) => {
        failure ??= { error };
        options.logger.error({ err: error, failed: service.name }, 'service failed');
        abort.abort();
      },
    ),
  );
  try {
    await Promise.race([Promise.all(ended), drainDeadline(abort.signal, options)]);
  } finally {
    release();
  }
  if (failure !== undefined) throw failure.error;
}

/** As an async function so that a `run` that throws at once is a rejection too. */
async function runOne(service: Service, signal: AbortSignal): Promise<void> {
  await service.run(signal);
}

function abortOnSignals(abort: AbortController, { signal, logger }: RunOptions): () => void {
  const onSignal = (name: NodeJS.Signals): void => {
    logger.info({ signal: name }, 'draining');
    abort.abort();
  };
  const onAbort = (): void => abort.abort();
  process.on('SIGTERM', onSignal);
  process.on('SIGINT', onSignal);
  signal?.addEventListener('abort', onAbort, { once: true });
  if (signal?.aborted === true) abort.abort();
  return () => {
    process.off('SIGTERM', onSignal);
    process.off('SIGINT', onSignal);
    signal?.removeEventListener('abort', onAbort);
  };
}

/** Rejects `drainMs` after the abort. Its timer does not keep the process alive. */
function drainDeadline(signal: AbortSignal, options: RunOptions): Promise<never> {
  const ms = options.drainMs ?? DRAIN_MS;
  return new Promise((_, reject) => {
    const start = (): void => {
      setTimeout(() => reject(new Error(`not drained within ${ms} ms`)), ms).unref();
    };
    if (signal.aborted) start();
    else signal.addEventListener('abort', start, { once: true });
  });
}
