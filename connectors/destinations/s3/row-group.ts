import {
  CELL_NULL,
  CELL_UNCHANGED,
  OP_DELETE,
  type ChangeCursor,
  type ChangeSchema,
} from '../../../schemas/envelope/change-decoder.ts';
import { cellReader, cellText, joinHalves, type CellReader } from './cell-readers.ts';
import { DocumentReader, fieldReader } from './json-fields.ts';
import { KIND_IN_AVRO, type ColumnType } from '../../../schemas/values/column-type.ts';
import { CHANGE_COLUMNS, type FileColumn } from './file-columns.ts';
import type { FileValue } from './parquet-file.ts';

/** How the cells of one schema fill the columns of a file: `cells[i]` is the place of file column i
 * in the schema's rows, -1 when the schema does not have it. */
export interface Projection {
  readonly schema: ChangeSchema;
  readonly cells: Int32Array;
  readonly readers: readonly CellReader[];
  /** What a row of the schema has in file column i when the schema lacks it. */
  readonly absent: readonly FileValue[];
}

/** `absent`: the value per file column that the schema lacks; null in a history of changes. */
export function projectionOf(
  schema: ChangeSchema,
  columns: readonly FileColumn[],
  absent: readonly FileValue[] = columns.map(() => null),
): Projection {
  const indexBySource = new Map(schema.columns.map(({ name }, index) => [name, index]));
  const cells = Int32Array.from(columns, ({ source }) => indexBySource.get(source) ?? -1);
  const documents = new Map<string, DocumentReader>();
  const readers = columns.map((column, index) => {
    const type = schema.columns[cells[index] as number]?.type;
    return type === undefined ? nothing : readerOf(type, column, documents);
  });
  return { schema, cells, readers, absent };
}

const nothing: CellReader = () => null;

function readerOf(
  type: ColumnType,
  column: FileColumn,
  documents: Map<string, DocumentReader>,
): CellReader {
  if (column.path === undefined) return cellReader(type, column);
  if (type.kind !== 'json') return nothing;
  const reader = documents.get(column.source) ?? new DocumentReader();
  documents.set(column.source, reader);
  return fieldReader(column.path, reader);
}

/** What the rows of a schema without a column have in it, per column: see InitialValue. */
export function initialValues(columns: readonly FileColumn[]): FileValue[] {
  return columns.map((column) => {
    const { initial } = column;
    if (initial === undefined) return null;
    const bytes = Buffer.from(initial.avro, 'base64');
    const start = hasLength(initial.type) ? lengthBytes(bytes) : 0;
    return readerOf(initial.type, column, new Map())(bytes, start, bytes.length) ?? null;
  });
}

/** Text and bytes have their length before them in Avro. */
function hasLength({ kind }: ColumnType): boolean {
  const { primitive } = KIND_IN_AVRO[kind];
  return primitive === 'string' || primitive === 'bytes';
}

function lengthBytes(bytes: Buffer): number {
  let n = 0;
  while (((bytes[n] ?? 0) & 0x80) !== 0) n++;
  return n + 1;
}

/** The rows of one row group, as columns. */
export class RowGroup {
  readonly columns: FileValue[][];
  rows = 0;
  /** File columns of the row added last whose value the source did not send. */
  unchanged: number[] = [];
  private readonly names: readonly FileColumn[];
  private readonly ids: RowIds;

  constructor(columns: readonly FileColumn[], ids: RowIds) {
    this.names = columns;
    this.ids = ids;
    this.columns = Array.from({ length: columns.length + CHANGE_COLUMNS.length }, () => []);
  }

