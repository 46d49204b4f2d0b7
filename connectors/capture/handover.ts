import type { PipelineError } from '../../core/errors/pipeline-error.ts';
import type { SourceBatch } from '../spi/source.ts';

export interface HandoverOptions {
  /** Is there something to take? */
  ready(): boolean;
  take(): SourceBatch;
  /** Lets go of everything; called once, by `close` or by the failure that `next` tells of. */
  letGo(): Promise<void>;
}

/**
 * Where a capture that produces by itself meets a caller that asks for batches one at a time: `next`
 * waits until something is ready, the capture waits until room was made by a take.
 */
export class Handover {
  private readonly options: HandoverOptions;
  private error: PipelineError | null = null;
  private closed = false;
  private waiting: (() => void) | null = null;
  private takers: (() => void)[] = [];

  constructor(options: HandoverOptions) {
    this.options = options;
  }

  /** The next batch; null after `close`. Rejects with the capture's failure, and is closed then. */
  async next(): Promise<SourceBatch | null> {
    for (;;) {
      if (this.closed) return null;
      if (this.error !== null) {
        const { error } = this;
        await this.close();
        throw error;
      }
      if (this.options.ready()) return this.take();
      await new Promise<void>((resolve) => {
        this.waiting = resolve;
      });
    }
  }

  /** Something may be ready. */
  readonly wake = (): void => {
    const { waiting } = this;
    this.waiting = null;
    waiting?.();
  };

  /** Resolves at the next take. */
  readonly taken = (): Promise<void> => new Promise((resolve) => this.takers.push(resolve));

  /** The first failure counts; what follows it is its consequence. */
  readonly fail = (error: PipelineError): void => {
    this.error ??= error;
    this.wake();
  };

  async close(): Promise<void> {
    if (this.closed) return;
    this.closed = true;
    this.wake();
    await this.options.letGo();
  }

  private take(): SourceBatch {
    const batch = this.options.take();
    const { takers } = this;
    this.takers = [];
    for (const taker of takers) taker();
    return batch;
  }
}
