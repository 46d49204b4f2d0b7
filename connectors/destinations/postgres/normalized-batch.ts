import type { BinaryWriter } from './binary-writer.ts';
import type { CompiledShape } from './compiled-shape.ts';
import { truncateValues } from './deduped-rows.ts';
import type { Statement } from './exchange.ts';
import { forgetVersions, truncateVersions } from './history-statements.ts';
import { DELETE, NewestByKey, TOMBSTONE, type TruncateEvent } from './newest-by-key.ts';
import type { NormalizedEvent, NormalizedEvents } from './normalized-events.ts';
import { NormalizedRows } from './normalized-rows.ts';
import { rawStatement } from './raw-rows.ts';
import { StagedRows } from './staged-rows.ts';
import {
  located,
  type EncodeOptions,
  type RecordSlice,
  type TableStatements,
} from './table-batch.ts';
import type { TableColumn, TableLayout } from './table-layout.ts';
import { writeMicros } from './timestamp-cell.ts';
import {
  appendMissingStatement,
  appendStatement,
  deleteColumns,
  deleteStatement,
  goneStatement,
  truncatedStatement,
  truncateStatement,
  upsertStatement,
  upsertWithChildren,
} from './table-statements.ts';

/** The statements of a normalized stream: raw rows, the flat table, its children. */
export function normalizedStatements(
  compiled: CompiledShape,
  events: NormalizedEvents,
  slices: readonly RecordSlice[],
  options: EncodeOptions,
): TableStatements {
  const batch = new NormalizedBatch(compiled, events, slices, options);
  return compiled.flat.mode === 'append_dedup' ? batch.deduped() : batch.appended();
}

class NormalizedBatch {
  private readonly compiled: CompiledShape;
  private readonly events: NormalizedEvents;
  private readonly slices: readonly RecordSlice[];
  private readonly options: EncodeOptions;
  private readonly rows: NormalizedRows;
  private readonly statements: Statement[] = [];

  constructor(
    compiled: CompiledShape,
    events: NormalizedEvents,
    slices: readonly RecordSlice[],
    options: EncodeOptions,
  ) {
    this.compiled = compiled;
    this.events = events;
    this.slices = slices;
    this.options = options;
    const records = slices.reduce((sum, { from, to }) => sum + to - from, 0);
    this.rows = new NormalizedRows(compiled, records, options);
  }

  appended(): TableStatements {
    this.eachEvent((event) => this.rows.add(event));
    this.addRaw();
    const { compiled, rows } = this;
    const isReplay = this.options.isReplay === true;
    const name = isReplay ? 'missing' : 'added';
    const statement = isReplay ? appendMissingStatement : appendStatement;
    this.add(rows.flat, name, () => statement(compiled.flat));
    rows.children.forEach((staged, i) => {
      this.add(staged, `${name} ${i}`, () => statement(compiled.children[i] as TableLayout));
    });
    return { statements: this.statements, mustMissNone: [], isLong: false };
  }

  deduped(): TableStatements {
    const { compiled, options, slices, rows } = this;
    const { flat, children } = compiled;
    const newest = new NewestByKey(compiled, slices);
    const touched = new StagedRows(deleteColumns(flat), newest.keys);
    const deletes = new StagedRows(deleteColumns(flat), newest.keys);
    const softDeletes = new StagedRows(softColumns(flat), newest.keys);
    for (let key = 0; key < newest.keys; key++) {
      if (!newest.survives(key)) continue;
      const slice = slices[newest.slices[key] as number] as RecordSlice;
      const index = newest.indexes[key] as number;
      const kind = newest.kinds[key];
      try {
        if (kind === TOMBSTONE) {
          // A row that is only marked keeps its children.
          this.stageTombstone(slice, index, options.softDeletes ? [deletes] : [touched, deletes]);
        } else if (kind !== DELETE) {
          rows.add(this.events.at(slice, index));
          this.stageKey(slice, index, [touched]);
        } else if (options.softDeletes) this.stageSoftDelete(slice, index, softDeletes);
        else this.stageKey(slice, index, [touched, deletes]);
      } catch (error) {
        throw located(error, slice, index);
      }
    }
    this.eachEvent((event) => this.rows.addVersion(event));
    this.addRaw();
    const { truncate } = newest;
    this.addHistory(deletes, truncate);
    if (truncate !== null) {
      const values = truncateValues(truncate);
      const soft = options.softDeletes;
      if (!soft) this.statements.push({ text: truncatedStatement(flat, children), values });
      this.statements.push({ text: truncateStatement(flat, soft), values });
    }
    if (children.length > 0) this.add(touched, 'gone', () => goneStatement(flat, children));
    this.addUpsert();
    this.add(deletes, 'delete', () => deleteStatement(flat, options.softDeletes));
    this.add(softDeletes, 'soft', () => upsertStatement(flat, softColumns(flat)));
    return { statements: this.statements, mustMissNone: [], isLong: truncate !== null };
  }

