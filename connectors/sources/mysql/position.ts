import { PipelineError } from '../../../core/errors/pipeline-error.ts';
import { StreamStates, type StreamMark as CommonMark } from '../../capture/stream-states.ts';
import type { StreamLane } from '../../capture/event-writer.ts';
import type { SchemaIds, SourceState } from '../../spi/source.ts';
import type { CopiedPart } from './copied-parts.ts';
import type { KeyPartOrder } from './key-ranks.ts';
import type { GtidMark } from './binlog-events.ts';
import { gtidText, type GtidSet } from './gtid-set.ts';
import type { ElsewhereMark, ReadElsewhere } from './read-elsewhere.ts';
import type { KnownShape } from './schema-history.ts';

/**
 * A place in the log: the number of its file and the offset in it, as one 64-bit number, so that it
 * grows as the log does and fits an event's `lsn`. As a text it is zero-padded, hence ordered too.
 */
export function placeOf(file: number, offset: number): bigint {
  return (BigInt(file) << 32n) | BigInt(offset);
}

export function placeText(place: bigint): string {
  return `${String(place >> 32n).padStart(10, '0')}:${String(place & 0xffffffffn).padStart(12, '0')}`;
}

export function placeOfText(text: string): bigint {
  const [file = '', offset = ''] = text.split(':');
  return placeOf(Number(file), Number(offset));
}

/** `binlog.000012` */
export function fileNumber(name: string): number {
  return Number(name.slice(name.lastIndexOf('.') + 1));
}

export function fileName(base: string, place: bigint): string {
  return `${base}.${String(place >> 32n).padStart(6, '0')}`;
}

/** How far a transaction too large for one batch was delivered: its first `skip` row events, whose
 * rolling hash is `check`. It is read again from its beginning (invariant 7). */
export interface ChunkMark {
  readonly gtid: string;
  readonly place: string;
  readonly skip: number;
  readonly check: number;
  /** The last ordinal given to an event of the skipped ones. */
  readonly seq: number;
}

/** The last transaction before the position: after a restart it is read once more, and a log that
 * holds another one at its place is not the log we read. */
export interface Anchor {
  readonly place: string;
  readonly gtid: string;
  readonly commitUs: number;
}

/** What is known of one stream, beside what every capture stores. */
export interface StreamMark extends CommonMark {
  /** Schemas of its newest shape. */
  readonly ids?: SchemaIds;
  /** Of a copy that was interrupted: what its earlier views gave. Rows behind them count from `from`. */
  readonly parts?: readonly CopiedPart[];
  /** The order that the parts are in. */
  readonly order?: readonly KeyPartOrder[];
  /** Of an unfinished copy: rows that are committed. */
  readonly rows?: number;
  /** Where the log does not name the columns (binlog_row_metadata): what they are, oldest first. */
  readonly shapes?: readonly KnownShape[];
}

/** The log has passed all of its views, or they mean nothing any more. */
export function withoutParts(mark: StreamMark): StreamMark {
  const copy: { -readonly [Name in keyof StreamMark]: StreamMark[Name] } = { ...mark };
  delete copy.parts;
  delete copy.order;
  return copy;
}

export interface MysqlDetails {
  /** server_uuid, or what MariaDB has for it. */
  readonly server: string;
  /** Name of the log's files without the number. */
  readonly base: string;
  readonly gtids: string;
  readonly anchor: Anchor | null;
  /** By stream label, `database.table`. */
  readonly streams: Readonly<Record<string, StreamMark>>;
  readonly chunk?: ChunkMark;
  /** XA transactions of which it is open whether they are committed: where each one's rows lie, by its
   * id; an empty text when that is another server's place. */
  readonly prepared?: Readonly<Record<string, string>>;
  /** Since a failover, as long as it matters. */
  readonly elsewhere?: ElsewhereMark;
}

export interface PositionMark {
  readonly position: bigint;
  readonly committedAtMs: number;
  readonly chunk: ChunkMark | null;
}
/** Rows of an unfinished copy say nothing: they belong to the transaction that its end commits. */
export type Mark = PositionMark | 'unfinished';

export class CaptureState extends StreamStates<StreamMark> {
  readonly epoch: number;
  readonly server: string;
  readonly base: string;
  gtids: GtidSet;
  readonly elsewhere: ReadElsewhere | null;
  readonly prepared: Map<string, string>;
  private readonly storedAnchor: Anchor | null;
  /** The last transaction since, and where it begins. */
  private last: GtidMark | null = null;
  private lastPlace = 0n;

  constructor(options: {
    epoch: number;
    server: string;
    base: string;
    gtids: GtidSet;
    anchor: Anchor | null;
    elsewhere: ReadElsewhere | null;
    prepared: ReadonlyMap<string, string>;
    lanes: readonly StreamLane[];
    marks: Readonly<Record<string, StreamMark>>;
  }) {
    super(options.lanes, options.marks);
    this.epoch = options.epoch;
    this.server = options.server;
    this.base = options.base;
    this.gtids = options.gtids;
    this.storedAnchor = options.anchor;
    this.elsewhere = options.elsewhere;
    this.prepared = new Map(options.prepared);
  }

  /** A transaction that begins at `place` was read to its end. */
  passed(place: bigint, gtid: GtidMark): void {
    this.last = gtid;
    this.lastPlace = place;
  }

  /** Its text is made when a position is stored, not for each transaction. */
  get anchor(): Anchor | null {
    const { last } = this;
    if (last === null) return this.storedAnchor;
    const gtid = gtidText(last, this.gtids.mariadb);
    return { place: placeText(this.lastPlace), gtid, commitUs: last.commitUs };
  }

  /** What the streams' marks say of shapes may be ahead of the position: of those before it only the last
   * is needed. */
  private forgetShapesBefore(position: string): void {
    for (const { label } of this.lanes) {
      const mark = this.mark(label);
      if (mark?.shapes === undefined || mark.shapes.length < 2) continue;
      const first = mark.shapes.findLastIndex(({ since }) => since <= position);
      if (first > 0) this.setMark(label, { ...mark, shapes: mark.shapes.slice(first) });
    }
  }

  at(mark: PositionMark): SourceState {
    this.forgetShapesBefore(placeText(mark.position));
    const elsewhere = this.elsewhere?.mark ?? null;
    const details: MysqlDetails = {
      server: this.server,
      base: this.base,
      gtids: this.gtids.toString(),
      anchor: this.anchor,
      streams: this.marks,
      ...(mark.chunk === null ? {} : { chunk: mark.chunk }),
      ...(elsewhere === null ? {} : { elsewhere }),
      ...(this.prepared.size === 0 ? {} : { prepared: Object.fromEntries(this.prepared) }),
    };
    return { position: placeText(mark.position), epoch: this.epoch, details: { ...details } };
  }
}

export function detailsOf(state: SourceState): MysqlDetails {
  const details = state.details as unknown as Partial<MysqlDetails>;
  if (
    typeof details.server !== 'string' ||
    typeof details.gtids !== 'string' ||
    typeof details.streams !== 'object' ||
    !/^\d{10}:\d{12}$/.test(state.position)
  ) {
    throw new PipelineError(
      'SRC_IDENTITY_CHANGED',
      'the stored position was not written by a MySQL source',
    );
  }
  return details as MysqlDetails;
}
