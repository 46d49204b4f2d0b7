import { PipelineError, toPipelineError } from '../../../core/errors/pipeline-error.ts';
import type { CaptureState, Mark } from './capture-state.ts';
import {
  stopsStreamOnly,
  tooLarge,
  type EventWriter,
  type StreamLane,
} from '../../capture/event-writer.ts';
import type { Outbox } from '../../capture/outbox.ts';
import * as pgoutput from './pgoutput.ts';
import { lsnOfText, lsnText, type ChunkMark } from './position.ts';
import type { Relation } from './relations.ts';
import { tableRenamed } from './catalog.ts';
import { ReplayCheck } from './replay-check.ts';
import type { RowCodec } from '../../capture/row-codec.ts';
import { RowEvents } from './row-events.ts';

/** What the stream cannot do while a message is at hand: it asks, stops at that message, and goes on. */
export interface WalErrands {
  /** Compares with what is known of the tables and compiles: sets each relation's codec or stops its
   * stream. */
  compile(relations: readonly Relation[], xid: number): void;
  /** Reads cells that a key change left out; answers with the message completed, or as it was when
   * the row is gone. */
  complete(
    relation: Relation,
    message: Buffer,
    xid: number,
    answer: (completed: Buffer) => void,
  ): void;
}

/**
 * Turns pgoutput's messages into events. Transactions arrive whole and in commit order; each is
 * sealed at its end, or in between when it alone is larger than what may be buffered.
 */
export class WalStream {
  /** Everything committed up to here was seen. */
  through: bigint;
  inTransaction = false;
  readonly replay: ReplayCheck;
  private readonly state: CaptureState;
  private readonly outbox: Outbox<Mark>;
  private readonly writer: EventWriter;
  private readonly errands: WalErrands;
  private readonly relations = new Map<number, Relation>();
  private readonly rows: RowEvents;
  /** Streams whose snapshot already holds the transactions committed before a point. */
  private readonly copiedUpTo = new Map<StreamLane, bigint>();
  private commitLsn = 0n;
  private xid = 0;
  private commitUs = 0;
  private committedAtMs = 0;
  /** Row messages of the running transaction so far, and the rolling hash over them. */
  private messages = 0;
  private hash = 0;
  /** The running transaction lies below our position: it is checked, not delivered. */
  private delivered = false;
  private resumed: ChunkMark | null;
  private skip: ChunkMark | null = null;

  constructor(options: {
    position: bigint;
    requestedStart: bigint;
    chunk: ChunkMark | null;
    state: CaptureState;
    outbox: Outbox<Mark>;
    writer: EventWriter;
    errands: WalErrands;
  }) {
    this.through = options.position;
    this.state = options.state;
    this.outbox = options.outbox;
    this.writer = options.writer;
    this.rows = new RowEvents(options.writer);
    this.errands = options.errands;
    this.resumed = options.chunk;
    this.replay = new ReplayCheck(options.state.anchor, options.position, options.requestedStart);
    for (const lane of options.state.lanes) {
      const mark = options.state.mark(lane.label);
      if (mark !== undefined) this.copiedUpTo.set(lane, lsnOfText(mark.from));
    }
  }

  /** Takes one message; false when it must be waited for an errand. */
  message(bytes: Buffer, start: number, end: number): boolean {
    const tag = bytes[start];
    switch (tag) {
      case pgoutput.INSERT:
      case pgoutput.UPDATE:
      case pgoutput.DELETE:
      case pgoutput.TRUNCATE:
        return this.row(tag, bytes, start, end);
      case pgoutput.BEGIN:
        return this.begin(bytes, start);
      case pgoutput.COMMIT:
        this.commit(bytes, start);
        return true;
      case pgoutput.RELATION:
        return this.relation(bytes, start);
      case pgoutput.TYPE:
      case pgoutput.ORIGIN:
      case pgoutput.MESSAGE:
        return true;
      default:
        throw pgoutput.protocolError('a message of an unknown kind');
    }
  }