  add(change: ChangeCursor, projection: Projection, bytes: Buffer, offset: number): void {
    const { cells, readers, schema } = projection;
    const spans = change.hasAfter ? change.after : change.before;
    if (this.unchanged.length > 0) this.unchanged = [];
    let unrepresentable: Record<string, string> | null = null;
    for (let i = 0; i < readers.length; i++) {
      const column = this.columns[i] as FileValue[];
      const cell = cells[i] as number;
      const start = cell === -1 ? CELL_NULL : (spans[cell * 2] as number);
      if (start < 0) {
        column.push(cell === -1 ? (projection.absent[i] as FileValue) : null);
        if (start === CELL_UNCHANGED) this.unchanged.push(i);
        continue;
      }
      const end = spans[cell * 2 + 1] as number;
      const value = (readers[i] as CellReader)(bytes, start, end);
      if (value !== undefined) {
        column.push(value);
        continue;
      }
      column.push(null);
      const type = schema.columns[cell]?.type;
      if (type === undefined) continue;
      (unrepresentable ??= {})[this.nameOf(i)] = cellText(type, bytes, start, end);
    }
    this.addChange(change, offset, unrepresentable);
    this.rows++;
  }

  private unchangedNames(): Uint8Array {
    return Buffer.from(JSON.stringify(this.unchanged.map((index) => this.nameOf(index))));
  }

  /** A row as it was before, in the order of the columns. */
  addValues(values: readonly FileValue[]): void {
    for (let i = 0; i < values.length; i++) {
      (this.columns[i] as FileValue[]).push(values[i] as FileValue);
    }
    this.rows++;
  }

  /** Puts another value into the row added last. */
  replaceLast(column: number, value: FileValue): void {
    (this.columns[column] as FileValue[])[this.rows - 1] = value;
  }

  /** Adds texts of values that no column can hold to those of the row added last. */
  addTexts(column: number, texts: Readonly<Record<string, string>>): void {
    if (Object.keys(texts).length === 0) return;
    const cell = this.columns[column]?.[this.rows - 1];
    const own =
      cell instanceof Uint8Array ? (JSON.parse(Buffer.from(cell).toString()) as object) : {};
    this.replaceLast(column, Buffer.from(JSON.stringify({ ...own, ...texts })));
  }

  private nameOf(index: number): string {
    return (this.names[index] as FileColumn).name;
  }

  /** The columns of CHANGE_COLUMNS, in its order. */
  private addChange(
    change: ChangeCursor,
    offset: number,
    unrepresentable: Record<string, string> | null,
  ): void {
    const at = BigInt(change.tsUs);
    const values = [
      this.ids.of(offset),
      BigInt(Math.floor(change.tsUs / 1000)),
      joinHalves(change.lsnHigh, change.lsnLow),
      at,
      change.op === OP_DELETE ? at : null,
      BigInt(change.epoch),
      BigInt(change.seq),
      this.unchanged.length === 0 ? null : this.unchangedNames(),
      unrepresentable === null ? null : Buffer.from(JSON.stringify(unrepresentable)),
    ];
    const first = this.columns.length - values.length;
    for (let i = 0; i < values.length; i++) {
      (this.columns[first + i] as FileValue[]).push(values[i] as FileValue);
    }
  }
}

const HEX = '0123456789abcdef';
/** The last twelve hexadecimal digits of the id: offsets up to 2^48. */
const OFFSET_DIGITS = 12;

/** `_airbyte_ab_id`: a UUID that is a function of topic, partition and offset, so that a row has the
 * same id however often it is built. Version 8, our own layout: hash of the partition, then offset. */
export class RowIds {
  private readonly template: Uint8Array;

  /** `hash`: at least 20 hexadecimal digits that name topic and partition. */
  constructor(hash: string) {
    const zeros = '0'.repeat(OFFSET_DIGITS);
    this.template = Buffer.from(
      `${hash.slice(0, 8)}-${hash.slice(8, 12)}-8${hash.slice(13, 16)}-8${hash.slice(17, 20)}-${zeros}`,
    );
  }

  /** The offset of an id of this partition; null for any other id. */
  offsetOf(id: string): number | null {
    const start = this.template.length - OFFSET_DIGITS;
    const isOurs = id.slice(0, start) === Buffer.from(this.template).toString('latin1', 0, start);
    return isOurs ? Number.parseInt(id.slice(start), 16) : null;
  }

  of(offset: number): Uint8Array {
    const id = new Uint8Array(this.template);
    let rest = offset;
    for (let i = id.length - 1; rest > 0; i--) {
      id[i] = HEX.charCodeAt(rest % 16);
      rest = Math.floor(rest / 16);
    }
    return id;
  }
}
