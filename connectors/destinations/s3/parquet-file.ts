import { appendFileSync, writeFileSync } from 'node:fs';
import type { SchemaElement } from 'hyparquet';
import { ByteWriter, ParquetWriter } from 'hyparquet-writer';
import { COMPRESSORS, type Codec } from './codecs.ts';
import { MAX_PRECISION, type FileColumn, type FileForm } from './file-columns.ts';

/**
 * A cell as the encoder takes it: INT64 forms and decimals (unscaled) are bigint, DOUBLE and DATE
 * number, text and bytes Uint8Array (text as UTF-8).
 */
export type FileValue = bigint | number | boolean | Uint8Array | null;

/** Builds one Parquet file, row group by row group. The only thing that knows the writing library. */
export interface ParquetFile {
  /** Columns in the file's order, all equally long. */
  writeRowGroup(columns: readonly FileValue[][]): void;
  /** Writes the footer and answers the file's size. */
  finish(): number;
  readonly bytes: number;
}

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

const FIRST_BUFFER = 64 * 1024;

/** Hands each finished row group to the file, so that memory holds one row group at most. */
class FileWriter extends ByteWriter {
  private readonly path: string;

  constructor(path: string) {
    super(FIRST_BUFFER);
    this.path = path;
    writeFileSync(path, '');
  }

  flush(): void {
    appendFileSync(this.path, new Uint8Array(this.buffer, 0, this.index));
    this.buffer = new ArrayBuffer(FIRST_BUFFER);
    this.view = new DataView(this.buffer);
    this.index = 0;
  }

  override finish(): void {
    this.flush();
  }
}

export class HyparquetFile implements ParquetFile {
  private readonly names: readonly string[];
  private readonly out: FileWriter;
  private readonly writer: ParquetWriter;
  private readonly pageBytes: number;

  constructor(path: string, columns: readonly FileColumn[], codec: Codec, pageBytes: number) {
    this.names = columns.map(({ name }) => name);
    this.pageBytes = pageBytes;
    this.out = new FileWriter(path);
    this.writer = new ParquetWriter({
      writer: this.out,
      schema: [{ name: 'row', num_children: columns.length }, ...columns.map(schemaElement)],
      codec,
      compressors: COMPRESSORS,
      createdBy: 'headrace',
    });
  }

  get bytes(): number {
    return this.out.offset;
  }

  writeRowGroup(columns: readonly FileValue[][]): void {
    const rows = columns[0]?.length ?? 0;
    // The writing itself is synchronous: our writer's flush returns nothing to wait for.
    void this.writer.write({
      columnData: columns.map((data, index) => ({ name: this.names[index] as string, data })),
      rowGroupSize: rows,
      pageSize: this.pageBytes,
    });
    this.releaseBounds();
  }

  /** The footer's bounds wait for the end of the file. As views they would keep the records' whole
   * buffers until then (invariant 9). */
  private releaseBounds(): void {
    for (const { meta_data } of this.writer.row_groups.at(-1)?.columns ?? []) {
      const statistics = meta_data?.statistics;
      if (statistics === undefined) continue;
      const { min_value, max_value } = statistics;
      if (min_value instanceof Uint8Array) statistics.min_value = new Uint8Array(min_value);
      if (max_value instanceof Uint8Array) statistics.max_value = new Uint8Array(max_value);
    }
  }

  finish(): number {
    void this.writer.finish();
    return this.out.offset;
  }
}
