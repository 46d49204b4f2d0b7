import { CELL_NULL, CELL_UNCHANGED, OP_DELETE } from '../../../schemas/envelope/change-decoder.ts';
import { pathKey, type FlatFields } from '../../../schemas/normalize/flatten.ts';
import { jsonbText, textOf, type JsonValue } from '../../../schemas/normalize/json-value.ts';
import type { FieldShape, TableShape } from '../../../schemas/normalize/shape.ts';
import { writeDouble } from './airbyte-types.ts';
import { writeMeta } from './appended-rows.ts';
import type { BinaryWriter } from './binary-writer.ts';
import type { CompiledShape } from './compiled-shape.ts';
import { eventJson } from './event-json.ts';
import { EventIds, type EventStamp } from './event-metadata.ts';
import { HistoryRows } from './history-rows.ts';
import type { RecordMisfits } from './misfit-cells.ts';
import type { NormalizedEvent } from './normalized-events.ts';
import { writeNumeric } from './numeric-cell.ts';
import { OwnCells } from './own-cells.ts';
import { newRawRows, withoutMisfits, writeRawRow, writeV2RawRow } from './raw-rows.ts';
import type { FieldChange } from './row-meta.ts';
import { StagedRows } from './staged-rows.ts';
import type { EncodeOptions } from './table-batch.ts';
import type { TableColumn, TableLayout } from './table-layout.ts';
import { writeMicros } from './timestamp-cell.ts';

const NO_CELL = Buffer.alloc(0);

/** Rows of a normalized stream's tables as they are staged. */
export class NormalizedRows {
  readonly raw: ReturnType<typeof newRawRows>;
  readonly flat: StagedRows;
  /** Null where no versions are kept. */
  readonly history: HistoryRows | null;
  /** By number of the child table; null where none was staged. */
  readonly children: (StagedRows | null)[];
  private readonly own: OwnCells;
  private readonly compiled: CompiledShape;
  private readonly options: EncodeOptions;
  private readonly records: number;
  private readonly childOf: ReadonlyMap<string, number>;
  private readonly ids = new Map<string, EventIds>();

  constructor(compiled: CompiledShape, records: number, options: EncodeOptions) {
    const { shape, flat, children, raw, history } = compiled;
    this.compiled = compiled;
    this.options = options;
    this.records = records;
    this.raw = newRawRows(raw, records, options);
    this.flat = new StagedRows(flat.columns, records);
    this.own = new OwnCells(flat, this.flat.cells);
    this.history = history === null ? null : new HistoryRows(history, records);
    this.children = children.map(() => null);
    this.childOf = new Map(shape.slice(1).map(({ path }, i) => [pathKey(path), i]));
  }

  addRaw(event: NormalizedEvent): void {
    const { change } = event;
    const { raw, names } = this.compiled;
    const misfits = this.misfitsOf(event);
    const image = withoutMisfits(event.image, misfits);
    const json = eventJson(image, change, change.op === OP_DELETE);
    const stamp = this.stamp(event);
    const changes = changesOf(event, misfits?.inDocument === true ? misfits : undefined);
    if (names.rules === 'v2') writeV2RawRow(this.raw, json, stamp, change.epoch, changes);
    else writeRawRow(this.raw, json, stamp);
    if (names.recordsChanges) writeMeta(this.raw.cells[raw.metaColumn] as BinaryWriter, changes);
  }

  /** The flat row and its children. */
  add(event: NormalizedEvent): void {
    this.addFlat(event);
    this.addChildren(event);
  }

  /** The version that the event makes of its row. */
  addVersion(event: NormalizedEvent): void {
    const { history, compiled } = this;
    if (history === null) return;
    const { rows } = history;
    rows.beginRow();
    // In front are the version's own key and the row's.
    this.writeFields(rows.cells.slice(2), event);
    const [{ hashColumn }] = compiled.shape as [TableShape];
    history.write(event, this.stamp(event), hashColumn);
    history.changed(changesOf(event, this.misfitsOf(event)));
  }

  private misfitsOf({ slice, index }: NormalizedEvent): RecordMisfits | undefined {
    const { target, records } = slice.batch;
    return this.options.misfits?.of(target, records.offsets[index] as number);
  }

  stamp({ slice, index }: Pick<NormalizedEvent, 'slice' | 'index'>): EventStamp {
    const { topic, partition } = slice.batch.target;
    const key = `${topic}/${partition}`;
    let ids = this.ids.get(key);
    if (ids === undefined) {
      ids = new EventIds(topic, partition, this.compiled.names.rules === 'v2');
      this.ids.set(key, ids);
    }
    const { emittedAtMs } = this.options;
    return { ids, offset: slice.batch.records.offsets[index] as number, emittedAtMs };
  }

  private addFlat(event: NormalizedEvent): void {
    const { compiled, flat, own } = this;
    const { change } = event;
    flat.beginRow();
    this.writeFields(flat.cells.slice(compiled.leading), event);
    own.write(change, this.stamp(event), change.op === OP_DELETE);
    own.changed(changesOf(event, this.misfitsOf(event)));
    own.json('_headrace_unchanged', unchangedNames(event));
    const [{ hashColumn }] = compiled.shape as [TableShape];
    own.text(hashColumn, event.flat?.hash);
    own.text('_airbyte_unique_key', event.flat?.uniqueKey);
  }

