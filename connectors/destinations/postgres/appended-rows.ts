import {
  CELL_NULL,
  CELL_UNCHANGED,
  ChangeCursor,
  OP_DELETE,
} from '../../../schemas/envelope/change-decoder.ts';
import type { BinaryWriter } from './binary-writer.ts';
import type { ChangePlan } from './change-plan.ts';
import { EventIds, writeMetadata } from './event-metadata.ts';
import type { Statement } from './exchange.ts';
import { METADATA_COLUMNS } from './identifiers.ts';
import type { RecordMisfits } from './misfit-cells.ts';
import { rowMeta, type FieldChange } from './row-meta.ts';
import { CopyRows, StagedRows, type RowSink } from './staged-rows.ts';
import {
  COPY_FROM_RECORDS,
  located,
  type CompiledTable,
  type EncodeOptions,
  type RecordSlice,
  type TableStatements,
} from './table-batch.ts';
import { appendMissingStatement, appendStatement, copyStatement } from './table-statements.ts';

/** One row per change: the row after it, or before it for a delete; or the rows of a copy. */
export function appendedRows(
  table: CompiledTable,
  slices: readonly RecordSlice[],
  options: EncodeOptions,
): TableStatements {
  const { columns } = table.layout;
  const records = slices.reduce((sum, { from, to }) => sum + to - from, 0);
  // COPY takes no casts.
  const copies =
    records >= COPY_FROM_RECORDS &&
    options.isReplay !== true &&
    columns.every(({ cast }) => cast === null);
  const rows = copies ? new CopyRows(columns, records) : new StagedRows(columns, records);
  for (const slice of slices) appendSlice(table, slice, rows, options);
  const statement =
    rows instanceof CopyRows
      ? { text: table.text('copy', copyStatement), copyData: rows.body() }
      : addedRows(table, rows, options);
  return { statements: rows.rows === 0 ? [] : [statement], mustMissNone: [], isLong: false };
}

/** Staged rows, added: only those that are not there yet when they come again. */
export function addedRows(
  table: CompiledTable,
  rows: StagedRows,
  { isReplay }: EncodeOptions,
): Statement {
  const text =
    isReplay === true
      ? table.text('appendMissing', appendMissingStatement)
      : table.text('append', appendStatement);
  return { text, values: rows.parameters(), isRepeated: true };
}

function appendSlice(
  table: CompiledTable,
  slice: RecordSlice,
  rows: RowSink,
  options: EncodeOptions,
): void {
  const { records, target } = slice.batch;
  const { bytes, valueStarts, valueEnds, offsets } = records;
  const ids = new EventIds(target.topic, target.partition);
  const change = new ChangeCursor();
  const stamp = { ids, offset: 0, emittedAtMs: options.emittedAtMs };
  const unchangedColumn = table.layout.sourceColumns + METADATA_COLUMNS.length - 1;
  for (let i = slice.from; i < slice.to; i++) {
    const start = valueStarts[i] as number;
    // A tombstone follows a delete that has its row already.
    if (start === -1) continue;
    const end = valueEnds[i] as number;
    try {
      const plan = table.plan(bytes, start, end);
      change.decode(plan.schema, bytes, start, end);
      if (!change.isRow) continue;
      stamp.offset = offsets[i] as number;
      rows.beginRow();
      const isDelete = change.op === OP_DELETE;
      const misfits = options.misfits?.of(target, stamp.offset);
      writeImage(rows.cells, plan, bytes, change, misfits);
      writeMetadata(rows.cells, table.layout.sourceColumns, change, stamp, isDelete);
      if (table.layout.mode === 'append') {
        writeUnchanged(rows.cells[unchangedColumn] as BinaryWriter, plan, change);
      }
      if (table.metaColumn === -1) continue;
      writeMeta(rows.cells[table.metaColumn] as BinaryWriter, changesOf(misfits));
    } catch (error) {
      throw located(error, slice, i);
    }
  }
}

function writeImage(
  cells: readonly BinaryWriter[],
  plan: ChangePlan,
  bytes: Buffer,
  change: ChangeCursor,
  misfits: RecordMisfits | undefined,
): void {
  const { cellOf, encoders } = plan;
  const image = change.hasAfter ? change.after : change.before;
  for (let column = 0; column < cellOf.length; column++) {
    const cell = cellOf[column] as number;
    const out = cells[column] as BinaryWriter;
    let spans = image;
    let start = cell === -1 ? CELL_NULL : (spans[cell * 2] as number);
    if (start === CELL_UNCHANGED && change.hasBefore) {
      // A full replica identity sends the value in the image before.
      spans = change.before;
      start = spans[cell * 2] as number;
    }
    if (start < 0 || isMisfit(misfits, plan, cell)) out.null();
    else encoders[column]?.(out, bytes, start, spans[cell * 2 + 1] as number);
  }
}

/** Whether a cell's value becomes NULL. */
export function isMisfit(
  misfits: RecordMisfits | undefined,
  { schema }: ChangePlan,
  cell: number,
): boolean {
  return misfits !== undefined && misfits.changes.has(schema.columns[cell]?.name ?? '');
}

export function changesOf(misfits: RecordMisfits | undefined): FieldChange[] {
  return misfits === undefined ? [] : [...misfits.changes.values()];
}

/** The cell of `_airbyte_meta`; NULL where nothing was changed. */
export function writeMeta(out: BinaryWriter, changes: readonly FieldChange[]): void {
  if (changes.length === 0) out.null();
  else out.textCell(`\u0001${rowMeta(changes)}`);
}

/** The names of columns whose value the source did not send: they are NULL here without being it. */
function writeUnchanged(out: BinaryWriter, plan: ChangePlan, change: ChangeCursor): void {
  const names: string[] = [];
  if (change.hasUnchanged && change.hasAfter) {
    plan.schema.columns.forEach(({ name }, cell) => {
      const isKnown = change.hasBefore && (change.before[cell * 2] as number) >= 0;
      if (change.after[cell * 2] === CELL_UNCHANGED && !isKnown) names.push(name);
    });
  }
  if (names.length === 0) out.null();
  else out.textCell(`\u0001${JSON.stringify(names)}`);
}
