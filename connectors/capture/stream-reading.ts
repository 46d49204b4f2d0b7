import { createHash } from 'node:crypto';
import { PipelineError } from '../../core/errors/pipeline-error.ts';
import { OP_READ } from '../../schemas/envelope/change-decoder.ts';
import type { ReadStreamOptions, SourceReadOptions } from '../spi/source.ts';
import { EventWriter, type StreamLane } from './event-writer.ts';
import type { Outbox } from './outbox.ts';
import type { OpenRead, ReadMark, ReadMarks } from './read-marks.ts';
import type { RowCodec } from './row-codec.ts';

/** Share of the longest Kafka transaction after which an unfinished read commits in between. */
const COMMIT_SHARE = 0.6;
/** A read that can go on at a row commits this often, so that a crash costs no more than that. */
const RESUMABLE_COMMIT_MS = 60_000;

/** What a reading needs of the reader it belongs to. */
export interface ReadingRoom<Cursor> {
  readonly open: SourceReadOptions;
  readonly outbox: Outbox<unknown>;
  readonly marks: ReadMarks<Cursor>;
  /** Seals what is whole, for `next`; with a commit, resolves when it has been taken. */
  commit(): Promise<void>;
  /** Lets `next` have what is written so far. */
  pass(): void;
  taken(): Promise<void>;
}

/** The table as it is read: its codec, and what tells its shape from another. */
export interface ReadShape {
  readonly codec: RowCodec;
  readonly digest: string;
  /** The log's place when the rows were looked at. */
  readonly lsn: bigint;
}

/** Tells tables apart by what their rows depend on: columns, key, order. */
export function shapeDigest(...facts: readonly unknown[]): string {
  return createHash('sha256').update(JSON.stringify(facts)).digest('hex').slice(0, 16);
}

/**
 * One stream's part of a job's read: turns the rows that a connector finds into events, between the
 * marks of a generation or behind the truncate of a new beginning, and notes how far it came.
 */
export class StreamReading<Cursor> {
  readonly options: ReadStreamOptions;
  readonly lane: StreamLane;
  /** As it was before this job, or at the last commit of an interrupted read of it. */
  readonly before: ReadMark<Cursor>;
  rows = 0;
  private readonly room: ReadingRoom<Cursor>;
  private shape: ReadShape | null = null;
  private writer: EventWriter | null = null;
  private epoch = 0;
  private lsn = 0n;
  /** The begin mark, or the truncate of a new beginning, stands in the topic or is not needed. */
  private isBegun = false;
  private committedAt = 0;

  constructor(options: ReadStreamOptions, lane: StreamLane, room: ReadingRoom<Cursor>) {
    this.options = options;
    this.lane = lane;
    this.room = room;
    this.before = room.marks.of(lane.label);
  }

  /** Another beginning is wished for than the one that the topic's events have. */
  get isAnew(): boolean {
    const { copy } = this.options;
    return copy !== undefined && copy !== this.before.copy;
  }

  private get isGeneration(): boolean {
    return this.options.syncMode === 'full_refresh';
  }

  /** The interrupted read that this one goes on with; null for one from the beginning. */
  resumes(digest: string): OpenRead<Cursor> | null {
    const { open } = this.before;
    const fits = open?.job === this.room.open.job && open.shape === digest && open.after !== null;
    return fits ? open : null;
  }

  /** Called once, before the first row. `anew`: what earlier readings brought is to be replaced. */
  begin(shape: ReadShape, { anew }: { readonly anew: boolean }): OpenRead<Cursor> | null {
    const { marks, outbox, open } = this.room;
    const resumed = this.resumes(shape.digest);
    this.shape = shape;
    this.epoch = resumed?.epoch ?? ++marks.epoch;
    this.rows = resumed?.rows ?? 0;
    const least = resumed === null ? 0n : BigInt(resumed.lsn) + 1n;
    this.lsn = shape.lsn > least ? shape.lsn : least;
    this.isBegun = resumed !== null || !(this.isGeneration || (anew && this.before.begun === true));
    this.writer = new EventWriter(outbox, open.maxRecordBytes, this.epoch);
    this.writer.beginTransaction(this.lsn, 0, Date.now() * 1000, this.isGeneration);
    // A generation's rows have one position, past that of its begin mark.
    if (this.isGeneration) this.writer.seq = 1;
    this.committedAt = Date.now();
    return resumed;
  }

