import { AvroWriter } from '../../schemas/avro/avro-writer.ts';
import { writeWireHeader, WIRE_HEADER_BYTES } from '../../schemas/envelope/record-view.ts';
import type { StreamSchema } from '../../schemas/envelope/stream-schema.ts';
import type { SchemaIds } from '../spi/source.ts';
import { PipelineError } from '../../core/errors/pipeline-error.ts';

/** Starts of cells without bytes in a span array, [start, end) per column. */
export const NULL_CELL = -1;
export const UNCHANGED_CELL = -2;

/** Puts one cell, the source's bytes in [start, end), into Avro. Room for as many bytes and a number is
 * reserved by the caller; an encoder that makes more of them reserves its own. */
export type CellEncoder = (out: AvroWriter, src: Buffer, start: number, end: number) => void;

function incompleteKey(): PipelineError {
  return new PipelineError('SRC_VALUE', 'a change came without its complete key');
}

/** One shape of a table made ready for encoding: what its events share is prepared as bytes. */
export class RowCodec {
  readonly schema: StreamSchema;
  readonly columns: number;
  readonly keyed: boolean;
  readonly truncateKey: Buffer;
  /** Bytes that a record may take beyond its cells. */
  readonly overhead: number;
  readonly valueHeader: Buffer;
  private readonly keyHeader: Buffer;
  private readonly encoders: readonly CellEncoder[];
  private readonly inKey: Uint8Array;
  private readonly keyColumns: Int32Array;
  /** Avro strings of the columns' names, for `unchanged`. */
  private readonly names: readonly Buffer[];

  constructor(schema: StreamSchema, ids: SchemaIds, encoders: readonly CellEncoder[]) {
    this.schema = schema;
    this.columns = schema.columns.length;
    this.encoders = encoders;
    this.keyed = schema.key.length > 0;
    this.inKey = Uint8Array.from(schema.columns, (column) => (column.inKey ? 1 : 0));
    this.keyColumns = Int32Array.from(schema.key, (name) =>
      schema.columns.findIndex((column) => column.name === name),
    );
    this.names = schema.columns.map((column) => avroString(column.name));
    this.keyHeader = wireHeader(ids.key);
    this.valueHeader = wireHeader(ids.value);
    this.truncateKey = wireHeader(ids.truncateKey);
    const names = this.names.reduce((sum, name) => sum + name.length, 0);
    this.overhead = 256 + this.columns * 32 + names;
  }

  writeKey(out: AvroWriter, src: Buffer, spans: Int32Array): void {
    out.copyRaw(this.keyHeader, 0, WIRE_HEADER_BYTES);
    for (const column of this.keyColumns) {
      const start = spans[column * 2] as number;
      if (start < 0) throw incompleteKey();
      (this.encoders[column] as CellEncoder)(out, src, start, spans[column * 2 + 1] as number);
    }
  }

  /** A row image as a nullable record. */
  writeImage(out: AvroWriter, src: Buffer, spans: Int32Array): void {
    out.writeByte(2);
    const { encoders, inKey } = this;
    for (let i = 0; i < encoders.length; i++) {
      const start = spans[i * 2] as number;
      if (inKey[i] === 0) {
        out.writeByte(start < 0 ? 0 : 2);
        if (start < 0) continue;
      } else if (start < 0) throw incompleteKey();
      (encoders[i] as CellEncoder)(out, src, start, spans[i * 2 + 1] as number);
    }
  }

  /** Names of the cells that the server did not send, as a nullable array. */
  writeUnchanged(out: AvroWriter, spans: Int32Array, count: number): void {
    if (count === 0) {
      out.writeByte(0);
      return;
    }
    out.writeByte(2);
    out.writeInt(count);
    for (let i = 0; i < this.columns; i++) {
      if (spans[i * 2] !== UNCHANGED_CELL) continue;
      const name = this.names[i] as Buffer;
      out.copyRaw(name, 0, name.length);
    }
    out.writeByte(0);
  }

  /** Whether two tuples of one message have different keys. */
  keyDiffers(src: Buffer, a: Int32Array, b: Int32Array): boolean {
    for (const column of this.keyColumns) {
      // A key cell that was not sent again is what it was.
      if ((b[column * 2] as number) < 0) continue;
      const start = a[column * 2] as number;
      if (start < 0) return true;
      const other = b[column * 2] as number;
      const length = (a[column * 2 + 1] as number) - start;
      if ((b[column * 2 + 1] as number) - other !== length) return true;
      if (!sameRun(src, start, other, length)) return true;
    }
    return false;
  }

  /** An update without an old tuple under a key that was not sent cannot be keyed; with one, the old
   * tuple has it. */
  takeKeyFrom(spans: Int32Array, old: Int32Array): void {
    for (const column of this.keyColumns) {
      if ((spans[column * 2] as number) >= 0) continue;
      spans[column * 2] = old[column * 2] as number;
      spans[column * 2 + 1] = old[column * 2 + 1] as number;
    }
  }
}

/** Keys are short: a loop costs less than a call into the engine. */
function sameRun(src: Buffer, a: number, b: number, length: number): boolean {
  for (let i = 0; i < length; i++) if (src[a + i] !== src[b + i]) return false;
  return true;
}

export function wireHeader(id: number): Buffer {
  const header = Buffer.alloc(WIRE_HEADER_BYTES);
  writeWireHeader(header, 0, id);
  return header;
}

export function avroString(text: string): Buffer {
  const out = new AvroWriter(Buffer.byteLength(text) + 5);
  out.writeString(text);
  return Buffer.from(out.bytes.subarray(0, out.pos));
}
