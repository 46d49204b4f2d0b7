import { PipelineError } from '../../../core/errors/pipeline-error.ts';
import {
  ChangeCursor,
  OP_CREATE,
  OP_DELETE,
  OP_TRUNCATE,
  type ChangeSchema,
} from '../../../schemas/envelope/change-decoder.ts';
import { WIRE_HEADER_BYTES } from '../../../schemas/envelope/record-view.ts';
import { KeySlots } from './key-slots.ts';
import { located, type RecordSlice } from './table-batch.ts';

export const UPSERT = 1;
/** An update that lacks cells the source did not send. */
export const MASKED = 2;
export const DELETE = 3;
/** A null value whose delete is not in the batch. */
export const TOMBSTONE = 4;

export interface TruncateEvent {
  readonly epoch: number;
  readonly lsnHigh: number;
  readonly lsnLow: number;
  readonly seq: number;
  readonly tsUs: number;
}

/** Knows the schema of the record at [start, end). */
export interface SchemaOfRecord {
  plan(bytes: Buffer, start: number, end: number): { readonly schema: ChangeSchema };
}

/**
 * What a batch comes to, key by key: the newest event of each key, found by the bytes of the
 * record's key. An event that is not newer than one seen before it is a repeat and counts for
 * nothing (invariant 4).
 */
export class NewestByKey {
  /** Per key: UPSERT, MASKED, DELETE or TOMBSTONE, and the record that says so. */
  readonly kinds: Uint8Array;
  readonly slices: Uint16Array;
  readonly indexes: Int32Array;
  /** The newest TRUNCATE of the batch. */
  truncate: TruncateEvent | null = null;
  private readonly epochs: Int32Array;
  private readonly lsnHighs: Int32Array;
  private readonly lsnLows: Uint32Array;
  private readonly seqs: Int32Array;
  private readonly slots: KeySlots;
  private readonly change = new ChangeCursor();
  /** For a masked event, the event of the same key before it: [slice, index], by [slice, index]. */
  private readonly earlier = new Map<number, Map<number, readonly [number, number]>>();

  constructor(table: SchemaOfRecord, slices: readonly RecordSlice[]) {
    const records = slices.reduce((sum, { from, to }) => sum + to - from, 0);
    this.kinds = new Uint8Array(records);
    this.slices = new Uint16Array(records);
    this.indexes = new Int32Array(records);
    this.epochs = new Int32Array(records);
    this.lsnHighs = new Int32Array(records);
    this.lsnLows = new Uint32Array(records);
    this.seqs = new Int32Array(records);
    this.slots = new KeySlots(records);
    slices.forEach((slice, number) => this.addSlice(table, slice, number));
  }

  get keys(): number {
    return this.slots.count;
  }

  /** The event of the same key before a masked one, or undefined. */
  before(slice: number, index: number): readonly [number, number] | undefined {
    return this.earlier.get(slice)?.get(index);
  }

  /** False for what a later TRUNCATE of the batch wiped out. */
  survives(key: number): boolean {
    const { truncate } = this;
    if (truncate === null || this.kinds[key] === TOMBSTONE) return true;
    return this.compare(key, truncate) > 0;
  }

  private addSlice(table: SchemaOfRecord, slice: RecordSlice, number: number): void {
    const { valueStarts } = slice.batch.records;
    for (let i = slice.from; i < slice.to; i++) {
      try {
        if (valueStarts[i] === -1) this.addTombstone(slice, number, i);
        else this.addChange(table, slice, number, i);
      } catch (error) {
        throw located(error, slice, i);
      }
    }
  }

  private addChange(table: SchemaOfRecord, slice: RecordSlice, number: number, i: number): void {
    const { change } = this;
    const { bytes, valueStarts, valueEnds } = slice.batch.records;
    const start = valueStarts[i] as number;
    const end = valueEnds[i] as number;
    change.decode(table.plan(bytes, start, end).schema, bytes, start, end);
    if (change.op === OP_TRUNCATE) {
      this.addTruncate();
      return;
    }
    if (!change.isRow) return;
    const keys = this.keys;
    const key = this.keyOf(slice, i);
    const isNew = this.keys > keys;
    if (!isNew && this.kinds[key] !== TOMBSTONE && this.compare(key, change) >= 0) return;
    const isDelete = change.op === OP_DELETE;
    // A new row that lacks cells was gone before they could be read: there is nothing to keep, and an
    // event that follows takes the row away again.
    const isMasked = !isDelete && change.op !== OP_CREATE && change.hasUnchanged;
    if (isMasked && !isNew && (this.kinds[key] as number) <= MASKED) this.link(key, number, i);
    this.kinds[key] = isDelete ? DELETE : isMasked ? MASKED : UPSERT;
    this.slices[key] = number;
    this.indexes[key] = i;
    this.epochs[key] = change.epoch;
    this.lsnHighs[key] = change.lsnHigh;
    this.lsnLows[key] = change.lsnLow;
    this.seqs[key] = change.seq;
  }

  private link(key: number, number: number, i: number): void {
    let links = this.earlier.get(number);
    if (links === undefined) this.earlier.set(number, (links = new Map()));
    links.set(i, [this.slices[key] as number, this.indexes[key] as number]);
  }

  private addTombstone(slice: RecordSlice, number: number, i: number): void {
    const keys = this.keys;
    const key = this.keyOf(slice, i);
    // The delete before it says the same, and has a position.
    if (this.keys === keys && this.kinds[key] === DELETE) return;
    this.kinds[key] = TOMBSTONE;
    this.slices[key] = number;
    this.indexes[key] = i;
  }

  private addTruncate(): void {
    const { change, truncate } = this;
    const { epoch, lsnHigh, lsnLow, seq, tsUs } = change;
    if (truncate !== null && comparePositions(truncate, change) >= 0) return;
    this.truncate = { epoch, lsnHigh, lsnLow, seq, tsUs };
  }

  private keyOf(slice: RecordSlice, i: number): number {
    const { bytes, keyStarts, keyEnds } = slice.batch.records;
    const start = keyStarts[i] as number;
    if (start === -1) {
      const { stream } = slice.batch.target.stream;
      const message = `stream ${stream.namespace}.${stream.name}: a record without a key cannot be deduped`;
      throw new PipelineError('EVT_UNDECODABLE', message);
    }
    return this.slots.slotOf(bytes, start + WIRE_HEADER_BYTES, keyEnds[i] as number);
  }

  private compare(key: number, other: Position): number {
    return (
      (this.epochs[key] as number) - other.epoch ||
      (this.lsnHighs[key] as number) - other.lsnHigh ||
      (this.lsnLows[key] as number) - (other.lsnLow >>> 0) ||
      (this.seqs[key] as number) - other.seq
    );
  }
}

type Position = Pick<TruncateEvent, 'epoch' | 'lsnHigh' | 'lsnLow' | 'seq'>;

function comparePositions(a: Position, b: Position): number {
  return (
    a.epoch - b.epoch ||
    a.lsnHigh - b.lsnHigh ||
    (a.lsnLow >>> 0) - (b.lsnLow >>> 0) ||
    a.seq - b.seq
  );
}
