import type { PipelineError } from '../../../core/errors/pipeline-error.ts';
import type { SourceState, StreamPhase, StreamProgress } from '../../spi/source.ts';
import type { StreamLane } from './event-writer.ts';
import { lsnText, type Anchor, type ChunkMark, type StreamMark } from './position.ts';

/** What a sealed batch says about the position. */
export interface PositionMark {
  readonly position: bigint;
  readonly committedAtMs: number;
  readonly chunk: ChunkMark | null;
}
/** Rows of an unfinished copy say nothing: they belong to the transaction that its end commits. */
export type Mark = PositionMark | 'unfinished';

interface Running {
  readonly lane: StreamLane;
  mark: StreamMark | undefined;
  phase: StreamPhase;
  rowsDone: number;
  rowsEstimate: number | null;
}

export interface ServerIdentity {
  readonly systemId: string;
  readonly timeline: number;
}

/** Everything that goes into the stored state, and the streams' progress for people. */
export class CaptureState {
  readonly epoch: number;
  readonly slot: string;
  readonly publication: string;
  identity: ServerIdentity;
  anchor: Anchor;
  /** A stream was stopped and no batch has carried it yet. */
  dirty = false;
  private readonly streams = new Map<string, Running>();
  /** Streams that are no longer read: what they miss from now on is gone, so their entry says that a
   * new copy must begin with a truncate. */
  private readonly left: Record<string, StreamMark> = {};

  constructor(options: {
    epoch: number;
    slot: string;
    publication: string;
    identity: ServerIdentity;
    anchor: Anchor;
    lanes: readonly StreamLane[];
    marks: Readonly<Record<string, StreamMark>>;
  }) {
    this.epoch = options.epoch;
    this.slot = options.slot;
    this.publication = options.publication;
    this.identity = options.identity;
    this.anchor = options.anchor;
    for (const lane of options.lanes) this.add(lane, options.marks[lane.label]);
    for (const [label, mark] of Object.entries(options.marks)) {
      if (this.streams.has(label)) continue;
      this.left[label] = { from: mark.from, done: false, partial: true };
    }
  }

  private add(lane: StreamLane, mark: StreamMark | undefined): void {
    lane.stopped = mark?.stopped !== undefined;
    const phase = lane.stopped ? 'stopped' : mark?.done === true ? 'streaming' : 'pending';
    this.streams.set(lane.label, { lane, mark, phase, rowsDone: 0, rowsEstimate: null });
  }

  lane(label: string): StreamLane | undefined {
    return this.streams.get(label)?.lane;
  }

  mark(label: string): StreamMark | undefined {
    return this.streams.get(label)?.mark;
  }

  setMark(label: string, mark: StreamMark): void {
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
  stop(label: string, error: PipelineError, position: bigint): void {
    const running = this.streams.get(label);
    if (running === undefined || running.lane.stopped) return;
    running.lane.stopped = true;
    running.phase = 'stopped';
    this.dirty = true;
    const stopped = { code: error.code, message: error.message, position: lsnText(position) };
    running.mark = { ...(running.mark ?? { from: lsnText(position), done: false }), stopped };
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

  at(mark: PositionMark): SourceState {
    const streams: Record<string, StreamMark> = { ...this.left };
    for (const [label, running] of this.streams) {
      if (running.mark !== undefined) streams[label] = running.mark;
    }
    return {
      position: lsnText(mark.position),
      epoch: this.epoch,
      details: {
        systemId: this.identity.systemId,
        timeline: this.identity.timeline,
        slot: this.slot,
        publication: this.publication,
        anchor: this.anchor,
        streams,
        ...(mark.chunk === null ? {} : { chunk: mark.chunk }),
      },
    };
  }
}
