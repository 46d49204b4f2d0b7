import { ChangeCursor, OP_CREATE, OP_DELETE } from '../../../schemas/envelope/change-decoder.ts';
import { schemaIdAt, WIRE_HEADER_BYTES } from '../../../schemas/envelope/record-view.ts';
import type { ChangeRuns } from './change-runs.ts';
import { SLOTS, slotOf } from './hash-slots.ts';
import { keyedRecordAt, type KeyedRecord } from './keyed-chunk.ts';
import { comparePositions, earlierOf, laterOf, positionOf, type Position } from './position.ts';
import type { Carried, RowValues } from './row-values.ts';

/** Bytes of changes that are looked at together (invariant 9). */
const WINDOW_BYTES = 4 * 1024 * 1024;

/** The newest change of a key. */
export interface KeyChange {
  readonly key: Uint8Array;
  /** Null for a tombstone whose delete is gone: it has no position and wins over what is there. */
  readonly position: Position | null;
  /** The record's value; null when the row is gone. */
  readonly value: Buffer | null;
  readonly offset: number;
  /** Cells that the record lacks and changes of the key before it have; null when it lacks none. */
  readonly carried: Carried | null;
}

/**
 * The changes since a generation, key by key and slot by slot: of each key the newest, and for cells
 * its record lacks those of the records before it. Slots are asked for in rising order; a few
 * megabytes of changes are held at a time. A change that is not newer than one before it is a repeat
 * and counts for nothing (invariant 4).
 */
export class KeyChanges {
  /** Of all changes looked at. */
  first: Position | null = null;
  last: Position | null = null;
  private readonly runs: ChangeRuns;
  private readonly values: RowValues;
  private readonly slotBytes: Float64Array;
  private readonly truncate: Position | null;
  private readonly change = new ChangeCursor();
  private windowFirst = 0;
  private window: Map<string, KeyChange>[] = [];

  /** Changes at or before `truncate` are wiped out. */
  constructor(runs: ChangeRuns, values: RowValues, truncate: Position | null) {
    this.runs = runs;
    this.values = values;
    this.truncate = truncate;
    this.slotBytes = runs.slotBytes();
  }

  /** The slot's changes by `keyText`; the caller takes out what it has dealt with. */
  at(slot: number): Map<string, KeyChange> {
    if (slot < this.windowFirst || slot >= this.windowFirst + this.window.length) this.load(slot);
    return this.window[slot - this.windowFirst] as Map<string, KeyChange>;
  }

  private load(first: number): void {
    let end = first;
    let bytes = 0;
    do bytes += this.slotBytes[end++] as number;
    while (end < SLOTS && bytes + (this.slotBytes[end] as number) <= WINDOW_BYTES);
    this.windowFirst = first;
    this.window = Array.from({ length: end - first }, () => new Map<string, KeyChange>());
    for (const part of this.runs.read(first, end)) {
      for (let pos = 0; pos < part.length;) {
        const record = keyedRecordAt(part, pos);
        this.take(part, record);
        pos = record.valueEnd;
      }
    }
  }

  private take(bytes: Buffer, record: KeyedRecord): void {
    const keyStart = record.keyStart + WIRE_HEADER_BYTES;
    const slot = slotOf(bytes, keyStart, record.keyEnd);
    const key = new Uint8Array(bytes.subarray(keyStart, record.keyEnd));
    const changes = this.window[slot - this.windowFirst] as Map<string, KeyChange>;
    const text = keyText(key);
    const next = this.newer(changes.get(text), key, bytes, record);
    if (next !== null) changes.set(text, next);
  }

  /** What the key comes to with the record; null when it is no news. */
  private newer(
    before: KeyChange | undefined,
    key: Uint8Array,
    bytes: Buffer,
    { valueStart, valueEnd, offset }: KeyedRecord,
  ): KeyChange | null {
    if (valueStart === -1) {
      // The delete before it says the same, and has a position.
      if (before !== undefined && before.value === null) return null;
      return { key, position: null, value: null, offset, carried: null };
    }
    const { change } = this;
    const { schema } = this.values.projection(schemaIdAt(bytes, valueStart, valueEnd));
    change.decode(schema, bytes, valueStart, valueEnd);
    const position = positionOf(change);
    this.first = earlierOf(this.first, position);
    this.last = laterOf(this.last, position);
    if (this.truncate !== null && comparePositions(position, this.truncate) <= 0) return null;
    if (before != null && before.position !== null) {
      if (comparePositions(before.position, position) >= 0) return null;
    }
    if (change.op === OP_DELETE) return { key, position, value: null, offset, carried: null };
    // A new row that lacks cells was gone before they could be read; what follows takes it away.
    const isPartial = change.hasUnchanged && change.op !== OP_CREATE;
    const carried = isPartial ? this.values.carriedFrom(before) : null;
    const value = Buffer.from(bytes.subarray(valueStart, valueEnd));
    return { key, position, value, offset, carried };
  }
}

export function keyText(key: Uint8Array): string {
  return Buffer.from(key.buffer, key.byteOffset, key.length).toString('latin1');
}
