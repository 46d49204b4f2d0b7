import type { ColumnChunk, Encoding, OffsetIndex, SchemaElement, Statistics } from 'hyparquet';
import type { ByteWriter } from 'hyparquet-writer';
import { writePageHeader } from 'hyparquet-writer/src/datapage.js';
import { unconvertMinMax } from 'hyparquet-writer/src/unconvert.js';
import { COMPRESSORS, type Codec } from './codecs.ts';
import { boundsOf } from './column-bounds.ts';
import { KEPT_BYTES, type ColumnBuffer } from './column-buffer.ts';
import type { FileForm } from './file-columns.ts';
import { valueAt } from './file-values.ts';
import { hybridRoom, writeHybrid } from './rle-hybrid.ts';
import { ValueDictionary, type DictionaryIndexes } from './value-dictionary.ts';

/** How the chunks of one column of a file are written. */
export interface ChunkFormat {
  readonly form: FileForm;
  readonly element: SchemaElement;
  readonly codec: Codec;
  /** Bytes of a page before compression. */
  readonly pageBytes: number;
}

/** What the footer says about a chunk; the index only where it has several pages. */
export interface WrittenChunk {
  readonly chunk: ColumnChunk;
  readonly offsetIndex?: OffsetIndex;
}

interface Page {
  readonly firstRow: number;
  readonly endRow: number;
  readonly firstValue: number;
  readonly endValue: number;
}

/** Writes column chunks, one after the other, as data pages of version 2. */
export class ChunkWriter {
  private readonly dictionary = new ValueDictionary();
  private scratch = new Uint8Array(0);

  write(out: ByteWriter, format: ChunkFormat, buffer: ColumnBuffer): WrittenChunk {
    const start = out.offset;
    const dictionary = this.dictionary.of(buffer);
    let uncompressed = 0;
    if (dictionary !== null) uncompressed += this.writeDictionary(out, format, buffer, dictionary);
    const dataStart = out.offset;
    const locations: OffsetIndex['page_locations'] = [];
    for (const page of pagesOf(buffer, dictionary, format.pageBytes)) {
      const offset = out.offset;
      uncompressed += this.writeDataPage(out, format, buffer, dictionary, page);
      locations.push({
        offset: BigInt(offset),
        compressed_page_size: out.offset - offset,
        first_row_index: BigInt(page.firstRow),
      });
    }
    if (this.scratch.length > KEPT_BYTES) this.scratch = new Uint8Array(0);
    const { length: pages } = locations;
    const chunk: ColumnChunk = {
      file_offset: BigInt(start),
      meta_data: {
        ...describe(format, buffer),
        ...encodingsOf(buffer, dictionary, pages),
        total_compressed_size: BigInt(out.offset - start),
        total_uncompressed_size: BigInt(uncompressed),
        data_page_offset: BigInt(dataStart),
        ...(dictionary === null ? {} : { dictionary_page_offset: BigInt(start) }),
      },
    };
    return pages > 1 ? { chunk, offsetIndex: { page_locations: locations } } : { chunk };
  }

  /** Answers the page's bytes before compression, header included; so does writeDataPage. */
  private writeDictionary(
    out: ByteWriter,
    { codec }: ChunkFormat,
    buffer: ColumnBuffer,
    { size, places }: DictionaryIndexes,
  ): number {
    let length = 0;
    for (let i = 0; i < size; i++) length += buffer.plainSize(places[i] as number);
    const plain = this.room(length);
    let at = 0;
    for (let i = 0; i < size; i++) at = buffer.copyPlain(places[i] as number, plain, at);
    const values = plain.subarray(0, length);
    const compressed = COMPRESSORS[codec]?.(values) ?? values;
    const start = out.offset;
    writePageHeader(out, {
      type: 'DICTIONARY_PAGE',
      uncompressed_page_size: length,
      compressed_page_size: compressed.length,
      dictionary_page_header: { num_values: size, encoding: 'PLAIN' },
    });
    const headerBytes = out.offset - start;
    out.appendBytes(compressed);
    return headerBytes + length;
  }

  private writeDataPage(
    out: ByteWriter,
    { codec }: ChunkFormat,
    buffer: ColumnBuffer,
    dictionary: DictionaryIndexes | null,
    page: Page,
  ): number {
    const { firstRow, endRow, firstValue, endValue } = page;
    const rows = endRow - firstRow;
    const levelRoom = hybridRoom(rows, 1);
    const bitWidth = dictionary?.bitWidth ?? 1;
    const scratch = this.room(
      levelRoom + LENGTH_BYTES + hybridRoom(endValue - firstValue, bitWidth),
    );
    const levelBytes = writeHybrid(buffer.levels, firstRow, endRow, 1, scratch, 0);
    const values = encodedValues(buffer, dictionary, page, scratch.subarray(levelRoom));
    const compressed = COMPRESSORS[codec]?.(values) ?? values;
    const start = out.offset;
    writePageHeader(out, {
      type: 'DATA_PAGE_V2',
      uncompressed_page_size: levelBytes + values.length,
      compressed_page_size: levelBytes + compressed.length,
      data_page_header_v2: {
        num_values: rows,
        num_nulls: rows - (endValue - firstValue),
        num_rows: rows,
        encoding: encodingOf(buffer, dictionary),
        definition_levels_byte_length: levelBytes,
        repetition_levels_byte_length: 0,
        is_compressed: true,
      },
    });
    const headerBytes = out.offset - start;
    out.appendBytes(scratch.subarray(0, levelBytes));
    out.appendBytes(compressed);
    return headerBytes + levelBytes + values.length;
  }

