import type { ChangeSchema } from '../../../schemas/envelope/change-decoder.ts';
import { KIND_IN_AVRO, type ColumnType } from '../../../schemas/values/column-type.ts';
import { cellReader, type CellReader } from './cell-readers.ts';
import { ColumnBuffers } from './column-buffer.ts';
import type { FileColumn } from './file-columns.ts';
import { valueAt, type FileValue } from './file-values.ts';
import { DocumentReader, fieldReader } from './json-fields.ts';

/** How the cells of one schema fill the columns of a file: `cells[i]` is the place of file column i
 * in the schema's rows, -1 when the schema does not have it. */
export interface Projection {
  readonly schema: ChangeSchema;
  readonly columns: readonly FileColumn[];
  readonly cells: Int32Array;
  readonly readers: readonly CellReader[];
}

export function projectionOf(schema: ChangeSchema, columns: readonly FileColumn[]): Projection {
  const indexBySource = new Map(schema.columns.map(({ name }, index) => [name, index]));
  const cells = Int32Array.from(columns, ({ source }) => indexBySource.get(source) ?? -1);
  const documents = new Map<string, DocumentReader>();
  const readers = columns.map((column, index) => {
    const type = schema.columns[cells[index] as number]?.type;
    return type === undefined ? nothing : readerOf(type, column, documents);
  });
  return { schema, columns, cells, readers };
}

const nothing: CellReader = () => 'null';

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
    const reader = readerOf(initial.type, column, new Map());
    return readValue(reader, column, bytes, start, bytes.length) ?? null;
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

/** A cell of file column `index` on its own; undefined when the column cannot hold it. */
export function cellValue(
  { readers, columns }: Projection,
  index: number,
  bytes: Buffer,
  start: number,
  end: number,
): FileValue | undefined {
  return readValue(readers[index] ?? nothing, columns[index] as FileColumn, bytes, start, end);
}

const single = new ColumnBuffers();

function readValue(
  reader: CellReader,
  { form }: FileColumn,
  bytes: Buffer,
  start: number,
  end: number,
): FileValue | undefined {
  const buffer = single.begin(form, 1);
  const outcome = reader(buffer, bytes, start, end);
  if (outcome !== 'appended') return outcome === 'null' ? null : undefined;
  const value = valueAt(form, buffer, 0);
  buffer.release();
  return value;
}
