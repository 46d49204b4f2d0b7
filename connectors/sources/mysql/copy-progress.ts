import type { RowCodec } from '../../capture/row-codec.ts';
import type { SchemaIds } from '../../spi/source.ts';
import type { TableFacts } from './catalog.ts';
import { toBytes, type CopiedPart } from './copied-parts.ts';
import { KeyOrder } from './key-chunks.ts';
import { KeyRanks, keyOrderOf, type Ask, type KeyPartOrder } from './key-ranks.ts';
import { placeText, type StreamMark } from './position.ts';
import { fromTable, printedColumns } from './text-rows.ts';
import { KeyText } from './touched-rows.ts';

/** What is committed at a time, and not copied again after a crash. */
const CHUNK_ROWS = 50_000;
const CHUNK_BYTES = 64 * 1024 * 1024;
/** What one of several readers takes of a table at a time. */
const PIECE_ROWS = 50_000;

/** A row's key, as the server is asked for what is behind it and as events carry it. */
interface KeyPlace {
  readonly upTo: readonly string[];
  readonly key: Buffer;
}

/** Rows up to a key, without those of the ranges before. */
interface KeyRange {
  /** Null for the end of the table. */
  end: KeyPlace | null;
  /** The place in the log of the view that gave them all; null as long as none did. */
  from: string | null;
  /** The last row so far, of those that a reader is at. */
  last: KeyPlace | null;
  taken: boolean;
}

/** A range in the hands of a reader. */
export interface CopyPiece {
  readonly range: KeyRange;
  readonly select: string;
}

/**
 * How far the copy of one table is. In the order of its key it goes on behind its last committed rows
 * after a crash, in a later view, and several readers share it; the marks say which rows are from which
 * view. A table whose keys have no order that we can tell is copied in one piece.
 */
export class CopyProgress {
  /** A copy that was interrupted is gone on with. */
  readonly resumed: boolean;
  readonly cells: number;
  /** Rows that earlier views gave. */
  readonly rowsBefore: number;
  private readonly table: TableFacts;
  private readonly codec: RowCodec;
  private readonly here: string;
  private readonly order: KeyOrder | null;
  private readonly orders: readonly KeyPartOrder[];
  private readonly ranks: KeyRanks | null;
  private readonly keyText = new KeyText();
  /** In the order of the key, without gaps. */
  private readonly ranges: KeyRange[];
  private splitting: Promise<void> | null = null;
  private rows = 0;
  private chunkRows = 0;
  private chunkBytes = 0;

  /** Under a view that lies at `place`. */
  constructor(
    table: TableFacts,
    codec: RowCodec,
    ids: SchemaIds,
    mark: StreamMark | undefined,
    place: bigint,
  ) {
    this.table = table;
    this.codec = codec;
    this.here = placeText(place);
    this.orders = keyOrderOf(table);
    const ascending = table.keyParts.every(({ descending }) => !descending);
    this.ranks = ascending ? KeyRanks.of(codec.schema, this.orders) : null;
    this.order = this.ranks === null ? null : KeyOrder.of(table, { inOneScan: true });
    const same =
      mark?.ids?.value === ids.value &&
      mark.ids.key === ids.key &&
      JSON.stringify(mark.order) === JSON.stringify(this.orders);
    const parts = mark?.done === false && mark.partial !== true ? mark.parts : undefined;
    this.resumed = this.isOrdered && same && parts !== undefined;
    this.rowsBefore = this.resumed ? (mark?.rows ?? 0) : 0;
    this.ranges = (this.resumed ? (parts ?? []) : []).map(rangeOf);
    if (this.ranges.at(-1)?.end !== null) this.ranges.push(rangeOf({}));
    this.cells = this.order === null ? table.columns.length : this.order.cells.length;
  }

  /** Whether it can be read piece by piece, and gone on with. */
  get isOrdered(): boolean {
    return this.order !== null;
  }

  /** Whether an earlier view lay at the place of this one: nothing was written between them. */
  get isSamePlace(): boolean {
    return this.ranges.some(({ from }) => from === this.here);
  }

  /** What is to be read next; null when all is taken. `share`: leaves most of it to other readers, and
   * finds the place to cut at by a query that it is given. */
  async take(share: ((sql: string) => Promise<KeyPlace | null>) | null): Promise<CopyPiece | null> {
    while (this.splitting !== null) await this.splitting;
    const index = this.ranges.findIndex(({ taken }) => !taken);
    const range = this.ranges[index];
    if (range === undefined) return null;
    range.taken = true;
    const after = this.ranges[index - 1]?.end?.upTo ?? null;
    if (share !== null && this.order?.findsRanges === true) {
      this.splitting = this.split(range, after, share);
      try {
        await this.splitting;
      } finally {
        this.splitting = null;
      }
    }
    const upTo = range.end?.upTo;
    return { range, select: this.select(after, upTo) };
  }

