import { Backoff } from '../../../core/run/backoff.ts';
import type { PipelineError } from '../../../core/errors/pipeline-error.ts';
import { blockedError, blockingPids } from './blocking-sessions.ts';
import { classify, isTransient } from './errors.ts';
import { OFFSETS_TABLE } from './identifiers.ts';
import type { Sessions } from './sessions.ts';
import type { StreamTable } from './stream-table.ts';

export interface RetryOptions {
  readonly sessions: Sessions;
  /** Schema of the bookkeeping table. */
  readonly home: string;
  /** How long work is tried again before its failure is reported. */
  readonly forMs: number;
  readonly signal: AbortSignal;
}

/** Tries again what fails for a while: locks, restarts, lost connections. */
export class Retries {
  private readonly options: RetryOptions;

  constructor(options: RetryOptions) {
    this.options = options;
  }

  /** Runs `work` again while what stops it passes by itself, until the time for it is over. */
  async run<T>(tables: readonly StreamTable[], work: () => Promise<T>): Promise<T> {
    const backoff = new Backoff({ firstMs: 20, maxMs: 2000 });
    const deadline = performance.now() + this.options.forMs;
    for (;;) {
      try {
        return await work();
      } catch (thrown) {
        const error = classify(thrown, describe(tables), tables[0]?.stream);
        const over = performance.now() > deadline || this.options.signal.aborted;
        if (!isTransient(error)) throw error;
        if (over) throw await this.withBlockers(error, tables);
        await backoff.wait(this.options.signal);
      }
    }
  }

  private async withBlockers(
    error: PipelineError,
    tables: readonly StreamTable[],
  ): Promise<PipelineError> {
    if (error.code !== 'DST_BLOCKED') return error;
    const names = tables.map(({ owned }) => owned.name);
    const offsets = { schema: this.options.home, table: OFFSETS_TABLE };
    try {
      return blockedError(error, await blockingPids(this.options.sessions, [...names, offsets]));
    } catch {
      // The server went away meanwhile; that it was blocked is still the better news.
      return error;
    }
  }
}

function describe(tables: readonly StreamTable[]): string {
  return tables.length === 0 ? 'storing offsets' : `stream ${tables[0]?.stream}`;
}
