import { systemClock, type Clock } from './clock.ts';

export interface BackoffOptions {
  readonly firstMs: number;
  readonly maxMs: number;
  readonly clock?: Clock;
  /** 0 ≤ random() < 1. */
  readonly random?: () => number;
}

/**
 * Waits that grow from `firstMs` by doubling up to `maxMs`, each drawn from the upper half of its
 * span: instances that failed together do not come back together.
 */
export class Backoff {
  private readonly options: BackoffOptions;
  private readonly clock: Clock;
  private failures = 0;

  constructor(options: BackoffOptions) {
    this.options = options;
    this.clock = options.clock ?? systemClock;
  }

  /** Failures since the last `reset`; a log line's level rises with it. */
  get count(): number {
    return this.failures;
  }

  /** Resolves after the next wait, or at once when the signal aborts. */
  async wait(signal: AbortSignal): Promise<void> {
    await this.clock.wait(this.nextMs(), signal);
  }

  /** Something worked: the next wait is the first again. */
  reset(): void {
    this.failures = 0;
  }

  private nextMs(): number {
    const { firstMs, maxMs, random = Math.random } = this.options;
    // 2^30 is enough to reach any maximum and cannot overflow.
    const span = Math.min(maxMs, firstMs * 2 ** Math.min(this.failures, 30));
    this.failures += 1;
    return span / 2 + (span / 2) * random();
  }
}