  private select(after: readonly string[] | null, upTo?: readonly string[]): string {
    const { order, table } = this;
    if (order !== null) return order.select({ after, ...(upTo === undefined ? {} : { upTo }) });
    return `SELECT ${printedColumns(table).join(', ')} FROM ${fromTable(table)}`;
  }

  private async split(
    range: KeyRange,
    after: readonly string[] | null,
    find: (sql: string) => Promise<KeyPlace | null>,
  ): Promise<void> {
    const upTo = range.end?.upTo;
    const within = { after, ...(upTo === undefined ? {} : { upTo }) };
    const cut = await find((this.order as KeyOrder).selectKey(within, PIECE_ROWS - 1));
    if (cut === null) return;
    this.ranges.splice(this.ranges.indexOf(range) + 1, 0, {
      ...rangeOf({}),
      end: range.end,
    });
    range.end = cut;
  }

  placeOf(bytes: Buffer, spans: Int32Array, length: number): KeyPlace {
    const key = Buffer.from(this.keyText.of(this.codec, bytes, spans, length), 'latin1');
    return { upTo: (this.order as KeyOrder).keyOf(bytes, spans), key };
  }

  wrote(length: number): void {
    this.rows++;
    this.chunkRows++;
    this.chunkBytes += length;
  }

  /** Notes the last of the rows that were written. */
  passed({ range }: CopyPiece, bytes: Buffer, spans: Int32Array, length: number): void {
    if (this.isOrdered) range.last = this.placeOf(bytes, spans, length);
  }

  /** A piece was read to its end. */
  ended({ range }: CopyPiece): void {
    range.from = this.here;
    range.last = null;
  }

  get isDone(): boolean {
    return this.ranges.every(({ from }) => from !== null);
  }

  get rowsDone(): number {
    return this.rowsBefore + this.rows;
  }

  /** Whether what was written since the last time is worth a commit, after which it stays. */
  get chunkIsFull(): boolean {
    return this.isOrdered && (this.chunkRows >= CHUNK_ROWS || this.chunkBytes >= CHUNK_BYTES);
  }

  /** Of rows by their keys as events carry them: those that are in what was read so far, by this view or
   * one before it. */
  async among(ask: Ask, keys: readonly string[]): Promise<string[]> {
    const { ranks } = this;
    if (ranks === null) return this.isDone ? [...keys] : [];
    if (keys.length === 0) return [];
    const segments = this.segments();
    const bounds = segments.flatMap(({ end }) => (end === null ? [] : [end.key]));
    const bytes = keys.map((key) => Buffer.from(key, 'latin1'));
    await ranks.learn(ask, bytes, bounds);
    return keys.filter(
      (_, index) => segments[ranks.rank(bytes[index] as Buffer, bounds)]?.from !== null,
    );
  }

  private segments(): { readonly end: KeyPlace | null; readonly from: string | null }[] {
    return this.ranges.flatMap(({ end, from, last }) => [
      ...(last === null ? [] : [{ end: last, from: this.here }]),
      { end, from },
    ]);
  }

  /** What is stored with the rows written so far; null as long as there are none. */
  chunkMark(): Pick<StreamMark, 'parts' | 'order' | 'rows'> | null {
    this.chunkRows = 0;
    this.chunkBytes = 0;
    const { parts, orders } = this;
    // What follows the last part is still to be copied.
    if (parts.at(-1)?.upTo === undefined && parts.at(-1)?.from === undefined) parts.pop();
    if (parts.length === 0) return null;
    return { parts, order: orders, rows: this.rowsDone };
  }

  /** What is stored with the whole copy. */
  doneMark(): Pick<StreamMark, 'parts' | 'order'> {
    const { parts, orders } = this;
    return parts.every(({ from }) => from === this.here) ? {} : { parts, order: orders };
  }

  /** Neighbours from one view are one part. */
  private get parts(): CopiedPart[] {
    const parts: CopiedPart[] = [];
    for (const { end, from } of this.segments()) {
      if (parts.length > 0 && parts.at(-1)?.from === (from ?? undefined)) parts.pop();
      parts.push({
        ...(end === null ? {} : { upTo: end.upTo, key: end.key.toString('base64') }),
        ...(from === null ? {} : { from }),
      });
    }
    return parts;
  }
}

function rangeOf({ upTo, key, from }: CopiedPart): KeyRange {
  const end = upTo === undefined || key === undefined ? null : { upTo, key: toBytes(key) };
  return { end, from: from ?? null, last: null, taken: from !== undefined };
}
