import {
  CELL_NULL,
  CELL_UNCHANGED,
  ChangeCursor,
  OP_CREATE,
} from '../../../schemas/envelope/change-decoder.ts';
import { changesOf, isMisfit, writeMeta } from './appended-rows.ts';
import type { BinaryWriter } from './binary-writer.ts';
import type { ChangePlan } from './change-plan.ts';
import { EventIds, writeMetadata, type EventStamp } from './event-metadata.ts';
import type { Statement } from './exchange.ts';
import type { RecordMisfits } from './misfit-cells.ts';
import { DELETE, MASKED, NewestByKey, TOMBSTONE, type TruncateEvent } from './newest-by-key.ts';
import type { FieldChange } from './row-meta.ts';
import { StagedRows } from './staged-rows.ts';
import {
  located,
  type CompiledTable,
  type EncodeOptions,
  type RecordSlice,
  type TableStatements,
} from './table-batch.ts';
import { metaColumnOf, type TableColumn, type TableLayout } from './table-layout.ts';
import {
  deleteColumns,
  deleteStatement,
  maskedColumns,
  maskedStatement,
  truncateStatement,
  upsertStatement,
} from './table-statements.ts';

/** One row per key: the statements that bring the table to where the batch leaves it. */
export function dedupedRows(
  table: CompiledTable,
  slices: readonly RecordSlice[],
  options: EncodeOptions,
): TableStatements {
  const newest = new NewestByKey(table, slices);
  const encoder = new DedupedEncoder(table, slices, newest, options);
  for (let key = 0; key < newest.keys; key++) {
    if (newest.survives(key)) encoder.add(key);
  }
  return encoder.statements();
}

interface DecodedChange {
  readonly plan: ChangePlan;
  readonly bytes: Buffer;
  readonly change: ChangeCursor;
  readonly misfits: RecordMisfits | undefined;
}

class DedupedEncoder {
  private readonly table: CompiledTable;
  private readonly slices: readonly RecordSlice[];
  private readonly newest: NewestByKey;
  private readonly options: EncodeOptions;
  private readonly ids: readonly EventIds[];
  private readonly change = new ChangeCursor();
  private readonly keySpans: Int32Array;
  private readonly full: StagedRows;
  private masked: StagedRows | null = null;
  private deletes: StagedRows | null = null;
  private softDeletes: StagedRows | null = null;

  constructor(
    table: CompiledTable,
    slices: readonly RecordSlice[],
    newest: NewestByKey,
    options: EncodeOptions,
  ) {
    this.table = table;
    this.slices = slices;
    this.newest = newest;
    this.options = options;
    this.ids = slices.map(({ batch: { target } }) => new EventIds(target.topic, target.partition));
    this.keySpans = new Int32Array(table.layout.keys.length * 2);
    this.full = new StagedRows(table.layout.columns, newest.keys);
  }

  /** Stages what became of a key. */
  add(key: number): void {
    const slice = this.slices[this.newest.slices[key] as number] as RecordSlice;
    const index = this.newest.indexes[key] as number;
    try {
      switch (this.newest.kinds[key]) {
        case TOMBSTONE:
          return this.addTombstone(key, slice, index);
        case DELETE:
          return this.addDelete(key, slice, index);
        case MASKED:
          return this.addMasked(key, slice, index);
        default:
          return this.addFull(key, slice, index);
      }
    } catch (error) {
      throw located(error, slice, index);
    }
  }

  statements(): TableStatements {
    const { table, full, masked, deletes, softDeletes, newest, options } = this;
    const soft = options.softDeletes;
    const statements: Statement[] = [];
    const mustMissNone: number[] = [];
    const add = (rows: StagedRows | null, name: string, make: (l: TableLayout) => string) => {
      if (rows === null || rows.rows === 0) return;
      statements.push({
        text: table.text(name, make),
        values: rows.parameters(),
        isRepeated: name === 'upsert',
      });
    };
    if (newest.truncate !== null) {
      const text = table.text('truncate', (layout) => truncateStatement(layout, soft));
      statements.push({ text, values: truncateValues(newest.truncate) });
    }
    add(full, 'upsert', (layout) => upsertStatement(layout, layout.columns));
    // A row that a replay does not find is gone by the time it has come as far as the table was.
    if (masked !== null && options.isReplay !== true) mustMissNone.push(statements.length);
    add(masked, 'masked', maskedStatement);
    add(deletes, 'delete', (layout) => deleteStatement(layout, soft));
    add(softDeletes, 'softDelete', (layout) => upsertStatement(layout, softColumns(layout)));
    return { statements, mustMissNone, isLong: newest.truncate !== null };
  }

