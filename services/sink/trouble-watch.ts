import type { PipelineError } from '../../core/errors/pipeline-error.ts';
import type { Logger } from '../../core/observe/logger.ts';
import type { DeliveryStatus } from './delivery-status.ts';

/** A leader that moves is found again sooner. */
const TOLD_AFTER_MS = 2_000;

/**
 * Tells of a Kafka that is away. The reader waits for it by itself, for ever, and says nothing: to
 * people it would look like a source without changes.
 */
export class TroubleWatch {
  private readonly status: Pick<DeliveryStatus, 'waitsFor'>;
  private readonly log: Pick<Logger, 'info' | 'warn'>;
  /** Epoch milliseconds. */
  private since: number | null = null;
  private isTold = false;

  constructor(status: Pick<DeliveryStatus, 'waitsFor'>, log: Pick<Logger, 'info' | 'warn'>) {
    this.status = status;
    this.log = log;
  }

  /** What the reader is held up by now, asked again and again; null while it reads. */
  look(trouble: PipelineError | null, now = Date.now()): void {
    if (trouble === null) return this.over();
    this.since ??= now;
    if (this.isTold || now - this.since < TOLD_AFTER_MS) return;
    this.isTold = true;
    this.log.warn({ err: trouble }, 'nothing can be read from Kafka; delivery waits');
    this.status.waitsFor(trouble);
  }

  private over(): void {
    this.since = null;
    if (!this.isTold) return;
    this.isTold = false;
    this.log.info('Kafka answers again');
    this.status.waitsFor(null);
  }
}
