import { PipelineError } from '../../core/errors/pipeline-error.ts';
import {
  columnsOfRow,
  rowOfEnvelope,
  type AvroField,
  type AvroRecord,
  type AvroSchema,
} from './avro-schema.ts';
import { WIRE_HEADER_BYTES } from './record-view.ts';
import type { Column } from './stream-schema.ts';
import { KIND_IN_AVRO, type AvroPrimitive } from '../values/column-type.ts';

/**
 * Finds the cells of a change event inside its Avro bytes without making a row object or a string:
 * a destination then copies or converts just the bytes it needs.
 */

/** A cell's start when it has no bytes: SQL NULL, or not sent by the source (see `unchanged`). */
export const CELL_NULL = -1;
export const CELL_UNCHANGED = -2;

const VARINT = 0;
const ONE_BYTE = 1;
const FOUR_BYTES = 2;
const EIGHT_BYTES = 3;
const LENGTH_PREFIXED = 4;

const WIDTH_OF: Record<AvroPrimitive, number> = {
  boolean: ONE_BYTE,
  int: VARINT,
  long: VARINT,
  float: FOUR_BYTES,
  double: EIGHT_BYTES,
  bytes: LENGTH_PREFIXED,
  string: LENGTH_PREFIXED,
};

/** The layout of one record of cells: a row image or a key. */
interface RowLayout {
  readonly columns: readonly Column[];
  readonly widths: Uint8Array;
  readonly nullable: Uint8Array;
  readonly indexByName: ReadonlyMap<string, number>;
  /** For each cell on the wire its place in `columns`, -1 for one that is passed over; null when all
   * are read. */
  readonly places: Int32Array | null;
}

type Keeps = (column: Column) => boolean;

function layoutOf(row: AvroRecord, keeps: Keeps = () => true): RowLayout {
  const sent = columnsOfRow(row);
  const columns = sent.filter(keeps);
  return {
    columns,
    widths: Uint8Array.from(sent, (c) => WIDTH_OF[KIND_IN_AVRO[c.type.kind].primitive]),
    nullable: Uint8Array.from(row.fields, (field) => (Array.isArray(field.type) ? 1 : 0)),
    indexByName: new Map(columns.map((column, index) => [column.name, index])),
    places:
      columns.length === sent.length
        ? null
        : Int32Array.from(sent, (column) => columns.indexOf(column)),
  };
}

type SourceSlot = 'skip' | 'snapshot' | 'tsUs' | 'txId' | 'lsn' | 'seq' | 'epoch';
const SOURCE_SLOT: Record<string, SourceSlot> = {
  snapshot: 'snapshot',
  ts_us: 'tsUs',
  txId: 'txId',
  lsn: 'lsn',
  seq: 'seq',
  epoch: 'epoch',
};

interface SourceStep {
  readonly slot: SourceSlot;
  readonly width: number;
  readonly nullable: boolean;
}

/** An envelope schema made ready for decoding. One per schema id; it holds no state. */
export class ChangeSchema {
  readonly id: number;
  /** The row's columns in wire order; `inKey` is set, the order of the key's columns is the key schema's. */
  readonly columns: readonly Column[];
  readonly row: RowLayout;
  readonly sourceSteps: readonly SourceStep[];
  private readonly envelope: AvroRecord;

  constructor(id: number, envelope: AvroRecord, keeps?: Keeps) {
    this.id = id;
    this.envelope = envelope;
    this.row = layoutOf(rowOfEnvelope(envelope), keeps);
    this.columns = this.row.columns;
    const source = envelope.fields.find((f) => f.name === 'source')?.type as AvroRecord;
    this.sourceSteps = source.fields.map(sourceStep);
  }

  /** That of the topic whose records it describes. */
  get namespace(): string {
    return this.envelope.namespace;
  }

  /** The same records without the other columns: their cells are passed over. */
  only(keeps: Keeps): ChangeSchema {
    return this.columns.every(keeps) ? this : new ChangeSchema(this.id, this.envelope, keeps);
  }
}

function sourceStep(field: AvroField): SourceStep {
  const nullable = Array.isArray(field.type);
  const type = (nullable ? (field.type as AvroSchema[])[1] : field.type) as
    AvroPrimitive | { type: AvroPrimitive };
  return {
    slot: SOURCE_SLOT[field.name] ?? 'skip',
    width: WIDTH_OF[typeof type === 'string' ? type : type.type],
    nullable,
  };
}

