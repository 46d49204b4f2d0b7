import type { RowCodec } from '../../capture/row-codec.ts';
import type { SchemaIds } from '../../spi/source.ts';
import type { TableFacts } from './catalog.ts';
import { isOrderKnown, isUpTo, type CopiedPart } from './copied-parts.ts';
import { KeyOrder } from './key-chunks.ts';
import { placeText, type StreamMark } from './position.ts';
import { fromTable, printedColumns } from './text-rows.ts';
import { KeyText } from './touched-rows.ts';

/** What is committed at a time, and not copied again after a crash. */
const CHUNK_ROWS = 50_000;
const CHUNK_BYTES = 64 * 1024 * 1024;

/**
 * How far the copy of one table is. In the order of a key that we can compare as the server does, it
 * goes on from its last committed row after a crash, in a later view; the marks say which rows are
 * from which view. Any other table is copied in one piece.
 */
export class CopyProgress {
  /** A copy that was interrupted is gone on with. */
  readonly resumed: boolean;
  readonly select: string;
  readonly cells: number;
  /** Rows that earlier views gave. */
  readonly rowsBefore: number;
  private readonly order: KeyOrder | null;
  private readonly codec: RowCodec;
  private readonly keyText = new KeyText();
  private readonly earlier: readonly CopiedPart[];
  private rows = 0;
  private chunkRows = 0;
  private chunkBytes = 0;
  private last: { bytes: Buffer; spans: Int32Array; length: number } | null = null;

  constructor(table: TableFacts, codec: RowCodec, ids: SchemaIds, mark: StreamMark | undefined) {
    this.codec = codec;
    const ascending = table.keyParts.every(({ descending }) => !descending);
    this.order = ascending && isOrderKnown(codec.schema) ? KeyOrder.of(table) : null;
    const same = mark?.ids?.value === ids.value && mark.ids.key === ids.key;
    const parts = mark?.done === false && mark.partial !== true ? mark.parts : undefined;
    this.resumed = this.order !== null && same && parts !== undefined;
    this.earlier = this.resumed ? (parts ?? []) : [];
    this.rowsBefore = this.resumed ? (mark?.rows ?? 0) : 0;
    const { order } = this;
    const after = this.earlier.at(-1)?.upTo ?? null;
    this.select =
      order === null
        ? `SELECT ${printedColumns(table).join(', ')} FROM ${fromTable(table)}`
        : order.select({ after });
    this.cells = order === null ? table.columns.length : order.cells.length;
  }

  isSamePlace(place: bigint): boolean {
    return this.earlier.at(-1)?.from === placeText(place);
  }

  /** A row was written; its bytes are valid until the next one's. */
  wrote(bytes: Buffer, spans: Int32Array, length: number): void {
    this.rows++;
    this.chunkRows++;
    this.chunkBytes += length;
    if (this.order !== null) this.last = { bytes, spans, length };
  }

  /** Whether what was written since the last time is worth a commit, after which it stays. */
  get chunkIsFull(): boolean {
    return this.canResume && (this.chunkRows >= CHUNK_ROWS || this.chunkBytes >= CHUNK_BYTES);
  }

  get canResume(): boolean {
    return this.order !== null && this.last !== null;
  }

  /** Whether a row, by its key as an event's, lies before the last one that was written. */
  isPassed(key: string): boolean {
    return isUpTo(this.codec.schema, Buffer.from(key, 'latin1'), this.lastKey());
  }

  private lastKey(): Buffer {
    if (this.last === null) return Buffer.alloc(0);
    const { bytes, spans, length } = this.last;
    return Buffer.from(this.keyText.of(this.codec, bytes, spans, length), 'latin1');
  }

  /** What is stored with the rows written so far, which a view at `place` shows. */
  chunkMark(place: bigint): Pick<StreamMark, 'parts' | 'rows'> {
    const { order, last } = this;
    this.chunkRows = 0;
    this.chunkBytes = 0;
    if (order === null || last === null) return {};
    const part: CopiedPart = {
      upTo: order.keyOf(last.bytes, last.spans),
      key: this.lastKey().toString('base64'),
      from: placeText(place),
    };
    return {
      parts: [...this.earlier, part],
      rows: this.rowsBefore + this.rows,
    };
  }

  /** Whether a row, by its key as an event's, is in what earlier views gave. */
  isEarlier(key: string): boolean {
    const last = this.earlier.at(-1)?.key;
    if (last === undefined) return false;
    const bytes = Buffer.from(key, 'latin1');
    return isUpTo(this.codec.schema, bytes, Buffer.from(last, 'base64'));
  }

  /** What is stored with the whole copy. */
  doneMark(): Pick<StreamMark, 'parts'> {
    return this.earlier.length === 0 ? {} : { parts: this.earlier };
  }
}
