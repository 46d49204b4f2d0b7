import { closeSync, fstatSync, openSync, readSync } from 'node:fs';
import { parquetMetadataAsync, parquetRead, type AsyncBuffer, type FileMetaData } from 'hyparquet';
import { DECOMPRESSORS } from './codecs.ts';
import type { FileColumn } from './file-columns.ts';
import type { FileValue } from './file-values.ts';

/** The rows of one row group, as columns in the asked order; null for a column the file lacks. */
export interface PublishedGroup {
  readonly rows: number;
  readonly columns: readonly (ArrayLike<unknown> | null)[];
}

/**
 * Reads a file of our own as the values it was written from (parquet-file.ts), one row group at a
 * time: the annotations that would make dates and rounded decimals of them are taken off first
 * (invariant 5). The only thing that knows the reading library.
 */
export class PublishedFile {
  private readonly file: number;
  private readonly buffer: AsyncBuffer;

  constructor(path: string) {
    const file = openSync(path, 'r');
    this.file = file;
    const { size } = fstatSync(file);
    this.buffer = {
      byteLength: size,
      slice(start, end = size) {
        const bytes = new Uint8Array(end - start);
        readSync(file, bytes, 0, bytes.length, start);
        return bytes.buffer;
      },
    };
  }

  async *groups(columns: readonly FileColumn[]): AsyncIterable<PublishedGroup> {
    const metadata = plain(await parquetMetadataAsync(this.buffer));
    const inFile = new Set(metadata.schema.slice(1).map(({ name }) => name));
    const present = columns.filter(({ name }) => inFile.has(name)).map(({ name }) => name);
    let rowStart = 0;
    for (const group of metadata.row_groups) {
      const rows = Number(group.num_rows);
      const found = await this.readGroup(metadata, present, rowStart, rowStart + rows);
      yield { rows, columns: columns.map(({ name }) => found.get(name) ?? null) };
      rowStart += rows;
    }
  }

  private async readGroup(
    metadata: FileMetaData,
    columns: string[],
    rowStart: number,
    rowEnd: number,
  ): Promise<Map<string, ArrayLike<unknown>>> {
    const found = new Map<string, ArrayLike<unknown>>();
    await parquetRead({
      file: this.buffer,
      metadata,
      columns,
      rowStart,
      rowEnd,
      utf8: false,
      compressors: DECOMPRESSORS,
      onChunk: ({ columnName, columnData }) => {
        const before = found.get(columnName);
        const data = columnData as ArrayLike<unknown>;
        found.set(columnName, before === undefined ? data : joined(before, data));
      },
    });
    return found;
  }

  close(): void {
    closeSync(this.file);
  }
}

function joined(a: ArrayLike<unknown>, b: ArrayLike<unknown>): ArrayLike<unknown> {
  return [...Array.from(a), ...Array.from(b)];
}

function plain(metadata: FileMetaData): FileMetaData {
  for (const element of metadata.schema) {
    delete element.converted_type;
    delete element.logical_type;
  }
  return metadata;
}

/** A value as it was written. */
export function writtenValue(value: unknown, { form }: FileColumn): FileValue {
  if (value === null || value === undefined) return null;
  if (form !== 'decimal') return value as FileValue;
  const bytes = value as Uint8Array;
  const view = new DataView(bytes.buffer, bytes.byteOffset, 16);
  return (view.getBigInt64(0) << 64n) | view.getBigUint64(8);
}