/** A key schema made ready for decoding, for tombstones, whose key is all they have. */
export class KeySchema {
  readonly id: number;
  readonly columns: readonly Column[];
  readonly row: RowLayout;

  constructor(id: number, key: AvroRecord) {
    this.id = id;
    this.row = layoutOf(key);
    this.columns = this.row.columns;
  }

  /** Fills `spans` with [start, end) per key column. */
  decode(bytes: Buffer, start: number, spans: Int32Array): void {
    const scan = new Scan();
    scan.begin(bytes, start + WIRE_HEADER_BYTES);
    scan.cells(this.row, spans);
  }
}

export const OP_READ = 0x72; // r
export const OP_CREATE = 0x63; // c
export const OP_UPDATE = 0x75; // u
export const OP_DELETE = 0x64; // d
export const OP_TRUNCATE = 0x74; // t
/** A message without a row: the end mark of a generation. */
export const OP_MESSAGE = 0x6d; // m

/**
 * One decoded change; reused for every record, so nothing of it may be kept past the next decode.
 * `after` and `before` hold [start, end) per column, start CELL_NULL or CELL_UNCHANGED for a cell
 * without bytes. A start points behind the length of a string, at the first byte of a number.
 */
export class ChangeCursor {
  op = 0;
  /** Of a copy of the stream: its rows and both marks of a generation. */
  snapshot = false;
  /** Ends its copy: true of the end mark of a generation. */
  last = false;
  hasBefore = false;
  hasAfter = false;
  /** True when at least one cell of `after` is CELL_UNCHANGED. */
  hasUnchanged = false;
  before = new Int32Array(0);
  after = new Int32Array(0);
  /** Commit time at the source, microseconds since 1970; a safe integer until the year 2255. */
  tsUs = 0;
  txId = 0;
  seq = 0;
  epoch = 0;
  /** The commit's position in the source's log, as two 32-bit halves. */
  lsnHigh = 0;
  lsnLow = 0;
  /** Kept: one of its own for every record would be most of what a decoder leaves to be collected. */
  private readonly scan = new Scan();

  /** False for the marks: a `t` empties the stream or begins a generation, an `m` ends one. */
  get isRow(): boolean {
    return this.op !== OP_TRUNCATE && this.op !== OP_MESSAGE;
  }

  get lsn(): bigint {
    return (BigInt(this.lsnHigh) << 32n) | BigInt(this.lsnLow >>> 0);
  }

  decode(schema: ChangeSchema, bytes: Buffer, start: number, end: number): void {
    const size = schema.columns.length * 2;
    if (this.after.length !== size) {
      this.after = new Int32Array(size);
      this.before = new Int32Array(size);
    }
    const { scan } = this;
    scan.begin(bytes, start + WIRE_HEADER_BYTES);
    this.hasBefore = scan.branch();
    if (this.hasBefore) scan.cells(schema.row, this.before);
    this.hasAfter = scan.branch();
    if (this.hasAfter) scan.cells(schema.row, this.after);
    this.readSource(schema, scan);
    scan.length();
    this.op = bytes[scan.start] as number;
    if (scan.branch()) scan.skip(VARINT);
    this.hasUnchanged = scan.branch();
    if (this.hasUnchanged) this.hasUnchanged = this.markUnchanged(schema, scan);
    if (scan.pos !== end) {
      throw new PipelineError('EVT_UNDECODABLE', 'a record does not end where its schema ends', {
        details: { schemaId: schema.id, expected: end - start, found: scan.pos - start },
      });
    }
  }

  private readSource(schema: ChangeSchema, scan: Scan): void {
    for (const step of schema.sourceSteps) {
      if (step.nullable && !scan.branch()) continue;
      scan.skip(step.width);
      switch (step.slot) {
        case 'skip':
          break;
        case 'snapshot':
          this.snapshot = scan.bytes[scan.start] !== 0x66; // "false"
          this.last = scan.bytes[scan.start] === 0x6c; // "last"
          break;
        case 'lsn':
          readLongHalves(scan.bytes, scan.start);
          this.lsnHigh = longHigh;
          this.lsnLow = longLow;
          break;
        default:
          this[step.slot] = readLong(scan.bytes, scan.start);
      }
    }
  }

