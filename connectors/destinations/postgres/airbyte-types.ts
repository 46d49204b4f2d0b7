import { PipelineError } from '../../../core/errors/pipeline-error.ts';
import { parseJson, plainNumber, textOf } from '../../../schemas/normalize/json-value.ts';
import type { Rules } from '../../../schemas/normalize/rules.ts';
import { joinedType } from '../../../schemas/normalize/shape.ts';
import type { ColumnKind, ColumnType } from '../../../schemas/values/column-type.ts';
import type { BinaryWriter } from './binary-writer.ts';
import { cellEncoder, type CellEncoder } from './cell-encoder.ts';
import { targetType, typeOfSpelling, type StagedForm, type TargetType } from './column-type.ts';
import { jsonCell } from './json-cell.ts';
import { writeNumeric } from './numeric-cell.ts';

/**
 * Types of columns in Airbyte's own modes. A value goes there by way of JSON: whole numbers are
 * bigint, whatever their width at the source, and arrays are jsonb.
 */
const SHARED: Partial<Record<ColumnKind, string>> = {
  boolean: 'boolean',
  int16: 'bigint',
  int32: 'bigint',
  int64: 'bigint',
  date: 'date',
  time: 'time without time zone',
  timetz: 'time with time zone',
  timestamp: 'timestamp without time zone',
  timestamptz: 'timestamp with time zone',
  json: 'jsonb',
  array: 'jsonb',
};

const NUMBERS: ReadonlySet<ColumnKind> = new Set(['float32', 'float64', 'decimal']);

/** The column of a source's column. A key's decimals stay exact in any mode: rounded, two keys
 * would be one row. */
export function airbyteType(type: ColumnType, inKey: boolean, rules: Rules): TargetType {
  const { kind } = type;
  if (rules === 'basic') return targetType(type);
  const shared = SHARED[kind];
  if (shared !== undefined) return typeOfSpelling(shared);
  const isClassic = rules === 'classic';
  if (NUMBERS.has(kind)) {
    const isExact = !isClassic || (inKey && kind === 'decimal');
    return typeOfSpelling(isExact ? 'numeric' : 'double precision');
  }
  if (kind === 'bytes' && isClassic) return typeOfSpelling('bytea');
  return typeOfSpelling(textType(rules));
}

function textType(rules: Rules): string {
  return rules === 'v2' ? 'character varying' : 'text';
}

/** The type of a column whose type at the source has changed: number types widen, all others become
 * text, which holds what was there before. */
export function airbyteTypeOfBoth(known: string, found: string, rules: Rules): string {
  const both = joinedType(known, found);
  return both === 'text' ? textType(rules) : both;
}

/** The encoder from a column of the source to the form of its target; by way of its JSON text where
 * there is no direct one. */
export function airbyteEncoder(type: ColumnType, form: StagedForm): CellEncoder | null {
  const { kind } = type;
  const isNumber = kind === 'float32' || (kind === 'decimal' && form === 'float8');
  const direct = isNumber || kind === 'array' ? null : cellEncoder(kind, form);
  if (direct !== null) return direct;
  const json = jsonCell(type);
  const viaJson = VIA_JSON[form];
  if (viaJson === undefined) return null;
  return (out, bytes, start, end) => viaJson(out, json(bytes, start, end));
}

type JsonEncoder = (out: BinaryWriter, json: string) => void;

const VIA_JSON: Partial<Record<StagedForm, JsonEncoder>> = {
  text: (out, json) => out.textCell(textOf(parseJson(json))),
  jsonb: (out, json) => out.textCell(`\u0001${json}`),
  float8: (out, json) => writeDouble(out, textOf(parseJson(json))),
  numeric: (out, json) => {
    // NaN and infinities are texts in JSON.
    const text = json.startsWith('"') ? textOf(parseJson(json)) : plainNumber(json);
    const bytes = Buffer.from(text, 'latin1');
    writeNumeric(out, bytes, 0, bytes.length);
  },
};

/** A double's cell from its text; refuses a number that only an infinity would stand for. */
export function writeDouble(out: BinaryWriter, text: string): void {
  const value = Number(text);
  if (!Number.isFinite(value) && /\d/.test(text)) {
    throw new PipelineError('DST_VALUE', 'a number is out of the range of double precision');
  }
  out.ensure(12);
  out.int32(8);
  out.bytes.writeDoubleBE(value, out.pos);
  out.pos += 8;
}

/** Whether a column holds documents that are taken apart. */
export function isDocument({ kind }: ColumnType, rules: Rules): boolean {
  if (rules === 'v2') return false;
  return kind === 'json' || (kind === 'array' && rules === 'classic');
}
