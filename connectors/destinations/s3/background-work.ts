import { toPipelineError, type PipelineError } from '../../../core/errors/pipeline-error.ts';
import { Backoff } from '../../../core/run/backoff.ts';

/** What passes by itself is mended in silence for so long. */
const SILENCE_MS = 30_000;

/** One piece of work at a time, done in the background, and done again after a failure that passes. */
export class BackgroundWork {
  failure: PipelineError | null = null;
  private failingSince = 0;
  private readonly signal: AbortSignal;
  private work: (() => Promise<void>) | null = null;
  private running: Promise<void> | null = null;
  private readonly backoff = new Backoff({ firstMs: 250, maxMs: 15_000 });
  private closed = false;

  constructor(signal: AbortSignal) {
    this.signal = signal;
  }

  /** Begins; what was begun before must be settled. The work may be repeated from its start. */
  start(work: () => Promise<void>): void {
    this.work = work;
    this.running = this.attempt(work);
  }

  /** Resolves when nothing is under way any more; tries again what has failed. */
  async settle(): Promise<void> {
    while (this.work !== null) {
      this.running ??= this.attempt(this.work);
      await this.running;
      if (this.failure !== null) throw this.failure;
    }
  }

  /** A failure that does not pass by itself, or has not for a while: a partition without further
   * records has no call that would be told. */
  get lastingFailure(): PipelineError | null {
    if (this.failure === null || this.closed) return null;
    const mayPass = this.failure.spec.reaction === 'retry';
    return mayPass && performance.now() - this.failingSince < SILENCE_MS ? null : this.failure;
  }

  /** What failed is not tried again. */
  close(): void {
    this.closed = true;
  }

  /** Never rejects: what fails is kept in `failure` for the next call that has to know. */
  private async attempt(work: () => Promise<void>): Promise<void> {
    const wasFailing = this.failure !== null;
    this.failure = null;
    try {
      await work();
      this.work = null;
      this.backoff.reset();
    } catch (error) {
      this.failure = toPipelineError(error);
      if (!wasFailing) this.failingSince = performance.now();
      if (this.failure.spec.reaction === 'retry') void this.retryLater();
    } finally {
      this.running = null;
    }
  }

  /** An idle partition has no later call that would try again. */
  private async retryLater(): Promise<void> {
    await this.backoff.wait(this.signal);
    if (this.closed || this.signal.aborted) return;
    await this.settle().catch(() => {}); // kept in `failure`
  }
}
