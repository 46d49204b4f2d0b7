import { PipelineError } from '../../../core/errors/pipeline-error.ts';
import {
  longHigh,
  longLow,
  readLong,
  readLongHalves,
} from '../../../schemas/envelope/change-decoder.ts';
import { KIND_IN_AVRO, type ColumnKind } from '../../../schemas/values/column-type.ts';
import type { BinaryWriter } from './binary-writer.ts';
import type { StagedForm } from './column-type.ts';
import { writeNumeric } from './numeric-cell.ts';
import { writeDate, writeTimestamp, writeTimestamptz } from './timestamp-cell.ts';

/** Writes one cell, length and payload, from its Avro bytes at [start, end). */
export type CellEncoder = (out: BinaryWriter, bytes: Buffer, start: number, end: number) => void;

/** The encoder from a kind to the form its column is staged in; null when there is no exact one. */
export function cellEncoder(kind: ColumnKind, form: StagedForm): CellEncoder | null {
  if (form === 'text') return textEncoder(kind);
  return ENCODERS[form][kind] ?? null;
}

const copyCell: CellEncoder = (out, bytes, start, end) => {
  out.ensure(4 + end - start);
  out.int32(end - start);
  out.copy(bytes, start, end);
};

const int2: CellEncoder = (out, bytes, start) => {
  out.ensure(6);
  out.int32(2);
  out.int16(readLong(bytes, start));
};

const int4: CellEncoder = (out, bytes, start) => out.int4Cell(readLong(bytes, start));

const int8: CellEncoder = (out, bytes, start) => {
  readLongHalves(bytes, start);
  out.int8Cell(longHigh, longLow);
};

/** Four or eight bytes, turned around: Avro's floats are little-endian. */
const float: CellEncoder = (out, bytes, start, end) => {
  out.ensure(12);
  out.int32(end - start);
  for (let i = end - 1; i >= start; i--) out.bytes[out.pos++] = bytes[i] as number;
};

const widenedFloat: CellEncoder = (out, bytes, start) => {
  out.ensure(12);
  out.int32(8);
  out.bytes.writeDoubleBE(bytes.readFloatLE(start), out.pos);
  out.pos += 8;
};

const jsonb: CellEncoder = (out, bytes, start, end) => {
  out.ensure(5 + end - start);
  out.int32(1 + end - start);
  out.bytes[out.pos++] = 1;
  out.copy(bytes, start, end);
};

const uuid: CellEncoder = (out, bytes, start, end) => {
  out.ensure(20);
  out.int32(16);
  let nibbles = 0;
  for (let i = start; i < end; i++) {
    const char = bytes[i] as number;
    if (char === 0x2d) continue;
    const nibble = char < 0x3a ? char - 0x30 : (char | 0x20) - 0x57;
    if (nibble < 0 || nibble > 15 || nibbles === 32) throw malformedUuid();
    if ((nibbles++ & 1) === 0) out.bytes[out.pos] = nibble << 4;
    else out.bytes[out.pos] = (out.bytes[out.pos++] as number) | nibble;
  }
  if (nibbles !== 32) throw malformedUuid();
};

function malformedUuid(): PipelineError {
  return new PipelineError('DST_VALUE', 'a uuid is malformed');
}

/** For a column that was an integer in older events and is numeric now. */
const integerAsNumeric: CellEncoder = (out, bytes, start) => {
  const text = Buffer.from(integerText(bytes, start));
  writeNumeric(out, text, 0, text.length);
};

function integerText(bytes: Buffer, start: number): string {
  readLongHalves(bytes, start);
  return ((BigInt(longHigh) << 32n) | BigInt(longLow)).toString();
}

type BinaryForm = Exclude<StagedForm, 'text'>;
const ENCODERS: Record<BinaryForm, Partial<Record<ColumnKind, CellEncoder>>> = {
  bool: { boolean: copyCell },
  int2: { int16: int2 },
  int4: { int16: int4, int32: int4 },
  int8: { int16: int8, int32: int8, int64: int8 },
  float4: { float32: float },
  float8: { float32: widenedFloat, float64: float },
  numeric: {
    decimal: writeNumeric,
    int16: integerAsNumeric,
    int32: integerAsNumeric,
    int64: integerAsNumeric,
  },
  bytea: { bytes: copyCell },
  uuid: { uuid },
  date: { date: (out, bytes, start) => writeDate(out, readLong(bytes, start)) },
  time: { time: int8 },
  timestamp: { timestamp: writeTimestamp },
  timestamptz: { timestamptz: writeTimestamptz },
  json: { json: copyCell },
  jsonb: { json: jsonb },
};

/** Text kinds are text already; numbers are printed so that reading them back gives the same. */
function textEncoder(kind: ColumnKind): CellEncoder | null {
  switch (KIND_IN_AVRO[kind].primitive) {
    case 'string':
      return copyCell;
    case 'int':
    case 'long':
      // The number kinds of time have no text of their own here.
      if (KIND_IN_AVRO[kind].logicalType !== undefined) return null;
      return (out, bytes, start) => out.textCell(integerText(bytes, start));
    case 'boolean':
      return (out, bytes, start) => out.textCell(bytes[start] === 1 ? 'true' : 'false');
    default:
      return null;
  }
}