  /** Into one cell per field. */
  private writeFields(cells: readonly BinaryWriter[], event: NormalizedEvent): void {
    const { fields } = this.compiled.shape[0] as TableShape;
    const misfits = this.misfitsOf(event);
    fields.forEach((field, i) => {
      if (misfits?.changes.has(field.path[0] as string) === true) cells[i]?.null();
      else this.writeField(cells[i] as BinaryWriter, event, field, i);
    });
  }

  private writeField(
    out: BinaryWriter,
    { slice, index, image, flat }: NormalizedEvent,
    field: FieldShape,
    number: number,
  ): void {
    const { bytes, valueStarts, valueEnds } = slice.batch.records;
    const plan = this.compiled.plan(
      bytes,
      valueStarts[index] as number,
      valueEnds[index] as number,
    );
    const cell = plan.cellOf[number] as number;
    if (cell === -1) {
      const value = flat?.document.fields.get(pathKey(field.path))?.value;
      if (value === undefined) {
        plan.encoders[number]?.(out, NO_CELL, 0, 0);
        return;
      }
      const { columns } = this.compiled.flat;
      writeJsonCell(out, value, columns[this.compiled.leading + number] as TableColumn);
      return;
    }
    const patch = image.patches?.get(cell);
    const start = image.spans[cell * 2] as number;
    if (patch === null || (patch === undefined && start <= CELL_NULL)) out.null();
    else if (patch !== undefined) plan.encoders[number]?.(out, patch, 0, patch.length);
    else plan.encoders[number]?.(out, image.bytes, start, image.spans[cell * 2 + 1] as number);
  }

  private addChildren(event: NormalizedEvent): void {
    const { compiled, options } = this;
    const stamp = this.stamp(event);
    const misfits = this.misfitsOf(event);
    for (const child of event.flat?.document.children ?? []) {
      // Of a document that is NULL.
      if (misfits?.changes.has(child.table[0]?.[0] as string) === true) continue;
      const number = this.childOf.get(pathKey(child.table)) as number;
      const { columns } = compiled.children[number] as TableLayout;
      const { fields } = compiled.shape[number + 1] as TableShape;
      const rows = (this.children[number] ??= new StagedRows(columns, this.records));
      const { cells } = rows;
      rows.beginRow();
      (cells[0] as BinaryWriter).textCell(child.parentHash);
      writeFields(cells, fields, child.fields, columns);
      const at = fields.length + 1;
      stamp.ids.writeCell(cells[at] as BinaryWriter, stamp.offset);
      writeMicros(cells[at + 1] as BinaryWriter, options.emittedAtMs * 1000);
      writeMicros(cells[at + 2] as BinaryWriter, options.emittedAtMs * 1000);
      (cells[at + 3] as BinaryWriter).textCell(child.hash);
      if (child.position === null) cells[at + 4]?.null();
      else cells[at + 4]?.int4Cell(child.position);
    }
  }
}

/** What became of the row's fields: of those that were taken from the row before, and its own. */
function changesOf(event: NormalizedEvent, misfits: RecordMisfits | undefined): FieldChange[] {
  const own = misfits?.changes ?? new Map<string, FieldChange>();
  return [...event.kept.filter(({ field }) => !own.has(field)), ...own.values()];
}

function writeFields(
  cells: readonly BinaryWriter[],
  shape: readonly FieldShape[],
  fields: FlatFields,
  columns: readonly TableColumn[],
): void {
  shape.forEach(({ path }, i) => {
    const value = fields.get(pathKey(path))?.value ?? null;
    writeJsonCell(cells[i + 1] as BinaryWriter, value, columns[i + 1] as TableColumn);
  });
}

/** A field of a document, in a column that was made for it or widened to take it. */
function writeJsonCell(out: BinaryWriter, value: JsonValue, { form }: TableColumn): void {
  if (value === null) {
    out.null();
    return;
  }
  switch (form) {
    case 'numeric': {
      const text = Buffer.from(textOf(value), 'latin1');
      writeNumeric(out, text, 0, text.length);
      return;
    }
    case 'bool':
      out.ensure(5);
      out.int32(1);
      out.bytes[out.pos++] = value === true ? 1 : 0;
      return;
    case 'float8':
      writeDouble(out, textOf(value));
      return;
    case 'int8':
      writeBigint(out, textOf(value));
      return;
    case 'jsonb':
      out.textCell(`\u0001${jsonbText(value)}`);
      return;
    default:
      out.textCell(textOf(value));
  }
}

function writeBigint(out: BinaryWriter, text: string): void {
  const number = BigInt(text);
  out.int8Cell(Number(BigInt.asIntN(32, number >> 32n)), Number(BigInt.asUintN(32, number)));
}

/** Cells that the source did not send are null without being it. */
function unchangedNames({ image, change }: NormalizedEvent): string | null {
  const names = image.schema.columns.flatMap(({ name }, cell) =>
    image.spans[cell * 2] === CELL_UNCHANGED ? [name] : [],
  );
  return names.length === 0 || !change.hasAfter ? null : JSON.stringify(names);
}