  /** One row with its cells in [start, end) pairs; `room` is the length of the message it came in. */
  row(src: Buffer, spans: Int32Array, room: number): void {
    const { writer, codec } = this.ready();
    if (!this.isBegun) this.writeBegin();
    if (!this.isGeneration) writer.seq++;
    writer.change(this.lane, codec, OP_READ, src, null, spans, 0, room);
    writer.settle();
    this.rows++;
  }

  /** After each received piece, rows whole; a promise is waited for before more is read. */
  afterPiece(canResume: boolean): Promise<void> | null {
    const { outbox } = this.room;
    this.ready().writer.tick();
    // Longer than the broker lets a transaction be open it cannot wait, even for a place to go on at.
    if (!canResume && this.isDue(false)) return this.commitOpen(null);
    this.room.pass();
    return outbox.isFull() ? this.drained() : null;
  }

  /** Between two statements, behind the row with this key: the read can go on here after a crash. */
  async afterChunk(after: readonly string[], cursor?: Cursor): Promise<void> {
    if (this.isDue(true)) await this.commitOpen(after, cursor);
  }

  private isDue(canResume: boolean): boolean {
    const limit = this.room.open.maxTransactionMs * COMMIT_SHARE;
    const span = canResume ? Math.min(limit, RESUMABLE_COMMIT_MS) : limit;
    return Date.now() - this.committedAt >= span;
  }

  /** The read is whole. `cursor`: where the next incremental one begins. */
  async end(cursor?: Cursor): Promise<void> {
    const { writer, codec } = this.ready();
    const { copy } = this.options;
    const wasFull = this.isGeneration && (this.before.rows ?? 0) > 0;
    if (this.rows === 0 && wasFull && !this.isAnew) throw unexpectedlyEmpty(this.lane.label);
    if (!this.isBegun) this.writeBegin();
    if (this.isGeneration) writer.endGeneration(this.lane, codec);
    this.room.marks.set(this.lane.label, {
      job: this.room.open.job,
      ...(copy === undefined ? {} : { copy }),
      ...(this.isGeneration ? { rows: this.rows } : {}),
      ...(cursor === undefined ? {} : { cursor }),
      ...(this.before.begun === true || this.rows > 0 || this.isGeneration ? { begun: true } : {}),
    });
    await this.room.commit();
  }

  /** Takes back what a failed message wrote. */
  rollback(): void {
    this.writer?.rollback();
  }

  private writeBegin(): void {
    const { writer, codec } = this.ready();
    writer.truncate(this.lane, codec);
    this.isBegun = true;
  }

  private async commitOpen(after: readonly string[] | null, cursor?: Cursor): Promise<void> {
    const { marks, open } = this.room;
    const { digest } = this.ready();
    marks.set(this.lane.label, {
      ...this.before,
      begun: true,
      open: {
        job: open.job,
        epoch: this.epoch,
        shape: digest,
        after,
        rows: this.rows,
        lsn: String(this.lsn),
        ...(cursor === undefined ? {} : { cursor }),
      },
    });
    await this.room.commit();
    this.committedAt = Date.now();
  }

  private async drained(): Promise<void> {
    const { outbox } = this.room;
    while (outbox.isFull()) await this.room.taken();
  }

  private ready(): { writer: EventWriter; codec: RowCodec; digest: string } {
    if (this.shape === null || this.writer === null) throw new Error('the reading has not begun');
    return { writer: this.writer, codec: this.shape.codec, digest: this.shape.digest };
  }
}

function unexpectedlyEmpty(label: string): PipelineError {
  return new PipelineError(
    'SRC_REFRESH_EMPTY',
    `table ${label} is empty, and its last full refresh had rows; the old ones were kept`,
    { details: { stream: label } },
  );
}
