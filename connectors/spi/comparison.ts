import type { StreamId } from '../../schemas/catalog/stream-id.ts';
import type { ChangeCursor, ChangeSchema } from '../../schemas/envelope/change-decoder.ts';
import type { ColumnKind } from '../../schemas/values/column-type.ts';
import type { DestinationStream } from './destination.ts';

/** A key's cells as the server prints them, in key order. */
export type KeyText = readonly string[];

export interface ComparedKeyColumn {
  readonly name: string;
  /** `native`: both sides order this type alike and their indexes serve ranges of it. `text`: ordered
   * by the bytes of its text, for collations and enums differ between servers. */
  readonly order: 'native' | 'text';
}

export interface ComparedColumn {
  readonly name: string;
  /** How both sides hash its cells: see `hashOfCell`. Null, for all columns alike: the source is a
   * Postgres, whose own text of a row is hashed. */
  readonly kind: ColumnKind | null;
}

/** What of a table is compared: columns under their names at the source. */
export interface ComparedTable {
  readonly columns: readonly ComparedColumn[];
  readonly key: readonly ComparedKeyColumn[];
}

/** Range `i` holds the keys from cut `i - 1` to before cut `i`; the first and last are open. */
export interface RangeDigest {
  readonly range: number;
  /** Rows in it, and the sum of their hashes in any order; without those of `moving`. */
  readonly rows: number;
  readonly hash: bigint;
  /** Keys of rows that the view cannot vouch for: see RowDigest. */
  readonly moving: readonly KeyText[];
}

export interface RowDigest {
  readonly key: KeyText;
  /** Of the text of all compared columns; equal on both sides when these are. */
  readonly hash: bigint;
  /** Another one after every change of the row. */
  readonly version: string;
  /** At the destination: changed by an event that may be newer than the source's view. At the source:
   * a transaction that is under way has changed it. */
  readonly moving: boolean;
}

/** A table at one moment: all answers are of one snapshot. */
export interface TableView {
  digests(cuts: readonly KeyText[]): Promise<RangeDigest[]>;
  rowsOfRanges(cuts: readonly KeyText[], ranges: readonly number[]): Promise<RowDigest[]>;
  rowsOfKeys(keys: readonly KeyText[]): Promise<RowDigest[]>;
}

export interface SourceView extends TableView {
  /** Every event of a transaction that the view does not show has this `lsn` or a higher one. */
  readonly since: string;
  /** Everything that the view shows was committed at or before this position. */
  position(): Promise<string>;
  count(): Promise<number>;
  /** Every `rows`-th key in key order. */
  cuts(rows: number): Promise<KeyText[]>;
}

export interface DestinationView extends TableView {
  /** By partition, the offset that the view stands before. */
  readonly offsets: ReadonlyMap<number, number>;
}

export interface SourceTable {
  readonly compared: ComparedTable;
  look<T>(work: (view: SourceView) => Promise<T>): Promise<T>;
  /** Rows as they are now: harms nobody who writes, however often it is asked. */
  rowsOfKeys(keys: readonly KeyText[]): Promise<RowDigest[]>;
  close(): Promise<void>;
}

export interface DestinationTable {
  /** `since` of the source's view. */
  look<T>(since: string, work: (view: DestinationView) => Promise<T>): Promise<T>;
  close(): Promise<void>;
}

/** A source whose tables can be compared with copies of them. Throws VFY_UNSUPPORTED, SRC_STREAM_GONE. */
export type OpenSourceTable = (options: {
  readonly config: Record<string, unknown>;
  readonly stream: StreamId;
  readonly primaryKey: readonly string[];
}) => Promise<SourceTable>;

/** Null where the destination does not keep one row per key in native types. */
export type OpenDestinationTable = (options: {
  readonly config: Record<string, unknown>;
  readonly connectionId: string;
  readonly topic: string;
  readonly stream: DestinationStream;
  readonly compared: ComparedTable;
  /** The source's epoch: what an older one wrote is before everything of this one. */
  readonly epoch: number;
}) => Promise<DestinationTable | null>;

/** A row of a copy, named by the place in the topic of the event that it is of; partition -1 for a row
 * that is of no event of the topic. */
export interface AppendedRow {
  readonly partition: number;
  readonly offset: number;
  /** Epoch, position and ordinal of the event, and whether it is a delete: see `eventIdentity`. Or what
   * the copy makes of the event: see `AppendedCopy.identityOf`. */
  readonly identity: string;
}

/** Of which events a copy has a row: of all, of the newest of each key unless that is a delete, of
 * those of the last whole generation. */
export type KeptEvents = 'every' | 'newest' | 'generation';

export interface AppendedView {
  /** By partition, the offset below which every event is durable in the copy. */
  readonly ends: ReadonlyMap<number, number>;
  /** By partition, the offset that the copy begins at, where it is known not to go back to the topic's
   * first event. */
  readonly starts?: ReadonlyMap<number, number>;
  /** All rows, in any order; may be asked for again. */
  rows(): AsyncIterable<readonly AppendedRow[]>;
  /** How many rows repeat a key that another row has, deletes left out. Not given where rows have no
   * key, where there is one row per key, or where the copy cannot count them. */
  repeatedKeys?(): Promise<number>;
}

export interface AppendedCopy {
  readonly keeps: KeptEvents;
  /** How the copy identifies an event by more than its place in the log; the cursor stands on it. */
  identityOf?(schema: ChangeSchema, bytes: Buffer, change: ChangeCursor): string;
  look<T>(work: (view: AppendedView) => Promise<T>): Promise<T>;
  close(): Promise<void>;
}

/** A copy that is compared with the topic. */
export type OpenAppendedCopy = (options: {
  readonly config: Record<string, unknown>;
  readonly connectionId: string;
  readonly topic: string;
  readonly partitions: readonly number[];
  readonly stream: DestinationStream;
  readonly scratchFolder: string;
}) => Promise<AppendedCopy>;

export function eventIdentity(
  epoch: unknown,
  lsn: unknown,
  seq: unknown,
  deleted: boolean,
): string {
  return `${String(epoch)}/${String(lsn)}/${String(seq)}${deleted ? '/d' : ''}`;
}
