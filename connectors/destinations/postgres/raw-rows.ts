import {
  CELL_UNCHANGED,
  ChangeCursor,
  OP_DELETE,
  type ChangeSchema,
} from '../../../schemas/envelope/change-decoder.ts';
import { addedRows, changesOf, writeMeta } from './appended-rows.ts';
import type { BinaryWriter } from './binary-writer.ts';
import { eventJson, type RowImage } from './event-json.ts';
import { EventIds, type EventStamp } from './event-metadata.ts';
import type { Statement } from './exchange.ts';
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
import { copyStatement } from './table-statements.ts';
import { writeMicros } from './timestamp-cell.ts';

/** One row per change, the change as one JSON document. A TRUNCATE has no row. */
export function rawRows(
  table: CompiledTable,
  slices: readonly RecordSlice[],
  options: EncodeOptions,
): TableStatements {
  const records = slices.reduce((sum, { from, to }) => sum + to - from, 0);
  const rows = newRawRows(table, records, options);
  for (const slice of slices) addSlice(table, slice, rows, options);
  const statements = rows.rows === 0 ? [] : [rawStatement(table, rows, options)];
  return { statements, mustMissNone: [], isLong: false };
}

function addSlice(
  table: CompiledTable,
  slice: RecordSlice,
  rows: RowSink,
  { emittedAtMs, misfits: all }: EncodeOptions,
): void {
  const { records, target } = slice.batch;
  const { bytes, valueStarts, valueEnds, offsets } = records;
  const stamp = { ids: new EventIds(target.topic, target.partition), offset: 0, emittedAtMs };
  const change = new ChangeCursor();
  for (let i = slice.from; i < slice.to; i++) {
    const start = valueStarts[i] as number;
    if (start === -1) continue;
    const end = valueEnds[i] as number;
    try {
      const { schema } = table.plan(bytes, start, end);
      change.decode(schema, bytes, start, end);
      if (!change.isRow) continue;
      stamp.offset = offsets[i] as number;
      const misfits = all?.of(target, stamp.offset);
      const image = withoutMisfits(imageOf(schema, bytes, change), misfits);
      writeRawRow(rows, eventJson(image, change, change.op === OP_DELETE), stamp);
      if (table.metaColumn === -1) continue;
      writeMeta(rows.cells[table.metaColumn] as BinaryWriter, changesOf(misfits));
    } catch (error) {
      throw located(error, slice, i);
    }
  }
}

/** The row after a change, or before a delete. Valid as long as the cursor stays where it is. */
export function imageOf(schema: ChangeSchema, bytes: Buffer, change: ChangeCursor): RowImage {
  const spans = change.hasAfter ? change.after : change.before;
  if (change.hasUnchanged && change.hasBefore) {
    // A full replica identity sends the value in the image before.
    for (let cell = 0; cell < spans.length; cell += 2) {
      if (spans[cell] !== CELL_UNCHANGED || (change.before[cell] as number) < 0) continue;
      spans[cell] = change.before[cell] as number;
      spans[cell + 1] = change.before[cell + 1] as number;
    }
  }
  return { schema, bytes, spans, patches: null };
}

/** The image of which a document is made that can be kept. */
export function withoutMisfits(image: RowImage, misfits: RecordMisfits | undefined): RowImage {
  if (misfits === undefined || !misfits.inDocument) return image;
  const patches = new Map(image.patches ?? []);
  image.schema.columns.forEach(({ name }, cell) => {
    if (misfits.changes.has(name)) patches.set(cell, null);
  });
  return { ...image, patches };
}

export function newRawRows(
  table: CompiledTable,
  records: number,
  { isReplay }: EncodeOptions,
): CopyRows | StagedRows {
  const { columns } = table.layout;
  return records >= COPY_FROM_RECORDS && isReplay !== true
    ? new CopyRows(columns, records)
    : new StagedRows(columns, records);
}

export function writeRawRow(rows: RowSink, json: string, stamp: EventStamp): void {
  rows.beginRow();
  stamp.ids.writeCell(rows.cells[0] as BinaryWriter, stamp.offset);
  writeMicros(rows.cells[1] as BinaryWriter, stamp.emittedAtMs * 1000);
  (rows.cells[2] as BinaryWriter).textCell(`\u0001${json}`);
}

/** The same in a raw table of the v2 rules: it is loaded into its final table at once. */
export function writeV2RawRow(
  rows: RowSink,
  json: string,
  stamp: EventStamp,
  epoch: number,
  changes: readonly FieldChange[],
): void {
  rows.beginRow();
  const { cells } = rows;
  const micros = stamp.emittedAtMs * 1000;
  stamp.ids.writeCell(cells[0] as BinaryWriter, stamp.offset);
  writeMicros(cells[1] as BinaryWriter, micros);
  writeMicros(cells[2] as BinaryWriter, micros);
  (cells[3] as BinaryWriter).textCell(`\u0001${json}`);
  (cells[4] as BinaryWriter).textCell(`\u0001${rowMeta(changes)}`);
  (cells[5] as BinaryWriter).int8Cell(0, epoch);
}

export function rawStatement(
  table: CompiledTable,
  rows: CopyRows | StagedRows,
  options: EncodeOptions,
): Statement {
  return rows instanceof CopyRows
    ? { text: table.text('copy', copyStatement), copyData: rows.body() }
    : addedRows(table, rows, options);
}
