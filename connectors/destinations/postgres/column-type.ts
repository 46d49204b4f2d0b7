import type { ColumnKind, ColumnType } from '../../../schemas/values/column-type.ts';

/** How a column's cells travel: in the binary form of that type, or as text. */
export type StagedForm =
  | 'bool'
  | 'int2'
  | 'int4'
  | 'int8'
  | 'float4'
  | 'float8'
  | 'numeric'
  | 'text'
  | 'bytea'
  | 'uuid'
  | 'date'
  | 'time'
  | 'timestamp'
  | 'timestamptz'
  | 'json'
  | 'jsonb';

/** Object ids of the element types, which the server expects in a binary array's header. */
export const FORM_OID: Record<StagedForm, number> = {
  bool: 16,
  bytea: 17,
  int8: 20,
  int2: 21,
  int4: 23,
  text: 25,
  json: 114,
  float4: 700,
  float8: 701,
  date: 1082,
  time: 1083,
  timestamp: 1114,
  timestamptz: 1184,
  numeric: 1700,
  uuid: 2950,
  jsonb: 3802,
};

/** A column type in the target, spelt as `format_type` prints it. */
export interface TargetType {
  readonly ddl: string;
  readonly form: StagedForm;
  /** Type that the staged text is cast to, without length: a cast to `varchar(3)` would cut in
   * silence, the assignment behind it refuses. Null when the staged form can be assigned as it is. */
  readonly cast: string | null;
}

interface KnownType {
  readonly kinds: readonly ColumnKind[];
  readonly form?: StagedForm;
  readonly cast?: string;
}

const asText = (...kinds: ColumnKind[]): KnownType => ({ kinds });
const binary = (form: StagedForm, ...kinds: ColumnKind[]): KnownType => ({ kinds, form });

/** Built-in types that every supported server has, with the kinds whose values they hold exactly.
 * What is not here (enums, domains, composites, extensions') becomes text. */
const KNOWN = new Map<string, KnownType>([
  ['boolean', binary('bool', 'boolean')],
  ['smallint', binary('int2', 'int16')],
  ['integer', binary('int4', 'int32', 'int16')],
  ['bigint', binary('int8', 'int64', 'int32', 'int16')],
  ['real', binary('float4', 'float32')],
  ['double precision', binary('float8', 'float64', 'float32')],
  ['numeric', binary('numeric', 'decimal')],
  ['text', binary('text', 'string')],
  ['character varying', binary('text', 'string')],
  ['character', binary('text', 'string')],
  ['bytea', binary('bytea', 'bytes')],
  ['uuid', binary('uuid', 'uuid')],
  ['date', binary('date', 'date')],
  ['time without time zone', binary('time', 'time')],
  ['timestamp without time zone', binary('timestamp', 'timestamp')],
  ['timestamp with time zone', binary('timestamptz', 'timestamptz')],
  ['json', binary('json', 'json')],
  ['jsonb', binary('jsonb', 'json')],
  ['time with time zone', asText('timetz')],
  ['interval', asText('interval')],
  ['xml', asText('xml')],
  ['bit varying', asText('bits')],
  ['bit', { kinds: ['bits'], cast: 'bit varying' }],
  ['oid', asText('int64', 'string')],
  ['money', asText('decimal')],
  ...[
    ['"char"', 'name', 'inet', 'cidr', 'macaddr', 'macaddr8', 'xid', 'xid8', 'cid', 'tid'],
    ['point', 'line', 'lseg', 'box', 'path', 'polygon', 'circle', 'tsvector', 'tsquery'],
    ['int4range', 'int8range', 'numrange', 'tsrange', 'tstzrange', 'daterange'],
    ['int4multirange', 'int8multirange', 'nummultirange', 'tsmultirange', 'tstzmultirange'],
    ['datemultirange', 'pg_lsn', 'jsonpath', 'txid_snapshot', 'pg_snapshot'],
  ]
    .flat()
    .map((name): [string, KnownType] => [name, asText('string')]),
]);

const BY_KIND: Record<ColumnKind, string> = {
  boolean: 'boolean',
  int16: 'smallint',
  int32: 'integer',
  int64: 'bigint',
  float32: 'real',
  float64: 'double precision',
  decimal: 'numeric',
  string: 'text',
  bytes: 'bytea',
  date: 'date',
  time: 'time without time zone',
  timestamp: 'timestamp without time zone',
  timestamptz: 'timestamp with time zone',
  timetz: 'time with time zone',
  interval: 'interval',
  uuid: 'uuid',
  json: 'jsonb',
  xml: 'xml',
  enum: 'text',
  bits: 'bit varying',
  array: 'text',
};