  /** The versions of rows are all kept, not the newest alone. */
  private addHistory(deletes: StagedRows, truncate: TruncateEvent | null): void {
    const { compiled, rows } = this;
    const { history, flat } = compiled;
    if (history === null || rows.history === null) return;
    const text = compiled.text.bind(compiled);
    this.statements.push(...rows.history.statements(text));
    this.add(deletes, 'forget', () => forgetVersions(history, deleteColumns(flat)));
    if (truncate === null) return;
    this.statements.push({ text: truncateVersions(history), values: truncateValues(truncate) });
  }

  private addUpsert(): void {
    const { flat, children } = this.rows;
    if (flat.rows === 0) return;
    const used = children.flatMap((staged, i) => (staged === null ? [] : [i]));
    const text = this.compiled.text(`upsert ${used.join(' ')}`, () =>
      upsertWithChildren(
        this.compiled.flat,
        used.map((i) => this.compiled.children[i] as TableLayout),
      ),
    );
    const values = [flat, ...used.map((i) => children[i] as StagedRows)];
    this.statements.push({ text, values: values.flatMap((staged) => staged.parameters()) });
  }

  private add(rows: StagedRows | null, name: string, make: () => string): void {
    if (rows === null || rows.rows === 0) return;
    this.statements.push({ text: this.compiled.text(name, make), values: rows.parameters() });
  }

  private addRaw(): void {
    const { raw } = this.rows;
    if (raw.rows === 0) return;
    this.statements.push(rawStatement(this.compiled.raw, raw, this.options));
  }

  private eachEvent(work: (event: NormalizedEvent) => void): void {
    for (const slice of this.slices) {
      for (let i = slice.from; i < slice.to; i++) {
        const event = this.events.at(slice, i) as NormalizedEvent | undefined;
        if (event === undefined) continue;
        this.rows.addRaw(event);
        work(event);
      }
    }
  }

  private stageKey(slice: RecordSlice, index: number, targets: readonly StagedRows[]): void {
    const event = this.events.at(slice, index);
    const { change } = event;
    const stamp = this.rows.stamp(event);
    for (const rows of targets) {
      const at = this.writeKey(slice, index, rows);
      (rows.cells[at] as BinaryWriter).int4Cell(change.epoch);
      (rows.cells[at + 1] as BinaryWriter).int8Cell(change.lsnHigh, change.lsnLow);
      (rows.cells[at + 2] as BinaryWriter).int4Cell(change.seq);
      stamp.ids.writeCell(rows.cells[at + 3] as BinaryWriter, stamp.offset);
    }
  }

  private stageTombstone(slice: RecordSlice, index: number, targets: readonly StagedRows[]): void {
    const stamp = this.rows.stamp({ slice, index });
    for (const rows of targets) {
      const at = this.writeKey(slice, index, rows);
      for (let i = 0; i < 3; i++) (rows.cells[at + i] as BinaryWriter).null();
      stamp.ids.writeCell(rows.cells[at + 3] as BinaryWriter, stamp.offset);
    }
  }

  private stageSoftDelete(slice: RecordSlice, index: number, rows: StagedRows): void {
    const { change } = this.events.at(slice, index);
    const at = this.writeKey(slice, index, rows);
    const cells = rows.cells as BinaryWriter[];
    (cells[at] as BinaryWriter).int8Cell(change.lsnHigh, change.lsnLow);
    for (const i of [1, 2]) writeMicros(cells[at + i] as BinaryWriter, change.tsUs);
    (cells[at + 3] as BinaryWriter).int4Cell(change.epoch);
    (cells[at + 4] as BinaryWriter).int4Cell(change.seq);
  }

  private writeKey(slice: RecordSlice, index: number, rows: StagedRows): number {
    rows.beginRow();
    return writeKeyCells(this.compiled, slice, index, rows);
  }
}

/** A soft delete leaves the row and what tells its children as they were. */
function softColumns(flat: TableLayout): TableColumn[] {
  const names = ['_ab_cdc_lsn', '_ab_cdc_updated_at', '_ab_cdc_deleted_at'];
  const own = [...names, '_headrace_epoch', '_headrace_seq'];
  const columns = own.map((name) => flat.columns.find((c) => c.name === name) as TableColumn);
  return [...flat.keys.map((index) => flat.columns[index] as TableColumn), ...columns];
}

/** Writes the key's cells from the record's key; answers how many they are. */
export function writeKeyCells(
  compiled: CompiledShape,
  slice: RecordSlice,
  index: number,
  rows: StagedRows,
): number {
  const { bytes, keyStarts, keyEnds } = slice.batch.records;
  const start = keyStarts[index] as number;
  const plan = compiled.keyPlan(bytes, start, keyEnds[index] as number);
  const spans = new Int32Array(plan.cellOf.length * 2);
  plan.schema.decode(bytes, start, spans);
  plan.cellOf.forEach((cell, i) => {
    const [from, to] = [spans[cell * 2] as number, spans[cell * 2 + 1] as number];
    plan.encoders[i]?.(rows.cells[i] as BinaryWriter, bytes, from, to);
  });
  return plan.cellOf.length;
}