  private addFull(key: number, slice: RecordSlice, index: number): void {
    const { change, options, table } = this;
    const { bytes, plan, misfits } = this.decode(slice, index, change);
    const { cellOf, encoders } = plan;
    const { cells } = this.full;
    const { after } = change;
    this.full.beginRow();
    for (let column = 0; column < cellOf.length; column++) {
      const cell = cellOf[column] as number;
      const start = cell === -1 ? CELL_ABSENT : (after[cell * 2] as number);
      const out = cells[column] as BinaryWriter;
      if (isNull(start) || isMisfit(misfits, plan, cell)) out.null();
      else encoders[column]?.(out, bytes, start, after[cell * 2 + 1] as number);
    }
    writeMetadata(cells, cellOf.length, change, this.stamp(key, slice, index, options), false);
    if (table.metaColumn === -1) return;
    writeMeta(cells[table.metaColumn] as BinaryWriter, changesOf(misfits));
  }

  /** Fills the cells that the event lacks from earlier events of its key in the batch; what is
   * missing still is kept as the table has it. */
  private addMasked(key: number, slice: RecordSlice, index: number): void {
    const { layout } = this.table;
    const events = this.eventsOf(this.newest.slices[key] as number, index);
    const found = Array.from({ length: layout.sourceColumns }, (_, column) =>
      findCell(events, column),
    );
    const isWhole = found.every((cell) => cell !== null);
    const rows = isWhole
      ? this.full
      : (this.masked ??= new StagedRows(maskedColumns(layout), this.newest.keys));
    const mask = Buffer.alloc(Math.ceil(layout.columns.length / 8));
    rows.beginRow();
    found.forEach((cell, column) => {
      const out = rows.cells[column] as BinaryWriter;
      if (cell === null) mask[column >> 3] = (mask[column >> 3] as number) | (1 << (column & 7));
      if (cell === null || isNull(cell.start) || cell.misfit !== undefined) out.null();
      else cell.event.plan.encoders[column]?.(out, cell.event.bytes, cell.start, cell.end);
    });
    const { change } = events[0] as DecodedChange;
    const stamp = this.stamp(key, slice, index, this.options);
    writeMetadata(rows.cells, layout.sourceColumns, change, stamp, false);
    this.writeMergedMeta(rows, events[0] as DecodedChange, found, isWhole);
    if (isWhole) return;
    const out = rows.cells[layout.columns.length] as BinaryWriter;
    out.ensure(4 + mask.length);
    out.int32(mask.length);
    out.copy(mask, 0, mask.length);
  }

  /** The changes of the cells that the events brought; those of the cells that are kept are kept. */
  private writeMergedMeta(
    rows: StagedRows,
    { plan }: DecodedChange,
    found: readonly (FoundCell | null)[],
    isWhole: boolean,
  ): void {
    const { layout, metaColumn } = this.table;
    if (metaColumn === -1) return;
    const changes = found.flatMap((cell) => (cell?.misfit === undefined ? [] : [cell.misfit]));
    writeMeta(rows.cells[metaColumn] as BinaryWriter, changes);
    if (isWhole) return;
    const nameOf = (column: number) => plan.schema.columns[plan.cellOf[column] as number]?.name;
    const kept = found.flatMap((cell, column) => (cell === null ? [nameOf(column)] : []));
    const names = rows.cells[layout.columns.length + 1] as BinaryWriter;
    names.textCell(`\u0001${JSON.stringify(kept)}`);
  }

  private addDelete(key: number, slice: RecordSlice, index: number): void {
    const { change, table, options } = this;
    const { layout } = table;
    this.decode(slice, index, change);
    const stamp = this.stamp(key, slice, index, options);
    const keys = layout.keys.length;
    if (options.softDeletes) {
      const rows = (this.softDeletes ??= new StagedRows(softColumns(layout), this.newest.keys));
      rows.beginRow();
      this.writeKey(rows, slice, index);
      writeMetadata(rows.cells, keys, change, stamp, true);
      return;
    }
    const rows = this.deleteRows();
    rows.beginRow();
    this.writeKey(rows, slice, index);
    (rows.cells[keys] as BinaryWriter).int4Cell(change.epoch);
    (rows.cells[keys + 1] as BinaryWriter).int8Cell(change.lsnHigh, change.lsnLow);
    (rows.cells[keys + 2] as BinaryWriter).int4Cell(change.seq);
    stamp.ids.writeCell(rows.cells[keys + 3] as BinaryWriter, stamp.offset);
  }

