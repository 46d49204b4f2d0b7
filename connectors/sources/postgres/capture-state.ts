import { StreamStates } from '../../capture/stream-states.ts';
import type { SourceState } from '../../spi/source.ts';
import type { StreamLane } from '../../capture/event-writer.ts';
import { lsnText, type Anchor, type ChunkMark, type StreamMark } from './position.ts';

/** What a sealed batch says about the position. */
export interface PositionMark {
  readonly position: bigint;
  readonly committedAtMs: number;
  readonly chunk: ChunkMark | null;
}
/** Rows of an unfinished copy say nothing: they belong to the transaction that its end commits. */
export type Mark = PositionMark | 'unfinished';

export interface ServerIdentity {
  readonly systemId: string;
  readonly timeline: number;
}

/** Everything that goes into the stored state, and the streams' progress for people. */
export class CaptureState extends StreamStates<StreamMark> {
  readonly epoch: number;
  readonly slot: string;
  readonly publication: string;
  identity: ServerIdentity;
  anchor: Anchor;

  constructor(options: {
    epoch: number;
    slot: string;
    publication: string;
    identity: ServerIdentity;
    anchor: Anchor;
    lanes: readonly StreamLane[];
    marks: Readonly<Record<string, StreamMark>>;
  }) {
    super(options.lanes, options.marks);
    this.epoch = options.epoch;
    this.slot = options.slot;
    this.publication = options.publication;
    this.identity = options.identity;
    this.anchor = options.anchor;
  }

  at(mark: PositionMark): SourceState {
    return {
      position: lsnText(mark.position),
      epoch: this.epoch,
      details: {
        systemId: this.identity.systemId,
        timeline: this.identity.timeline,
        slot: this.slot,
        publication: this.publication,
        anchor: this.anchor,
        streams: this.marks,
        ...(mark.chunk === null ? {} : { chunk: mark.chunk }),
      },
    };
  }
}
