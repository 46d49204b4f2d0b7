import { StageClock } from '../../core/run/stage-clock.ts';
import type { SourceStages } from '../../core/store/work.ts';

type Busy = ReturnType<typeof performance.eventLoopUtilization>;

/**
 * Where capture spends its time. Reading is one call that waits for the server and encodes what
 * comes; the event loop's busy part of it is the encoding. In a process that runs other roles too,
 * their work counts as encoding.
 */
export class CaptureStages {
  private readonly clock = new StageClock(['read', 'kafka']);
  private encodeMs = 0;
  private readingFrom: Busy | null = null;

  enter(stage: 'read' | 'kafka' | null): void {
    this.countEncoding();
    this.readingFrom = stage === 'read' ? performance.eventLoopUtilization() : null;
    this.clock.enter(stage);
  }

  totals(): SourceStages {
    this.countEncoding();
    const { read, kafka } = this.clock.totals();
    const encode = Math.min(this.encodeMs, read);
    return {
      read: Math.round(read - encode),
      encode: Math.round(encode),
      kafka: Math.round(kafka),
    };
  }

  private countEncoding(): void {
    if (this.readingFrom === null) return;
    const now = performance.eventLoopUtilization();
    this.encodeMs += performance.eventLoopUtilization(now, this.readingFrom).active;
    this.readingFrom = now;
  }
}
