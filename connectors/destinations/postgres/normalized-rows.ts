import { CELL_NULL, CELL_UNCHANGED, OP_DELETE } from '../../../schemas/envelope/change-decoder.ts';
import { pathKey, type FlatFields } from '../../../schemas/normalize/flatten.ts';
import { jsonbText, textOf, type JsonValue } from '../../../schemas/normalize/json-value.ts';
import type { FieldShape, TableShape } from '../../../schemas/normalize/shape.ts';
import type { BinaryWriter } from './binary-writer.ts';
import { eventJson } from './event-json.ts';
import { EventIds, writeMetadata, type EventStamp } from './event-metadata.ts';
import type { NormalizedEvent } from './normalized-events.ts';
import type { CompiledShape } from './normalized-layout.ts';
import { writeNumeric } from './numeric-cell.ts';
import { newRawRows, writeRawRow } from './raw-rows.ts';
import { StagedRows } from './staged-rows.ts';
import type { EncodeOptions } from './table-batch.ts';
import type { TableColumn } from './table-layout.ts';
import { writeMicros } from './timestamp-cell.ts';

const NO_CELL = Buffer.alloc(0);

/** Rows of a normalized stream's tables as they are staged. */
export class NormalizedRows {
  readonly raw: ReturnType<typeof newRawRows>;
  readonly flat: StagedRows;
  /** By number of the child table; null where none was staged. */
  readonly children: (StagedRows | null)[];
  private readonly compiled: CompiledShape;
  private readonly options: EncodeOptions;
  private readonly records: number;
  private readonly childOf: ReadonlyMap<string, number>;
  private readonly ids = new Map<string, EventIds>();

  constructor(compiled: CompiledShape, records: number, options: EncodeOptions) {
    const { shape, flat, children, raw } = compiled;
    this.compiled = compiled;
    this.options = options;
    this.records = records;
    this.raw = newRawRows(raw, records, options);
    this.flat = new StagedRows(flat.columns, records);
    this.children = children.map(() => null);
    this.childOf = new Map(shape.slice(1).map(({ path }, i) => [pathKey(path), i]));
  }

  addRaw(event: NormalizedEvent): void {
    const { change, image } = event;
    writeRawRow(this.raw, eventJson(image, change, change.op === OP_DELETE), this.stamp(event));
  }

  /** The flat row and its children. */
  add(event: NormalizedEvent): void {
    this.addFlat(event);
    // A probe for a value of the flat table leaves the rest out.
    if (this.options.onlyColumn === undefined) this.addChildren(event);
  }

  stamp({ slice, index }: Pick<NormalizedEvent, 'slice' | 'index'>): EventStamp {
    const { topic, partition } = slice.batch.target;
    const key = `${topic}/${partition}`;
    let ids = this.ids.get(key);
    if (ids === undefined) this.ids.set(key, (ids = new EventIds(topic, partition)));
    const { emittedAtMs } = this.options;
    return { ids, offset: slice.batch.records.offsets[index] as number, emittedAtMs };
  }

  private addFlat(event: NormalizedEvent): void {
    const { compiled, flat, options } = this;
    const { fields } = compiled.shape[0] as TableShape;
    const { change } = event;
    const { cells } = flat;
    flat.beginRow();
    fields.forEach((field, column) => {
      const out = cells[column] as BinaryWriter;
      const { onlyColumn } = options;
      const isLeftOut =
        onlyColumn !== undefined && onlyColumn !== column && !compiled.flat.keys.includes(column);
      if (isLeftOut) out.null();
      else this.writeField(out, event, field, column);
    });
    writeMetadata(cells, fields.length, change, this.stamp(event), change.op === OP_DELETE);
    let at = fields.length + 7;
    if (compiled.flat.mode === 'append') writeUnchanged(cells[at++] as BinaryWriter, event);
    writeMicros(cells[at] as BinaryWriter, options.emittedAtMs * 1000);
    (cells[at + 1] as BinaryWriter).textCell(event.flat?.hash as string);
  }

  private writeField(
    out: BinaryWriter,
    { slice, index, image, flat }: NormalizedEvent,
    field: FieldShape,
    column: number,
  ): void {
    const { bytes, valueStarts, valueEnds } = slice.batch.records;
    const plan = this.compiled.plan(
      bytes,
      valueStarts[index] as number,
      valueEnds[index] as number,
    );
    const cell = plan.cellOf[column] as number;
    if (cell === -1) {
      const value = flat?.document.fields.get(pathKey(field.path))?.value;
      if (value === undefined) {
        plan.encoders[column]?.(out, NO_CELL, 0, 0);
        return;
      }
      writeJsonCell(out, value, this.compiled.flat.columns[column] as TableColumn);
      return;
    }
    const patch = image.patches?.get(cell);
    const start = image.spans[cell * 2] as number;
    if (patch === null || (patch === undefined && start <= CELL_NULL)) out.null();
    else if (patch !== undefined) plan.encoders[column]?.(out, patch, 0, patch.length);
    else plan.encoders[column]?.(out, image.bytes, start, image.spans[cell * 2 + 1] as number);
  }

  private addChildren(event: NormalizedEvent): void {
    const { compiled, options } = this;
    const stamp = this.stamp(event);
    for (const child of event.flat?.document.children ?? []) {
      const number = this.childOf.get(pathKey(child.table)) as number;
      const { columns } = compiled.children[number] as CompiledShape['flat'];
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
      (cells[at + 4] as BinaryWriter).int4Cell(child.position);
    }
  }
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
    case 'jsonb':
      out.textCell(`\u0001${jsonbText(value)}`);
      return;
    default:
      out.textCell(textOf(value));
  }
}

function writeUnchanged(out: BinaryWriter, { image, change }: NormalizedEvent): void {
  const names = image.schema.columns.flatMap(({ name }, cell) =>
    image.spans[cell * 2] === CELL_UNCHANGED ? [name] : [],
  );
  if (names.length === 0 || !change.hasAfter) out.null();
  else out.textCell(`\u0001${JSON.stringify(names)}`);
}
