import { appendFileSync, writeFileSync } from 'node:fs';
import type { RowGroup as FooterGroup, SchemaElement } from 'hyparquet';
import { ByteWriter } from 'hyparquet-writer';
import { writeIndexes } from 'hyparquet-writer/src/indexes.js';
import { writeMetadata } from 'hyparquet-writer/src/metadata.js';
import type { Codec } from './codecs.ts';
import { ColumnBuffers, KEPT_BYTES } from './column-buffer.ts';
import { ChunkWriter, type ChunkFormat, type WrittenChunk } from './column-chunk.ts';
import { MAX_PRECISION, type FileColumn, type FileForm } from './file-columns.ts';
import type { RowGroupCells } from './file-values.ts';

const FORM_ELEMENT: Record<FileForm, Partial<SchemaElement>> = {
  boolean: { type: 'BOOLEAN' },
  int64: { type: 'INT64' },
  double: { type: 'DOUBLE' },
  decimal: { type: 'FIXED_LEN_BYTE_ARRAY', type_length: 16, converted_type: 'DECIMAL' },
  text: { type: 'BYTE_ARRAY', converted_type: 'UTF8', logical_type: { type: 'STRING' } },
  bytes: { type: 'BYTE_ARRAY' },
  date: { type: 'INT32', converted_type: 'DATE', logical_type: { type: 'DATE' } },
  // The old annotations of a time mean UTC; without a zone there is only the new one.
  time: { type: 'INT64', logical_type: { type: 'TIME', isAdjustedToUTC: false, unit: 'MICROS' } },
  timestamp: {
    type: 'INT64',
    logical_type: { type: 'TIMESTAMP', isAdjustedToUTC: false, unit: 'MICROS' },
  },
  timestamptz: {
    type: 'INT64',
    converted_type: 'TIMESTAMP_MICROS',
    logical_type: { type: 'TIMESTAMP', isAdjustedToUTC: true, unit: 'MICROS' },
  },
  'timestamptz-millis': {
    type: 'INT64',
    converted_type: 'TIMESTAMP_MILLIS',
    logical_type: { type: 'TIMESTAMP', isAdjustedToUTC: true, unit: 'MILLIS' },
  },
};

function schemaElement({ name, form, scale }: FileColumn): SchemaElement {
  const element = { ...FORM_ELEMENT[form], name, repetition_type: 'OPTIONAL' } as SchemaElement;
  if (form !== 'decimal') return element;
  const precision = MAX_PRECISION;
  const decimal = { type: 'DECIMAL', precision, scale: scale ?? 0 } as const;
  return { ...element, precision, scale: scale ?? 0, logical_type: decimal };
}

/** First and last bytes of a file. */
const MAGIC = Buffer.from('PAR1');
const FIRST_BUFFER = 64 * 1024;

/** One of each for the thread, however many files are open: a row group is written from its first
 * column to its last in one turn (invariant 9). */
const buffers = new ColumnBuffers();
const chunks = new ChunkWriter();
const out = new ByteWriter(FIRST_BUFFER);

/**
 * Builds one Parquet file, row group by row group. Pages are our own; the library writes headers and
 * footer, of which there are few.
 */
export class ParquetFile {
  private readonly path: string;
  private readonly schema: SchemaElement[];
  private readonly formats: readonly ChunkFormat[];
  private readonly groups: FooterGroup[] = [];
  private readonly indexed: WrittenChunk[] = [];
  private rows = 0;
  /** Of the file so far. */
  bytes = MAGIC.length;

  constructor(path: string, columns: readonly FileColumn[], codec: Codec, pageBytes: number) {
    this.path = path;
    this.formats = columns.map((column) => {
      return { form: column.form, element: schemaElement(column), codec, pageBytes };
    });
    const elements = this.formats.map(({ element }) => element);
    this.schema = [{ name: 'row', num_children: columns.length }, ...elements];
    writeFileSync(path, MAGIC);
  }

  /** Nothing may be awaited between `begin` and `end`: the memory is every file's. */
  private begin(): void {
    out.index = 0;
    out.offset = this.bytes;
  }

  private end(): void {
    appendFileSync(this.path, out.getBytes());
    this.bytes = out.offset;
    if (out.buffer.byteLength <= KEPT_BYTES) return;
    out.buffer = new ArrayBuffer(FIRST_BUFFER);
    out.view = new DataView(out.buffer);
  }

  writeRowGroup(cells: RowGroupCells): void {
    this.begin();
    const written = this.formats.map((format, column) => {
      const buffer = buffers.begin(format.form, cells.rows);
      cells.fill(column, buffer);
      const chunk = chunks.write(out, format, buffer);
      buffer.release();
      return chunk;
    });
    const columns = written.map(({ chunk }) => chunk);
    const sizes = columns.map(({ meta_data }) => meta_data?.total_uncompressed_size ?? 0n);
    this.groups.push({
      columns,
      num_rows: BigInt(cells.rows),
      total_byte_size: sizes.reduce((sum, size) => sum + size, 0n),
      total_compressed_size: BigInt(out.offset - this.bytes),
    });
    this.indexed.push(...written.filter(({ offsetIndex }) => offsetIndex !== undefined));
    this.rows += cells.rows;
    this.end();
  }

  /** Writes the footer and answers the file's size. */
  finish(): number {
    this.begin();
    writeIndexes(out, this.indexed);
    writeMetadata(out, {
      version: 2,
      created_by: 'headrace',
      schema: this.schema,
      num_rows: BigInt(this.rows),
      row_groups: this.groups,
      metadata_length: 0,
    });
    out.appendBytes(MAGIC);
    this.end();
    return this.bytes;
  }
}
