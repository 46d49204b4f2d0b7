import { toPipelineError, type PipelineError } from '../../core/errors/pipeline-error.ts';
import { streamLabel } from '../../schemas/catalog/stream-id.ts';
import { joinViews } from '../../schemas/envelope/record-view.ts';
import type { ChangeBatch, DestinationWriter } from '../../connectors/spi/destination.ts';

export interface LaneHandler {
  /** The lane begins to write, or has nothing to write any more. */
  busy(isBusy: boolean): void;
  /** Batches that are accepted by the destination now, and how long the call took. */
  written(batches: readonly ChangeBatch[], seconds: number): void;
  /** One stream cannot go on; its waiting batches are dropped, to be read again from the topic. */
  streamStopped(label: string, error: PipelineError): void;
}

/** Joining copies; a batch of this size costs more to copy than another call. */
const JOINED_BYTES = 256 * 1024;

/** Below this nothing is taken ahead of its turn: what comes meanwhile is better written with it. */
const AHEAD_BYTES = 256 * 1024;

/**
 * Writes the batches of its partitions, one call at a time, each with whatever is waiting when the
 * call before has ended: an idle stream's row leaves at once, a busy one fills its transactions.
 */
export class Lane {
  private readonly writer: DestinationWriter;
  private readonly handler: LaneHandler;
  private waiting: ChangeBatch[] = [];
  private waitingBytes = 0;
  /** What the next call will bring, fixed while the one before is under way. */
  private next: ChangeBatch[] = [];
  /** Of the call under way. */
  private bytesInWriting = 0;
  private busy = false;
  private failure: PipelineError | undefined;
  private wakers: (() => void)[] = [];

  constructor(writer: DestinationWriter, handler: LaneHandler) {
    this.writer = writer;
    this.handler = handler;
  }

  /** Of what waits for its turn. */
  get bytes(): number {
    return this.waitingBytes + bytesOf(this.next);
  }

  /** What is being written, or made ready for it, is there twice: as records and as the target's rows. */
  get bytesHeld(): number {
    return this.bytes + bytesOf(this.next) + 2 * this.bytesInWriting;
  }

  push(batch: ChangeBatch): void {
    this.waiting.push(batch);
    this.waitingBytes += batch.records.bytes.length;
    if (!this.busy && this.failure === undefined) void this.drain();
  }

  /** Drops what waits for a stream, when it is stopped elsewhere. */
  drop(label: string): void {
    const isOther = (batch: ChangeBatch) => streamLabel(batch.target.stream.stream) !== label;
    this.keep(isOther);
    this.next = this.next.filter(isOther);
  }

  /** Resolves when at most `bytes` wait and, for 0, nothing is being written; rejects when the lane
   * has failed. */
  async settled(bytes: number): Promise<void> {
    for (;;) {
      if (this.failure !== undefined) throw this.failure;
      if (this.bytes <= bytes && (bytes > 0 || !this.busy)) return;
      await new Promise<void>((resolve) => {
        this.wakers.push(resolve);
      });
    }
  }

  private async drain(): Promise<void> {
    this.busy = true;
    this.handler.busy(true);
    try {
      while (this.next.length > 0 || this.waiting.length > 0) {
        const batches = this.next.length > 0 ? this.next : this.take();
        this.next = [];
        await this.write(batches);
        this.wake();
      }
    } catch (error) {
      this.failure = toPipelineError(error);
    }
    this.busy = false;
    this.bytesInWriting = 0;
    this.handler.busy(false);
    this.wake();
  }

  /** One batch of each partition, into which the small ones behind it are joined: a busy stream's
   * fetches bring few records each, and written one by one they would queue up behind any delay. */
  private take(): ChangeBatch[] {
    const taken = new Map<string, { batches: ChangeBatch[]; bytes: number; full: boolean }>();
    this.keep((batch) => {
      const key = `${batch.target.topic}:${batch.target.partition}`;
      const bytes = batch.records.bytes.length;
      const joined = taken.get(key);
      if (joined === undefined) {
        taken.set(key, { batches: [batch], bytes, full: false });
        return false;
      }
      // What follows a batch that stays stays too: order is kept (invariant 4).
      joined.full ||= joined.bytes + bytes > JOINED_BYTES;
      if (joined.full) return true;
      joined.batches.push(batch);
      joined.bytes += bytes;
      return false;
    });
    return [...taken.values()].map(({ batches }) => joinBatches(batches));
  }

  private keep(wanted: (batch: ChangeBatch) => boolean): void {
    this.waiting = this.waiting.filter(wanted);
    this.waitingBytes = bytesOf(this.waiting);
  }

  private async write(batches: ChangeBatch[]): Promise<void> {
    let rest = batches;
    this.bytesInWriting = bytesOf(batches);
    while (rest.length > 0) {
      const started = performance.now();
      try {
        await this.writer.write(rest, () => this.ahead());
        this.handler.written(rest, (performance.now() - started) / 1000);
        return;
      } catch (error) {
        rest = this.withoutBlamed(rest, toPipelineError(error));
      }
    }
  }

  private ahead(): readonly ChangeBatch[] {
    if (this.next.length === 0 && this.waitingBytes >= AHEAD_BYTES) this.next = this.take();
    return this.next;
  }

  /** When one stream alone is to blame, the others of the call go on without it. */
  private withoutBlamed(batches: ChangeBatch[], error: PipelineError): ChangeBatch[] {
    const label = error.details['stream'];
    const others = batches.filter((batch) => streamLabel(batch.target.stream.stream) !== label);
    if (typeof label !== 'string' || others.length === batches.length) throw error;
    if (error.spec.reaction === 'stop') throw error;
    this.drop(label);
    this.handler.streamStopped(label, error);
    return others;
  }

  private wake(): void {
    for (const waker of this.wakers.splice(0)) waker();
  }
}

function bytesOf(batches: readonly ChangeBatch[]): number {
  return batches.reduce((sum, batch) => sum + batch.records.bytes.length, 0);
}

function joinBatches(batches: readonly ChangeBatch[]): ChangeBatch {
  const first = batches[0] as ChangeBatch;
  if (batches.length === 1) return first;
  const last = batches.at(-1) as ChangeBatch;
  const records = joinViews(batches.map((batch) => batch.records));
  return { ...first, nextOffset: last.nextOffset, records };
}
