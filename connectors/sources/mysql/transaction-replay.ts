import { PipelineError } from '../../../core/errors/pipeline-error.ts';
import type { GtidMark } from './binlog-events.ts';
import { placeOfText, placeText, type Anchor, type ChunkMark } from './position.ts';
import type { ReadElsewhere } from './read-elsewhere.ts';

/**
 * What of the log was delivered before: whole transactions below the position, of which the anchor
 * must come again as it was, and the first part of one that was cut (invariants 6 and 7).
 */
export class TransactionReplay {
  /** The running transaction lies below our position: it is looked at, not delivered. */
  delivered = false;
  private readonly position: bigint;
  private readonly elsewhere: ReadElsewhere | null;
  private anchor: Anchor | null;
  private resumed: ChunkMark | null;
  private skip: ChunkMark | null = null;
  private cut = false;
  private events = 0;
  private hash = 0;

  constructor(options: {
    readonly position: bigint;
    readonly anchor: Anchor | null;
    readonly chunk: ChunkMark | null;
    readonly elsewhere: ReadElsewhere | null;
  }) {
    this.position = options.position;
    this.anchor = options.anchor;
    this.resumed = options.chunk;
    this.elsewhere = options.elsewhere;
  }

  /** Whether the id of the transaction that begins next is looked at. */
  get comparesIds(): boolean {
    return this.anchor !== null || this.resumed !== null;
  }

  begins(place: bigint, mark: GtidMark, gtid: string): void {
    this.checkAnchor(place, gtid, mark.commitUs);
    this.delivered = place < this.position || this.elsewhere?.passesOver(place, mark) === true;
    this.events = 0;
    this.hash = 0;
    this.cut = false;
    if (this.delivered) return;
    this.skip = this.resumed;
    this.resumed = null;
    if (this.skip === null) return;
    this.cut = true;
    // Another server has it in another place, under the same id.
    const elsewhere = this.elsewhere !== null && gtid !== '';
    const there = elsewhere || placeOfText(this.skip.place) === place;
    if (this.skip.gtid !== gtid || !there) throw mismatch(gtid);
  }

  private checkAnchor(place: bigint, gtid: string, commitUs: number): void {
    const { anchor } = this;
    this.anchor = null;
    if (anchor === null) return;
    const same =
      placeOfText(anchor.place) === place && anchor.gtid === gtid && anchor.commitUs === commitUs;
    if (same) return;
    throw new PipelineError(
      'SRC_IDENTITY_CHANGED',
      `the log holds another transaction where ${anchor.gtid || anchor.place} was read: it was reset or restored`,
    );
  }

  /** Null for a row event to be delivered; otherwise the ordinal to go on from, or -1 before it. */
  passesOver(operation: number, length: number): number | null {
    this.events++;
    this.hash = Math.imul(this.hash ^ (operation + length * 257), 0x01000193) | 0;
    const { skip } = this;
    if (skip === null) return null;
    if (this.events < skip.skip) return -1;
    if (this.hash !== skip.check) throw mismatch(skip.gtid);
    this.skip = null;
    return skip.seq;
  }

  /** How far the cut transaction was delivered, until it has come again up to there: what is stored
   * meanwhile must not forget it. */
  get pending(): ChunkMark | null {
    return this.resumed ?? this.skip;
  }

  get skipping(): boolean {
    return this.skip !== null;
  }

  chunk(gtid: string, place: bigint, seq: number): ChunkMark {
    this.cut = true;
    return { gtid, place: placeText(place), skip: this.events, check: this.hash, seq };
  }

  /** The running transaction does not come to its end. */
  abandon(): void {
    if (this.cut) throw mismatch('at the end of a file');
  }

  ends(): void {
    if (this.skip !== null) throw mismatch(this.skip.gtid);
  }
}

function mismatch(gtid: string): PipelineError {
  return new PipelineError(
    'SRC_REPLAY_MISMATCH',
    `transaction ${gtid} is not repeated as it was first sent`,
  );
}