  /** The server has sent everything up to `end`. */
  heard(end: bigint): void {
    if (this.inTransaction || end <= this.through) {
      if (!this.inTransaction) this.replay.reached(end);
      return;
    }
    this.replay.reached(end);
    this.through = end;
  }

  private begin(bytes: Buffer, start: number): boolean {
    this.inTransaction = true;
    this.commitLsn = bytes.readBigUInt64BE(start + 1);
    this.commitUs = pgoutput.timeUs(bytes, start + 9);
    this.xid = bytes.readUInt32BE(start + 17);
    this.committedAtMs = Math.floor(this.commitUs / 1000);
    this.messages = 0;
    this.hash = 0;
    this.delivered = this.replay.begins(this.commitLsn, this.xid, this.commitUs);
    if (this.delivered) return true;
    this.writer.beginTransaction(this.commitLsn, this.xid, this.commitUs);
    this.skip = this.resumed;
    this.resumed = null;
    if (this.skip !== null && this.skip.xid !== this.xid) throw replayMismatch(this.skip);
    return this.copiedUpTo.size === 0 || this.passSnapshots();
  }

  /** From here on streams are read that were only copied so far; their tables as described before
   * the copy were not compared with it. */
  private passSnapshots(): boolean {
    for (const [lane, from] of this.copiedUpTo) {
      if (this.commitLsn >= from) this.copiedUpTo.delete(lane);
    }
    const waiting = [...this.relations.values()].filter(
      ({ lane, codec }) =>
        lane !== null && codec === null && !lane.stopped && !this.copiedUpTo.has(lane),
    );
    if (waiting.length > 0) this.errands.compile(waiting, this.xid);
    return waiting.length === 0;
  }

  private commit(bytes: Buffer, start: number): void {
    this.inTransaction = false;
    if (this.delivered) return;
    if (this.skip !== null) throw replayMismatch(this.skip);
    this.through = bytes.readBigUInt64BE(start + 10);
    this.state.anchor = {
      lsn: lsnText(this.commitLsn),
      xid: this.xid,
      tsUs: this.commitUs,
    };
    // A stream that was stopped on the way is told even when nothing else is.
    this.seal(this.state.dirty);
  }

  /** Ends what is whole at the newest position. What was delivered of a cut transaction before the
   * restart stays noted until that transaction comes again. */
  seal(urgent: boolean): void {
    this.outbox.seal(
      { position: this.through, committedAtMs: this.committedAtMs, chunk: this.resumed },
      urgent,
    );
  }

  /** Cuts the running transaction; a restart resumes before it and passes over what was delivered. */
  sealChunk(): void {
    const chunk: ChunkMark = {
      xid: this.xid,
      resume: lsnText(this.through),
      skip: this.messages,
      check: this.hash,
      seq: this.writer.seq,
    };
    this.outbox.seal({ position: this.through, committedAtMs: this.committedAtMs, chunk }, false);
  }

  private row(tag: number, bytes: Buffer, start: number, end: number): boolean {
    if (this.delivered) return true;
    const oid = bytes.readUInt32BE(start + 1);
    this.messages++;
    this.hash = Math.imul(this.hash ^ (tag + oid * 31 + (end - start) * 257), 0x01000193) | 0;
    if (this.skip !== null) {
      this.passOver(this.skip);
      return true;
    }
    if (tag === pgoutput.TRUNCATE) {
      this.truncate(bytes, start);
      return true;
    }
    const relation = this.relations.get(oid);
    if (relation === undefined) throw pgoutput.protocolError('a change of an unknown relation');
    const { lane, codec } = relation;
    if (lane === null || codec === null || lane.stopped || this.copiedUpTo.has(lane)) {
      // Ordinals count every change of the transaction, so that they do not depend on what is read.
      this.writer.seq += bytes[start + 5] === pgoutput.KEY_TUPLE && tag === pgoutput.UPDATE ? 2 : 1;
      return true;
    }
    return this.event(tag, relation, lane, codec, bytes, start, end);
  }

