import type { ColumnType } from '../../../schemas/values/column-type.ts';
import { cursorChoice, type CursorChoice, type CursorKind } from '../../capture/cursor-columns.ts';
import { quoteIdentifier, quoteLiteral } from './session.ts';

/**
 * An incremental read by a cursor column. A row may become visible late: its transaction took the
 * cursor's value, and others with higher values committed first. So a read does not begin at the
 * highest value of the one before but at one from before all transactions that were still open
 * then, and takes of the rows from there on those whose transaction it has not read.
 */

/** What a read saw when it looked: the snapshot's transaction ids in 64 bits. */
export interface SnapshotFacts {
  /** Every transaction below it had ended. */
  readonly xmin: number;
  /** No transaction at or above it had begun to write. */
  readonly xmax: number;
  /** Epoch milliseconds. */
  readonly at: number;
  readonly serverVersion: number;
}

interface PastRead {
  /** Highest cursor value it saw, as the server prints it; null when it saw none. */
  readonly value: string | null;
  readonly xmax: number;
  readonly at: number;
}

/** Where an incremental reading stands. */
export interface CursorPlace {
  readonly column: string;
  /** Oldest first. */
  readonly reads: readonly PastRead[];
  /** Rows of all transactions below it are read, */
  readonly xmin: number;
  /** and of these at or above it. */
  readonly seen: readonly number[];
}

/** A transaction may take its cursor value, such as now(), this long before its first write. */
const MARGIN_MS = 15 * 60_000;
const MOST_READS = 64;
/** More transactions than this beside a long one are not remembered: rows of theirs are read twice. */
const MOST_SEEN = 5_000;

export function cursorKind({ kind, native }: ColumnType): CursorKind | null {
  switch (kind) {
    case 'int16':
    case 'int32':
    case 'int64':
      return native === 'oid' ? null : 'whole';
    case 'decimal':
      return native === 'money' ? null : 'numeric';
    case 'date':
    case 'timestamp':
    case 'timestamptz':
      return 'time';
    case 'string':
      return /^(text|character varying)/.test(native ?? '') ? 'text' : null;
    default:
      return null;
  }
}

/** Columns that may be a cursor, and the one to take when none is named. */
export function cursorColumns(
  columns: readonly { readonly name: string; readonly type: ColumnType }[],
): CursorChoice {
  return cursorChoice(columns.map(({ name, type }) => ({ name, kind: cursorKind(type) })));
}

/** The cursor value to read from, inclusive; null to look at every row. */
export function floorOf({ reads, xmin }: CursorPlace): string | null {
  return reads[floorIndex(reads, xmin)]?.value ?? null;
}

/** The last read before which no transaction had begun that was open at the newest one. */
function floorIndex(reads: readonly PastRead[], xmin: number): number {
  const newest = reads.at(-1)?.at ?? 0;
  return reads.findLastIndex((read) => read.xmax <= xmin && read.at <= newest - MARGIN_MS);
}

/** Where the next read begins. `first` is what the read looked at first, when it was interrupted and
 * went on with a later snapshot. */
export function nextPlace(
  before: CursorPlace | undefined,
  column: string,
  first: SnapshotFacts,
  value: string | null,
  seen: Iterable<number>,
): CursorPlace {
  const { xmin, xmax, at } = first;
  const reads = [...(before?.reads ?? []), { value, xmax, at }];
  const needed = reads.slice(Math.max(0, floorIndex(reads, xmin)));
  const kept =
    needed.length <= MOST_READS
      ? needed
      : needed.filter((_, index) => index % 2 === 0 || index === needed.length - 1);
  return { column, reads: kept, xmin, seen: [...seen].filter((xid) => xid >= xmin) };
}

/** Transactions whose rows a read has met, as far as they are to be remembered. */
export class SeenTransactions {
  readonly xids = new Set<number>();
  private readonly from: number;

  constructor(from: number) {
    this.from = from;
  }

  add(xid: number): void {
    if (xid >= this.from && this.xids.size < MOST_SEEN) this.xids.add(xid);
  }
}

/** A row's 32-bit transaction id in 64 bits, given the snapshot's highest. */
export function fullXid(xid: number, { xmax }: Pick<SnapshotFacts, 'xmax'>): number {
  const CYCLE = 0x100000000;
  const age = (((xmax - xid) % CYCLE) + CYCLE) % CYCLE;
  return xmax - age;
}

/** The highest value that takes part in the order. One that lies in the future, or is no number at
 * all, would hide all rows that come after it. */
export function highestValueSql(
  from: string,
  column: string,
  kind: CursorKind,
  { serverVersion }: SnapshotFacts,
): string {
  const name = quoteIdentifier(column);
  const within: Record<CursorKind, string> = {
    whole: '',
    text: '',
    numeric: ` WHERE ${name} < '${serverVersion >= 140_000 ? 'Infinity' : 'NaN'}'`,
    time: ` WHERE ${name} <= now() AND ${name} > '-infinity'`,
  };
  return `SELECT max(${name})::text AS value FROM ${from}${within[kind]}`;
}

/** Rows of transactions that were not all read: from the floor on, and those without a place in the
 * order. */
export function newRowsCondition(place: CursorPlace, kind: CursorKind, now: SnapshotFacts): string {
  const age = `(${now.xmax} - xmin::text::bigint) & 4294967295`;
  const isNew = `${now.xmax} - (${age}) >= ${place.xmin}`;
  const floor = floorOf(place);
  if (floor === null) return isNew;
  const name = quoteIdentifier(place.column);
  const below: Record<CursorKind, string> = {
    whole: '',
    text: '',
    numeric: now.serverVersion >= 140_000 ? ` OR ${name} = '-Infinity'` : '',
    time: ` OR ${name} = '-infinity'`,
  };
  const reaches = `${name} >= ${quoteLiteral(floor)} OR ${name} IS NULL${below[kind]}`;
  return `(${reaches}) AND ${isNew}`;
}
