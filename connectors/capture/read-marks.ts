import type { SourceReadOptions, SourceState } from '../spi/source.ts';
import { streamLabel } from '../../schemas/catalog/stream-id.ts';

/** An unfinished read of a stream, of which something is committed. */
export interface OpenRead<Cursor> {
  readonly job: string;
  readonly epoch: number;
  /** Of the table's columns and key: rows of another shape begin anew. */
  readonly shape: string;
  /** Key of the last row of it in the topic, as the source prints it; null where the table has no
   * order to go on in. */
  readonly after: readonly string[] | null;
  readonly rows: number;
  /** Log place of its events, which later ones must not fall below. */
  readonly lsn: string;
  /** Of an incremental read: what its place will be when it is whole. */
  readonly cursor?: Cursor;
}

/** What is stored of one stream that jobs read. */
export interface ReadMark<Cursor> {
  /** The last job that read it to its end; '' before the first. */
  readonly job: string;
  /** The wish for a new beginning that was fulfilled last. */
  readonly copy?: string;
  /** Rows of the last whole generation; absent where there is none. */
  readonly rows?: number;
  /** Where an incremental reading stands; absent where there is none to go on with. */
  readonly cursor?: Cursor;
  /** Events of an earlier reading are in the topic: one that begins anew says so first. */
  readonly begun?: true;
  readonly open?: OpenRead<Cursor>;
}

/** The stored state of a connection's job reads, on its way from one job to the next. */
export class ReadMarks<Cursor> {
  /** Every reading has its own, higher than all before: its events win over theirs. */
  epoch: number;
  private readonly job: string;
  private readonly wanted: readonly string[];
  private readonly marks: Record<string, ReadMark<Cursor>>;
  private position: string;

  constructor({ job, streams, state }: SourceReadOptions) {
    this.job = job;
    this.wanted = streams.map(({ stream }) => streamLabel(stream));
    this.epoch = state?.epoch ?? 0;
    this.position = state?.position ?? '';
    this.marks = { ...(state?.details['streams'] as Record<string, ReadMark<Cursor>> | undefined) };
  }

  of(label: string): ReadMark<Cursor> {
    return this.marks[label] ?? { job: '' };
  }

  set(label: string, mark: ReadMark<Cursor>): void {
    this.marks[label] = mark;
  }

  /** An instance that was away may be asked for an older job than the last one. */
  isRead(label: string): boolean {
    return this.of(label).job >= this.job;
  }

  /** Every wanted stream is read, and no state says so yet. */
  get isDue(): boolean {
    return this.position < this.job && this.wanted.every((label) => this.isRead(label));
  }

  /** The state as it is to be committed now. */
  toState(): SourceState {
    if (this.isDue) this.position = this.job;
    return { position: this.position, epoch: this.epoch, details: { streams: { ...this.marks } } };
  }
}