  private event(
    tag: number,
    relation: Relation,
    lane: StreamLane,
    codec: RowCodec,
    bytes: Buffer,
    start: number,
    end: number,
  ): boolean {
    try {
      if (tag === pgoutput.INSERT) this.rows.insert(lane, codec, bytes, start, end);
      else if (tag === pgoutput.DELETE) this.rows.delete(lane, codec, bytes, start, end);
      else if (!this.rows.update(lane, codec, bytes, start, end, false)) {
        this.completeUpdate(relation, lane, codec, Buffer.from(bytes.subarray(start, end)));
        return false;
      }
      this.writer.settle();
    } catch (error) {
      this.refused(lane, error);
    }
    return true;
  }

  private refused(lane: StreamLane, error: unknown): void {
    this.writer.rollback();
    const failure = toPipelineError(error);
    if (!stopsStreamOnly(failure)) throw failure;
    this.stop(lane, failure);
  }

  /** Stops one stream; the fact travels with the next batch, if need be with one of its own. */
  stop(lane: StreamLane, error: PipelineError): void {
    this.state.stop(lane.label, error, lsnText(this.through));
    if (!this.inTransaction) this.seal(true);
  }

  private completeUpdate(
    relation: Relation,
    lane: StreamLane,
    codec: RowCodec,
    message: Buffer,
  ): void {
    this.errands.complete(relation, message, this.xid, (whole) => {
      try {
        this.rows.update(lane, codec, whole, 0, whole.length, true);
        this.writer.settle();
      } catch (error) {
        this.refused(lane, error);
      }
    });
  }

  private truncate(bytes: Buffer, start: number): void {
    const count = bytes.readUInt32BE(start + 1);
    for (let i = 0; i < count; i++) {
      const relation = this.relations.get(bytes.readUInt32BE(start + 6 + i * 4));
      const lane = relation?.lane;
      const codec = relation?.codec;
      if (!lane || !codec || lane.stopped || this.copiedUpTo.has(lane)) this.writer.seq++;
      else this.writer.truncate(lane, codec);
    }
  }

  private passOver(skip: ChunkMark): void {
    if (this.messages < skip.skip) return;
    if (this.hash !== skip.check) throw replayMismatch(skip);
    this.writer.seq = skip.seq;
    this.skip = null;
  }

  private relation(bytes: Buffer, start: number): boolean {
    // The same bytes again need a look too: a column may have been dropped and added in between.
    const message = pgoutput.readRelation(bytes, start);
    const lane = this.state.lane(`${message.namespace}.${message.name}`) ?? null;
    const relation: Relation = { message, lane, codec: null };
    this.relations.set(message.oid, relation);
    if (lane === null) this.refuseRenamed(message);
    if (lane === null || lane.stopped || this.copiedUpTo.has(lane)) return true;
    this.errands.compile([relation], this.xid);
    return false;
  }

  /** Under another name a table's changes would be taken for those of a table that is none of ours. */
  private refuseRenamed({ oid, namespace, name }: pgoutput.RelationMessage): void {
    const lane = this.state.lanes.find((each) => this.state.mark(each.label)?.oid === oid);
    if (lane === undefined || lane.stopped || this.copiedUpTo.has(lane)) return;
    this.stop(lane, tableRenamed(lane.label, `${namespace}.${name}`));
  }

  /** A row so large that it was not even read in: its stream stops. */
  oversized(head: Buffer, length: number, limit: number): void {
    if (this.delivered) return;
    this.messages++;
    const relation = this.relations.get(head.readUInt32BE(1));
    this.hash = Math.imul(this.hash ^ length, 0x01000193) | 0;
    this.writer.seq++;
    if (this.skip !== null) return this.passOver(this.skip);
    if (!relation?.lane || relation.lane.stopped || this.copiedUpTo.has(relation.lane)) return;
    this.stop(relation.lane, tooLarge(relation.lane.label, length, limit));
  }
}

function replayMismatch(chunk: ChunkMark): PipelineError {
  return new PipelineError(
    'SRC_REPLAY_MISMATCH',
    `transaction ${chunk.xid} is not repeated as it was first sent`,
    { details: { xid: chunk.xid, delivered: chunk.skip } },
  );
}