  private addTombstone(key: number, slice: RecordSlice, index: number): void {
    const rows = this.deleteRows();
    const keys = this.table.layout.keys.length;
    const stamp = this.stamp(key, slice, index, this.options);
    rows.beginRow();
    this.writeKey(rows, slice, index);
    for (let i = 0; i < 3; i++) (rows.cells[keys + i] as BinaryWriter).null();
    stamp.ids.writeCell(rows.cells[keys + 3] as BinaryWriter, stamp.offset);
  }

  private deleteRows(): StagedRows {
    return (this.deletes ??= new StagedRows(deleteColumns(this.table.layout), this.newest.keys));
  }

  /** The key's cells, from the record's key: a delete's row image need not be whole. */
  private writeKey(rows: StagedRows, slice: RecordSlice, index: number): void {
    const { bytes, keyStarts, keyEnds } = slice.batch.records;
    const start = keyStarts[index] as number;
    const plan = this.table.keyPlan(bytes, start, keyEnds[index] as number);
    plan.schema.decode(bytes, start, this.keySpans);
    plan.cellOf.forEach((cell, i) => {
      const [from, to] = [this.keySpans[cell * 2] as number, this.keySpans[cell * 2 + 1] as number];
      plan.encoders[i]?.(rows.cells[i] as BinaryWriter, bytes, from, to);
    });
  }

  /** A masked event and those of its key before it, newest first, up to one that is whole. */
  private eventsOf(slice: number, index: number): DecodedChange[] {
    const events: DecodedChange[] = [];
    let at: readonly [number, number] | undefined = [slice, index];
    while (at !== undefined) {
      const [number, i]: readonly [number, number] = at;
      events.push(this.decode(this.slices[number] as RecordSlice, i, new ChangeCursor()));
      at = this.newest.before(number, i);
    }
    return events;
  }

  private decode(slice: RecordSlice, index: number, change: ChangeCursor): DecodedChange {
    const { bytes, valueStarts, valueEnds } = slice.batch.records;
    const start = valueStarts[index] as number;
    const end = valueEnds[index] as number;
    const plan = this.table.plan(bytes, start, end);
    change.decode(plan.schema, bytes, start, end);
    const { target, records } = slice.batch;
    const misfits = this.options.misfits?.of(target, records.offsets[index] as number);
    return { plan, bytes, change, misfits };
  }

  private stamp(key: number, slice: RecordSlice, index: number, o: EncodeOptions): EventStamp {
    const ids = this.ids[this.newest.slices[key] as number] as EventIds;
    const offset = slice.batch.records.offsets[index] as number;
    return { ids, offset, emittedAtMs: o.emittedAtMs };
  }
}

/** The event's schema lacks the column; the plan's encoder knows what is there then. */
const CELL_ABSENT = -3;

function isNull(start: number): boolean {
  return start < 0 && start !== CELL_ABSENT;
}

interface FoundCell {
  readonly event: DecodedChange;
  readonly start: number;
  readonly end: number;
  /** The value becomes NULL. */
  readonly misfit?: FieldChange | undefined;
}

function findCell(events: readonly DecodedChange[], column: number): FoundCell | null {
  for (const event of events) {
    const cell = event.plan.cellOf[column] as number;
    if (cell === -1) {
      // The newest event decides that a column is gone; an older one knows nothing of a new one.
      if (event === events[0]) return { event, start: CELL_ABSENT, end: 0 };
      continue;
    }
    const { after, before, hasBefore } = event.change;
    const start = after[cell * 2] as number;
    const misfit = event.misfits?.changes.get(event.plan.schema.columns[cell]?.name ?? '');
    if (start !== CELL_UNCHANGED) {
      return { event, start, end: after[cell * 2 + 1] as number, misfit };
    }
    // A full replica identity sends the value in the image before.
    const old = before[cell * 2] as number;
    if (hasBefore && old >= 0) {
      return { event, start: old, end: before[cell * 2 + 1] as number, misfit };
    }
    // Nothing came before a new row that could have the cell.
    if (event.change.op === OP_CREATE) return { event, start: CELL_NULL, end: 0 };
  }
  return null;
}

/** A soft delete leaves all columns but these as they were. */
function softColumns(layout: TableLayout): TableColumn[] {
  const keys = layout.keys.map((index) => layout.columns[index] as TableColumn);
  const meta = metaColumnOf(layout);
  return [...keys, ...layout.columns.slice(layout.sourceColumns, meta === -1 ? undefined : meta)];
}

/** Parameters of `truncateStatement`. */
export function truncateValues(event: TruncateEvent): string[] {
  const lsn = (BigInt(event.lsnHigh) << 32n) | BigInt(event.lsnLow >>> 0);
  return [String(event.epoch), String(lsn), String(event.seq), String(event.tsUs)];
}