  /** False when none of the columns that are read is among them. */
  private markUnchanged(schema: ChangeSchema, scan: Scan): boolean {
    let found = false;
    for (;;) {
      scan.skip(VARINT);
      let count = readLong(scan.bytes, scan.start);
      if (count === 0) return found;
      if (count < 0) {
        count = -count;
        scan.skip(VARINT);
      }
      for (; count > 0; count--) {
        scan.skip(LENGTH_PREFIXED);
        const name = scan.bytes.toString('utf8', scan.start, scan.pos);
        const index = schema.row.indexByName.get(name);
        if (index === undefined) continue;
        this.after[index * 2] = CELL_UNCHANGED;
        found = true;
      }
    }
  }
}

const NO_BYTES = Buffer.alloc(0);

class Scan {
  bytes: Buffer = NO_BYTES;
  pos = 0;
  /** First byte of what `skip` or `length` passed last. */
  start = 0;

  begin(bytes: Buffer, pos: number): void {
    this.bytes = bytes;
    this.pos = pos;
  }

  /** A nullable union's branch: true for a value. */
  branch(): boolean {
    return this.bytes[this.pos++] !== 0;
  }

  cells(row: RowLayout, spans: Int32Array): void {
    const { widths, nullable } = row;
    if (row.places !== null) return this.someCells(row, row.places, spans);
    for (let i = 0; i < widths.length; i++) {
      if (nullable[i] === 1 && this.bytes[this.pos++] === 0) {
        spans[i * 2] = CELL_NULL;
        continue;
      }
      this.skip(widths[i] as number);
      spans[i * 2] = this.start;
      spans[i * 2 + 1] = this.pos;
    }
  }

  private someCells({ widths, nullable }: RowLayout, places: Int32Array, spans: Int32Array): void {
    for (let i = 0; i < widths.length; i++) {
      const place = places[i] as number;
      const isNull = nullable[i] === 1 && this.bytes[this.pos++] === 0;
      if (!isNull) this.skip(widths[i] as number);
      if (place === -1) continue;
      spans[place * 2] = isNull ? CELL_NULL : this.start;
      if (!isNull) spans[place * 2 + 1] = this.pos;
    }
  }

  /** Passes a length-prefixed value. */
  length(): void {
    this.skip(LENGTH_PREFIXED);
  }

  skip(width: number): void {
    switch (width) {
      case VARINT:
        this.start = this.pos;
        while (((this.bytes[this.pos++] as number) & 0x80) !== 0);
        return;
      case LENGTH_PREFIXED: {
        const length = this.readLength();
        this.start = this.pos;
        this.pos += length;
        if (length < 0 || this.pos > this.bytes.length) {
          throw new PipelineError('EVT_UNDECODABLE', 'a length in a record leads past its end');
        }
        return;
      }
      default:
        this.start = this.pos;
        this.pos += width === ONE_BYTE ? 1 : width === FOUR_BYTES ? 4 : 8;
    }
  }

  private readLength(): number {
    let byte = this.bytes[this.pos++] as number;
    let n = byte & 0x7f;
    for (let shift = 7; (byte & 0x80) !== 0; shift += 7) {
      byte = this.bytes[this.pos++] as number;
      n |= (byte & 0x7f) << shift;
    }
    return n >>> 1;
  }
}

/** Results of the last readLongHalves: two globals instead of an object per value. */
export let longHigh = 0;
export let longLow = 0;

/** Reads a zigzag long at `pos` into longHigh (signed) and longLow (unsigned). */
export function readLongHalves(bytes: Uint8Array, pos: number): void {
  let low = 0;
  let high = 0;
  let shift = 0;
  let byte = 0;
  do {
    byte = bytes[pos++] as number;
    const bits = byte & 0x7f;
    if (shift < 28) low |= bits << shift;
    else if (shift === 28) {
      low |= bits << 28;
      high |= bits >>> 4;
    } else high |= bits << (shift - 32);
    shift += 7;
  } while ((byte & 0x80) !== 0);
  const sign = -(low & 1);
  longLow = (((low >>> 1) | (high << 31)) ^ sign) >>> 0;
  longHigh = ((high >>> 1) ^ sign) | 0;
}

/** Reads a zigzag int or long whose value is a safe integer. */
export function readLong(bytes: Uint8Array, pos: number): number {
  const first = bytes[pos] as number;
  if (first < 0x80) return (first >>> 1) ^ -(first & 1);
  readLongHalves(bytes, pos);
  return longHigh * 0x100000000 + longLow;
}