/** The parts of a type's spelling: `timestamp(3) without time zone[]`. */
interface Spelling {
  readonly base: string;
  readonly limits: readonly number[];
  readonly isArray: boolean;
}

function spellingOf(ddl: string): Spelling {
  const isArray = ddl.endsWith('[]');
  const element = isArray ? ddl.replace(/(\[\])+$/, '') : ddl;
  const limits = /\(([-0-9, ]+)\)/.exec(element)?.[1]?.split(',').map(Number) ?? [];
  const bare = element.replace(/\([-0-9, ]+\)/, '').trim();
  // An interval's fields (`interval day to second`) are a limit too.
  return { base: bare.startsWith('interval') ? 'interval' : bare, limits, isArray };
}

/** The column type in which every value of `type` reads back as the same text. */
export function targetType(type: ColumnType): TargetType {
  const { native, kind } = type;
  if (native !== undefined) {
    const spelling = spellingOf(native);
    const known = KNOWN.get(spelling.base);
    const fits = spelling.isArray ? kind === 'array' : known?.kinds.includes(kind);
    if (known !== undefined && fits === true) return typeOfSpelling(native);
  }
  if (kind === 'decimal' && type.precision !== undefined) {
    return typeOfSpelling(`numeric(${type.precision},${type.scale ?? 0})`);
  }
  return typeOfSpelling(BY_KIND[kind]);
}

/** How cells of a column of this type are staged; null for a type that is none of ours. */
export function typeOfSpelling(ddl: string): TargetType {
  const { base, isArray } = spellingOf(ddl);
  const known = KNOWN.get(base);
  const cast = known?.cast ?? base;
  if (isArray) return { ddl, form: 'text', cast: `${cast}[]` };
  if (known?.form !== undefined) return { ddl, form: known.form, cast: null };
  return { ddl, form: 'text', cast };
}

const INTEGER_DIGITS = new Map([
  ['smallint', 5],
  ['integer', 10],
  ['bigint', 19],
]);

/** Whether a column of type `wide` holds every value of type `narrow` exactly. */
export function covers(wide: string, narrow: string): boolean {
  if (wide === narrow) return true;
  const w = spellingOf(wide);
  const n = spellingOf(narrow);
  if (w.isArray || n.isArray) return false;
  const digits = INTEGER_DIGITS.get(n.base);
  if (digits !== undefined) {
    return w.base === 'numeric'
      ? w.limits.length === 0 || wholeDigits(w) >= digits
      : (INTEGER_DIGITS.get(w.base) ?? 0) >= digits;
  }
  if (w.base === n.base) return limitsCover(w, n);
  if (w.base === 'double precision') return n.base === 'real';
  if (w.base === 'text') return n.base === 'character varying';
  return w.base === 'character varying' && w.limits.length === 0 && n.base === 'text';
}

function wholeDigits({ limits }: Spelling): number {
  return (limits[0] as number) - (limits[1] ?? 0);
}

const LIMITED_BY_LENGTH = new Set(['character varying', 'bit varying']);
const LIMITED_BY_FRACTION = /^(time|timestamp) with/;

function limitsCover(wide: Spelling, narrow: Spelling): boolean {
  if (wide.base === 'numeric') {
    if (wide.limits.length === 0 || narrow.limits.length === 0) return wide.limits.length === 0;
    const scaleFits = (wide.limits[1] ?? 0) >= (narrow.limits[1] ?? 0);
    return scaleFits && wholeDigits(wide) >= wholeDigits(narrow);
  }
  const isLimit = LIMITED_BY_LENGTH.has(wide.base) || LIMITED_BY_FRACTION.test(wide.base);
  if (!isLimit) return false;
  const [w = Infinity] = wide.limits;
  const [n = Infinity] = narrow.limits;
  return w >= n;
}

/** The type to alter an existing column to, so that it holds old and new values; null when the
 * change is not a widening that loses nothing. */
export function widened(existing: string, wanted: string): string | null {
  if (covers(wanted, existing)) return wanted;
  const [e, w] = [spellingOf(existing), spellingOf(wanted)];
  const isNumber = (s: Spelling) =>
    !s.isArray && (s.base === 'numeric' || INTEGER_DIGITS.has(s.base));
  return isNumber(e) && isNumber(w) ? 'numeric' : null;
}
