import {
  isObject,
  JsonNumber,
  jsonbText,
  parseJson,
  plainNumber,
  textOf,
  type JsonValue,
} from '../../../schemas/normalize/json-value.ts';
import type { CellReader } from './cell-readers.ts';
import type { FileColumn } from './file-columns.ts';
import type { FileValue } from './parquet-file.ts';

/**
 * Fields of JSON documents as columns of their own: `{"email": …}` in column `contact` is
 * `contact_email`. A document has no types, so the first value that is met decides: a text or an
 * array is text, a truth value BOOLEAN, a number DOUBLE, or text when a DOUBLE would change a digit
 * of it. What comes later and does not fit goes, as text, to a second column of the field (`rest`):
 * a column keeps its form for life, and no value is rounded (invariant 5). The document itself stays
 * in its own column.
 */

export type FieldForm = 'text' | 'boolean' | 'double';

export interface FoundField {
  /** Name of the source's column. */
  readonly source: string;
  readonly path: readonly string[];
  /** For `rest`: of the field's first column. */
  readonly form: FieldForm;
  readonly isRest: boolean;
}

/** Columns that fields of a stream may have: readers give up at some hundred columns. */
export const MAX_FIELDS = 400;
/** What is nested deeper stays JSON text in the column of the object it is in. */
const MAX_DEPTH = 12;
const MAX_NAME = 200;

function isExact({ text }: JsonNumber): boolean {
  const number = Number(text);
  return Number.isFinite(number) && trimmed(plainNumber(String(number))) === trimmed(text);
}

function trimmed(text: string): string {
  return text.includes('.') ? text.replace(/\.?0+$/, '') : text;
}

function formOf(value: JsonValue): FieldForm {
  if (typeof value === 'boolean') return 'boolean';
  return value instanceof JsonNumber && isExact(value) ? 'double' : 'text';
}

function fits(value: JsonValue, form: FieldForm): boolean {
  return form === 'text' || formOf(value) === form;
}

/** What a malformed document, or one beyond all bounds, holds: its own column has its text. */
function documentOf(text: string): JsonValue {
  try {
    return parseJson(text);
  } catch {
    return null;
  }
}

function isLeaf(value: JsonValue, depth: number): boolean {
  return value !== null && (!isObject(value) || depth >= MAX_DEPTH);
}

const keyOf = (source: string, path: readonly string[]): string => JSON.stringify([source, path]);

/** Looks through documents for fields that have no column, or values that do not fit theirs. */
export class FieldFinder {
  readonly found: FoundField[] = [];
  private readonly known = new Map<string, { readonly form: FieldForm; hasRest: boolean }>();
  private count = 0;

  constructor(columns: readonly FileColumn[]) {
    for (const { source, path, rest, form } of columns) {
      if (path === undefined) continue;
      this.count++;
      const key = keyOf(source, path);
      this.known.set(key, { form: rest ?? (form as FieldForm), hasRest: rest !== undefined });
    }
  }

  look(source: string, document: string): void {
    const value = documentOf(document);
    if (value !== null && isObject(value)) this.members(source, value, []);
  }

  private members(source: string, value: JsonValue, path: readonly string[]): void {
    for (const [name, member] of value as ReadonlyMap<string, JsonValue>) {
      const here = [...path, name];
      if (isLeaf(member, here.length)) this.field(source, here, member);
      else if (member !== null) this.members(source, member, here);
    }
  }

  private field(source: string, path: readonly string[], value: JsonValue): void {
    const key = keyOf(source, path);
    const known = this.known.get(key);
    if (known !== undefined && (known.hasRest || fits(value, known.form))) return;
    if (this.count >= MAX_FIELDS || fieldName(source, path).length > MAX_NAME) return;
    const form = known?.form ?? formOf(value);
    const isRest = known !== undefined;
    this.count++;
    this.known.set(key, { form, hasRest: isRest });
    this.found.push({ source, path, form, isRest });
  }
}

export function fieldName(source: string, path: readonly string[]): string {
  return [source, ...path].join('_');
}

/** Reads a document once for all columns of its fields. */
export class DocumentReader {
  private bytes: Buffer | null = null;
  private start = -1;
  private document: JsonValue = null;

  read(bytes: Buffer, start: number, end: number): JsonValue {
    if (this.bytes !== bytes || this.start !== start) {
      this.document = documentOf(bytes.toString('utf8', start, end));
      this.bytes = bytes;
      this.start = start;
    }
    return this.document;
  }
}

/** What a document has for a field's column; null where it has nothing that belongs there. */
export function fieldReader(column: FileColumn, documents: DocumentReader): CellReader {
  const path = column.path as readonly string[];
  const { rest } = column;
  return (bytes, start, end) => {
    const value = valueAt(documents.read(bytes, start, end), path);
    if (!isLeaf(value, path.length)) return null;
    if (rest !== undefined) return fits(value, rest) ? null : textBytes(value);
    return fits(value, column.form as FieldForm) ? fileValue(value, column.form) : null;
  };
}

function valueAt(document: JsonValue, path: readonly string[]): JsonValue {
  let value: JsonValue | undefined = document;
  for (const name of path) {
    if (value === undefined || value === null || !isObject(value)) return null;
    value = value.get(name);
  }
  return value ?? null;
}

function fileValue(value: JsonValue, form: string): FileValue {
  if (form === 'text') return textBytes(value);
  return value instanceof JsonNumber ? Number(value.text) : (value as boolean);
}

function textBytes(value: JsonValue): FileValue {
  const text = value !== null && typeof value === 'object' ? jsonbText(value) : textOf(value);
  return Buffer.from(text);
}
