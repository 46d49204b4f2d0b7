import { decimalText } from './encode-numbers.ts';
import { badValue } from './errors.ts';

/** MySQL's binary JSON as the text that the server prints for it. */

const [SMALL_OBJECT, LARGE_OBJECT, SMALL_ARRAY, LARGE_ARRAY] = [0, 1, 2, 3];
const LITERALS = ['null', 'true', 'false'];
const MAX_DEPTH = 110;

export function jsonText(src: Buffer, start: number, end: number): string {
  if (start === end) return 'null';
  if (src[start] === JSON_AS_TEXT) return src.toString('utf8', start + 1, end);
  return value(src, src[start] as number, start + 1, end, 0);
}

/** In place of a document's type, which is never this one: the rest is the text itself. */
export const JSON_AS_TEXT = 0xff;

/** A document one level deep: a scalar as its text, a container as what is in it. */
export type JsonParts =
  | string
  | { readonly keys: readonly string[] | null; readonly values: readonly (() => JsonParts)[] };

export function jsonParts(src: Buffer, start: number, end: number): JsonParts {
  if (start === end) return 'null';
  return partsOf(src, src[start] as number, start + 1, end, 0);
}

function partsOf(src: Buffer, type: number, pos: number, end: number, depth: number): JsonParts {
  if (type > LARGE_ARRAY) return value(src, type, pos, end, depth);
  const keys: string[] = [];
  const values: (() => JsonParts)[] = [];
  members(src, type, pos, (key, kind, at) => {
    if (key !== null) keys.push(key);
    values.push(() => partsOf(src, kind, at, end, depth + 1));
  });
  return { keys: isObject(type) ? keys : null, values };
}

function value(src: Buffer, type: number, pos: number, end: number, depth: number): string {
  if (pos > end || depth > MAX_DEPTH) throw badValue('JSON document');
  switch (type) {
    case SMALL_OBJECT:
    case LARGE_OBJECT:
    case SMALL_ARRAY:
    case LARGE_ARRAY:
      return container(src, type, pos, end, depth);
    case 4:
      return LITERALS[src[pos] as number] as string;
    case 5:
      return String(src.readInt16LE(pos));
    case 6:
      return String(src.readUInt16LE(pos));
    case 7:
      return String(src.readInt32LE(pos));
    case 8:
      return String(src.readUInt32LE(pos));
    case 9:
      return src.readBigInt64LE(pos).toString();
    case 10:
      return src.readBigUInt64LE(pos).toString();
    case 11:
      return doubleText(src.readDoubleLE(pos));
    case 12: {
      const length = varLength(src, pos);
      return quotedJson(src.toString('utf8', varEnd, varEnd + length));
    }
    case 15:
      return opaque(src, pos);
    default:
      throw badValue('JSON document');
  }
}

let varEnd = 0;

function varLength(src: Buffer, pos: number): number {
  let length = 0;
  for (let shift = 0; ; shift += 7) {
    const byte = src[pos++] as number;
    length += (byte & 0x7f) * 2 ** shift;
    if (byte < 0x80) break;
  }
  varEnd = pos;
  return length;
}

function isObject(type: number): boolean {
  return type === SMALL_OBJECT || type === LARGE_OBJECT;
}

/** What a container holds, in its order: name, type and place of each. */
function members(
  src: Buffer,
  type: number,
  pos: number,
  member: (key: string | null, kind: number, at: number) => void,
): void {
  const large = type === LARGE_OBJECT || type === LARGE_ARRAY;
  const object = isObject(type);
  const width = large ? 4 : 2;
  const uint = (at: number): number => (large ? src.readUInt32LE(at) : src.readUInt16LE(at));
  const count = uint(pos);
  const keys = pos + 2 * width;
  const values = object ? keys + count * (width + 2) : keys;
  for (let i = 0; i < count; i++) {
    const entry = values + i * (width + 1);
    const kind = src[entry] as number;
    const inline = (kind >= 4 && kind <= 6) || (large && (kind === 7 || kind === 8));
    const at = inline ? entry + 1 : pos + uint(entry + 1);
    const key = keys + i * (width + 2);
    const from = pos + (object ? uint(key) : 0);
    const name = object ? src.toString('utf8', from, from + src.readUInt16LE(key + width)) : null;
    member(name, kind, at);
  }
}

function container(src: Buffer, type: number, pos: number, end: number, depth: number): string {
  const parts: string[] = [];
  members(src, type, pos, (key, kind, at) => {
    const text = value(src, kind, at, end, depth + 1);
    parts.push(key === null ? text : `${quotedJson(key)}: ${text}`);
  });
  return isObject(type) ? `{${parts.join(', ')}}` : `[${parts.join(', ')}]`;
}

const ESCAPES: Readonly<Record<string, string>> = {
  '"': '\\"',
  '\\': '\\\\',
  '\b': '\\b',
  '\f': '\\f',
  '\n': '\\n',
  '\r': '\\r',
  '\t': '\\t',
};

export function quotedJson(text: string): string {
  const safe = text.replace(
    /["\\\u0000-\u001f]/g,
    (c) => ESCAPES[c] ?? `\\u${c.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );
  return `"${safe}"`;
}

/** Plain digits up to fifteen before the point or behind it, then an exponent; `1.0` keeps its point. */
export function doubleText(number: number): string {
  if (Object.is(number, -0)) return '-0.0';
  const [mantissa = '', power = '0'] = number.toExponential().split('e');
  const negative = mantissa.startsWith('-');
  const digits = mantissa.replace(/[-.]/g, '');
  const point = Number(power) + 1;
  const sign = negative ? '-' : '';
  if (point > 15 || point < -14) {
    const fraction = digits.length > 1 ? `.${digits.slice(1)}` : '';
    return `${sign}${digits.slice(0, 1)}${fraction}e${point - 1}`;
  }
  if (point <= 0) return `${sign}0.${'0'.repeat(-point)}${digits}`;
  if (digits.length <= point) return `${sign}${digits.padEnd(point, '0')}.0`;
  return `${sign}${digits.slice(0, point)}.${digits.slice(point)}`;
}

/** Values of SQL types inside a document: a decimal is a number, dates and times are strings. */
function opaque(src: Buffer, pos: number): string {
  const type = src[pos] as number;
  const length = varLength(src, pos + 1);
  const at = varEnd;
  switch (type) {
    case 246:
      return decimalText(src, at + 2, src[at] as number, src[at + 1] as number);
    case 10:
    case 7:
    case 12:
    case 11:
      return `"${packedTime(src.readBigInt64LE(at), type)}"`;
    default:
      return `"base64:type${type}:${src.toString('base64', at, at + length)}"`;
  }
}

function packedTime(packed: bigint, type: number): string {
  const size = packed < 0n ? -packed : packed;
  const micros = String(size & 0xffffffn).padStart(6, '0');
  const whole = Number(size >> 24n);
  const two = (n: number): string => String(n).padStart(2, '0');
  const clock = whole % 0x20000;
  const [minutes, seconds] = [two((clock >> 6) & 63), two(clock & 63)];
  if (type === 11) {
    return `${packed < 0n ? '-' : ''}${two((whole >> 12) & 1023)}:${minutes}:${seconds}.${micros}`;
  }
  const day = Math.floor(whole / 0x20000);
  const months = day >> 5;
  const date = `${String(Math.floor(months / 13)).padStart(4, '0')}-${two(months % 13)}-${two(day & 31)}`;
  return type === 10 ? date : `${date} ${two(clock >> 12)}:${minutes}:${seconds}.${micros}`;
}
