import type { ErrorCode } from '../../core/errors/codes.ts';
import type { PipelineError } from '../../core/errors/pipeline-error.ts';
import type { StreamPhase, StreamProgress } from '../spi/source.ts';
import type { StreamLane } from './event-writer.ts';

/** Why a stream was stopped; it stays so until its entry is removed for a new snapshot. */
export interface StoppedMark {
  readonly code: ErrorCode;
  readonly message: string;
  readonly position: string;
}

/** What is stored of one stream. Its events whose commit lies before `from` are in its snapshot. */
export interface StreamMark {
  readonly from: string;
  readonly done: boolean;
  /** Rows of an unfinished or abandoned copy may be in the topic: the next one starts with a truncate. */
  readonly partial?: true;
  readonly key?: readonly string[];
  /** Which copy this is; absent for the first. */
  readonly copy?: string;
  readonly stopped?: StoppedMark;
}

interface Running<Mark> {
  readonly lane: StreamLane;
  mark: Mark | undefined;
  phase: StreamPhase;
  rowsDone: number;
  rowsEstimate: number | null;
}

/** Where each stream of a capture stands: what of it is stored, and its progress for people. */
export class StreamStates<Mark extends StreamMark> {
  /** A stream was stopped and no batch has carried it yet. */
  dirty = false;
  private readonly streams = new Map<string, Running<Mark>>();
  /** Streams that are no longer read: what they miss from now on is gone, so their entry says that a
   * new copy must begin with a truncate. */
  private readonly left: Record<string, Mark> = {};

  constructor(lanes: readonly StreamLane[], marks: Readonly<Record<string, Mark>>) {
    for (const lane of lanes) this.add(lane, marks[lane.label]);
    for (const [label, mark] of Object.entries(marks)) {
      if (this.streams.has(label)) continue;
      this.left[label] = { from: mark.from, done: false, partial: true } as Mark;
    }
  }

  private add(lane: StreamLane, mark: Mark | undefined): void {
    lane.stopped = mark?.stopped !== undefined;
    const phase = lane.stopped ? 'stopped' : mark?.done === true ? 'streaming' : 'pending';
    this.streams.set(lane.label, { lane, mark, phase, rowsDone: 0, rowsEstimate: null });
  }

  lane(label: string): StreamLane | undefined {
    return this.streams.get(label)?.lane;
  }

  mark(label: string): Mark | undefined {
    return this.streams.get(label)?.mark;
  }

  setMark(label: string, mark: Mark): void {
    const running = this.streams.get(label);
    if (running !== undefined) running.mark = mark;
  }

  /** Streams without a finished copy. */
  get uncopied(): readonly StreamLane[] {
    return this.lanes.filter((lane) => !lane.stopped && this.mark(lane.label)?.done !== true);
  }

  get lanes(): readonly StreamLane[] {
    return [...this.streams.values()].map((running) => running.lane);
  }

  setPhase(label: string, phase: StreamPhase, rowsEstimate?: number | null): void {
    const running = this.streams.get(label);
    if (running === undefined) return;
    running.phase = phase;
    if (rowsEstimate !== undefined) running.rowsEstimate = rowsEstimate;
  }

  countRow(label: string, rows: number): void {
    const running = this.streams.get(label);
    if (running !== undefined) running.rowsDone += rows;
  }

  /** Stops one stream for good; the others go on. */
  stop(label: string, error: PipelineError, position: string): void {
    const running = this.streams.get(label);
    if (running === undefined || running.lane.stopped) return;
    running.lane.stopped = true;
    running.phase = 'stopped';
    this.dirty = true;
    const stopped = { code: error.code, message: error.message, position };
    running.mark = { ...(running.mark ?? { from: position, done: false }), stopped } as Mark;
  }

  progress(): StreamProgress[] {
    return [...this.streams.values()].map(({ lane, mark, phase, rowsDone, rowsEstimate }) => ({
      stream: lane.stream,
      phase,
      rowsDone,
      rowsEstimate,
      ...(mark?.stopped === undefined
        ? {}
        : { error: { code: mark.stopped.code, message: mark.stopped.message } }),
    }));
  }

  /** Every stream's mark by its label, as it is stored. */
  get marks(): Record<string, Mark> {
    const marks: Record<string, Mark> = { ...this.left };
    for (const [label, running] of this.streams) {
      const { mark, lane } = running;
      if (mark === undefined) continue;
      // Kept: what is another object is stored again.
      if (lane.copy !== undefined && mark.copy !== lane.copy) {
        running.mark = { ...mark, copy: lane.copy };
      }
      marks[label] = running.mark as Mark;
    }
    return marks;
  }
}
