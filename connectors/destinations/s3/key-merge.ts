import { setImmediate as nextTurn } from 'node:timers/promises';
import type { ChangeSchema } from '../../../schemas/envelope/change-decoder.ts';
import type { ChangeRuns } from './change-runs.ts';
import { CHANGE_COLUMNS, KEY_COLUMN, type FileColumn } from './file-columns.ts';
import type { SourcePosition } from './generation-chain.ts';
import { slotOf } from './hash-slots.ts';
import { KeyChanges, keyText, type KeyChange } from './key-changes.ts';
import type { FileValue } from './file-values.ts';
import { comparePositions, positionText, type Position } from './position.ts';
import { PublishedFile, writtenValue, type PublishedGroup } from './published-rows.ts';
import { RowIds } from './row-ids.ts';
import { RowValues, TEXTS, textsOf, type Carried } from './row-values.ts';
import { SlotFiles, type BuiltFile, type SlotFilesSpec } from './slot-files.ts';

export interface MergeSpec extends SlotFilesSpec {
  /** Published files of the slots, in their order, on the local disk. */
  readonly published: readonly string[];
  /** Make a file even when no row is left. */
  readonly keepEmpty: boolean;
}

export interface Merged {
  readonly files: readonly BuiltFile[];
  /** First and last position of the changes merged. */
  readonly source: { readonly first: SourcePosition; readonly last: SourcePosition } | null;
}

/** What a merge needs of its spool. */
export interface MergeInput {
  readonly runs: ChangeRuns;
  readonly idHash: string;
  readonly schemas: ReadonlyMap<number, ChangeSchema>;
  readonly truncate: Position | null;
}

const column = (name: string): number => CHANGE_COLUMNS.findIndex((each) => each.name === name);
const EPOCH = column('_headrace_epoch');
const LSN = column('_ab_cdc_lsn');
const SEQ = column('_headrace_seq');

/**
 * Brings the published rows of some hash slots up to date: an external merge by key hash. Published
 * files hold their rows in the order of the slots and so do the changes' runs, so that memory holds
 * one row group read, one row group to write and a few megabytes of changes, however large the
 * stream is (invariant 9). A row that no newer change names is copied value by value.
 */
export class KeyMerge {
  private readonly spec: MergeSpec;
  private readonly truncate: Position | null;
  private readonly values: RowValues;
  private readonly changes: KeyChanges;
  private readonly out: SlotFiles;
  private readonly columns: readonly FileColumn[];
  private slot: number;

  constructor(spec: MergeSpec, { runs, idHash, schemas, truncate }: MergeInput) {
    const ids = new RowIds(idHash);
    this.spec = spec;
    this.truncate = truncate;
    this.columns = [...spec.layout.columns, ...CHANGE_COLUMNS];
    this.values = new RowValues(spec.layout.columns, ids, schemas);
    this.changes = new KeyChanges(runs, this.values, truncate);
    this.out = new SlotFiles(spec, this.values);
    this.slot = spec.firstSlot;
  }

  async run(): Promise<Merged> {
    for (const path of this.spec.published) await this.mergeFile(path);
    await this.passSlots(this.spec.endSlot);
    const files = await this.out.finish(this.spec.keepEmpty);
    const { first, last } = this.changes;
    if (first === null || last === null) return { files, source: null };
    return { files, source: { first: positionText(first), last: positionText(last) } };
  }

  private async mergeFile(path: string): Promise<void> {
    const file = new PublishedFile(path);
    try {
      for await (const group of file.groups([...this.columns, KEY_COLUMN])) {
        await this.mergeGroup(group);
      }
    } finally {
      file.close();
    }
  }

  private async mergeGroup(group: PublishedGroup): Promise<void> {
    const keys = group.columns[this.columns.length] as ArrayLike<Uint8Array>;
    for (let row = 0; row < group.rows; row++) {
      const key = keys[row] as Uint8Array;
      const slot = slotOf(key, 0, key.length);
      if (slot > this.slot) await this.passSlots(slot);
      this.mergeRow(group, row, key);
    }
    // The thread takes the records that have come in meanwhile.
    await nextTurn();
  }

  /** Adds the keys that are new in the slots below `end`. */
  private async passSlots(end: number): Promise<void> {
    for (; this.slot < end; this.slot++) {
      for (const change of this.changes.at(this.slot).values()) this.addChange(change, null);
      this.out.atSlot(this.slot + 1);
      if (this.slot % 64 === 0) await nextTurn();
    }
  }

  private mergeRow(group: PublishedGroup, row: number, key: Uint8Array): void {
    const at = this.positionAt(group, row);
    const isWiped = this.truncate !== null && comparePositions(at, this.truncate) <= 0;
    const changes = this.changes.at(this.slot);
    const text = keyText(key);
    const change = changes.get(text);
    if (change === undefined) {
      if (!isWiped) this.copyRow(group, row, key);
      return;
    }
    if (isWiped) return; // the change stands alone
    changes.delete(text);
    if (change.position !== null && comparePositions(change.position, at) <= 0) {
      this.copyRow(group, row, key);
      return;
    }
    this.addChange(change, change.carried === null ? null : this.carriedAt(group, row));
  }

  private positionAt(group: PublishedGroup, row: number): Position {
    const first = this.values.columns.length;
    const cell = (index: number): bigint =>
      (group.columns[first + index] as bigint[])[row] as bigint;
    return { epoch: Number(cell(EPOCH)), lsn: cell(LSN), seq: Number(cell(SEQ)) };
  }

  private copyRow(group: PublishedGroup, row: number, key: Uint8Array): void {
    this.out.group.addValues(this.rowAt(group, row));
    this.out.added(key, this.columns.length * 8);
  }

  private rowAt(group: PublishedGroup, row: number): FileValue[] {
    return this.columns.map((each, index) => {
      const cells = group.columns[index];
      if (cells === null || cells === undefined) return this.values.initial(index);
      return writtenValue(cells[row], each);
    });
  }

  private carriedAt(group: PublishedGroup, row: number): Carried {
    const values = this.rowAt(group, row);
    return { values, texts: textsOf(values[this.values.columns.length + TEXTS]), isAll: true };
  }

  private addChange(change: KeyChange, base: Carried | null): void {
    if (change.value === null) return;
    this.values.add(this.out.group, change, base);
    this.out.added(change.key, change.value.length);
  }
}