  private room(bytes: number): Uint8Array {
    if (this.scratch.length < bytes) this.scratch = new Uint8Array(bytes);
    return this.scratch;
  }
}

const LENGTH_BYTES = 4;

/** What does not depend on how the chunk was written. */
function describe(format: ChunkFormat, buffer: ColumnBuffer) {
  const { type, name } = format.element;
  if (type === undefined) throw new TypeError(`column ${name} has no type`);
  return {
    type,
    path_in_schema: [name],
    codec: format.codec,
    num_values: BigInt(buffer.rows),
    statistics: statisticsOf(format, buffer),
  };
}

function encodedValues(
  buffer: ColumnBuffer,
  dictionary: DictionaryIndexes | null,
  { firstValue, endValue }: Page,
  scratch: Uint8Array,
): Uint8Array {
  if (dictionary !== null) {
    const { indexes, bitWidth } = dictionary;
    scratch[0] = bitWidth;
    return scratch.subarray(0, writeHybrid(indexes, firstValue, endValue, bitWidth, scratch, 1));
  }
  if (!buffer.isFlags) return buffer.plain(firstValue, endValue);
  const end = writeHybrid(buffer.bytes, firstValue, endValue, 1, scratch, LENGTH_BYTES);
  new DataView(scratch.buffer, scratch.byteOffset).setUint32(0, end - LENGTH_BYTES, true);
  return scratch.subarray(0, end);
}

function encodingOf(buffer: ColumnBuffer, dictionary: DictionaryIndexes | null): Encoding {
  if (dictionary !== null) return 'RLE_DICTIONARY';
  return buffer.isFlags ? 'RLE' : 'PLAIN';
}

function encodingsOf(buffer: ColumnBuffer, dictionary: DictionaryIndexes | null, pages: number) {
  const encoding = encodingOf(buffer, dictionary);
  const data = { page_type: 'DATA_PAGE_V2', encoding, count: pages } as const;
  if (dictionary === null) return { encodings: [encoding], encoding_stats: [data] };
  const first = { page_type: 'DICTIONARY_PAGE', encoding: 'PLAIN', count: 1 } as const;
  return { encodings: ['PLAIN' as const, encoding], encoding_stats: [first, data] };
}

/** A page ends before the value that would make it larger than `pageBytes`. Booleans and indexes are
 * bit-packed. */
function pagesOf(
  buffer: ColumnBuffer,
  dictionary: DictionaryIndexes | null,
  pageBytes: number,
): Page[] {
  const { rows, count, levels } = buffer;
  const packed = buffer.isFlags ? 1 / 8 : dictionary === null ? null : dictionary.bitWidth / 8;
  const all = packed === null ? buffer.plainEnd(count) : count * packed;
  if (all <= pageBytes) return [{ firstRow: 0, endRow: rows, firstValue: 0, endValue: count }];
  const pages: Page[] = [];
  let [firstRow, firstValue, value, bytes] = [0, 0, 0, 0];
  for (let row = 0; row < rows; row++) {
    if (levels[row] === 0) continue;
    const size = packed ?? buffer.plainSize(value);
    if (bytes + size > pageBytes && value > firstValue) {
      pages.push({ firstRow, endRow: row, firstValue, endValue: value });
      [firstRow, firstValue, bytes] = [row, value, 0];
    }
    bytes += size;
    value++;
  }
  pages.push({ firstRow, endRow: rows, firstValue, endValue: count });
  return pages;
}

function statisticsOf({ form, element }: ChunkFormat, buffer: ColumnBuffer): Statistics {
  const { min, max, nans } = boundsOf(form, buffer);
  const nulls = { null_count: BigInt(buffer.rows - buffer.count) };
  const counts = form === 'double' ? { ...nulls, nan_count: BigInt(nans) } : nulls;
  if (min === -1) return counts;
  const min_value = valueAt(form, buffer, min);
  const max_value = valueAt(form, buffer, max);
  if (min_value instanceof Uint8Array && max_value instanceof Uint8Array) {
    return { ...counts, ...shortBounds(element, min_value, max_value) };
  }
  if (form !== 'double') return { ...counts, min_value, max_value };
  // Readers take -0 and +0 for equal: both are to lie within the bounds.
  return {
    ...counts,
    min_value: min_value === 0 ? -0 : min_value,
    max_value: max_value === 0 ? 0 : max_value,
  };
}

/** Cut here and not when the footer is written, where whole values would wait for the end of the
 * file (invariant 9). */
function shortBounds(element: SchemaElement, min: Uint8Array, max: Uint8Array): Statistics {
  const min_value = unconvertMinMax(min, element, false) as Uint8Array;
  const max_value = unconvertMinMax(max, element, true) as Uint8Array;
  return {
    min_value,
    max_value,
    ...(max_value === max ? {} : { is_max_value_exact: false }),
    ...(min_value === min ? {} : { is_min_value_exact: false }),
  };
}
