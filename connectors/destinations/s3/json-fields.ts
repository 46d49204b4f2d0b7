import {
  isObject,
  jsonbText,
  parseJson,
  textOf,
  type JsonValue,
} from '../../../schemas/normalize/json-value.ts';
import type { CellReader } from './cell-readers.ts';
import type { FileColumn } from './file-columns.ts';

/**
 * Fields of JSON documents as columns of their own: `{"email": …}` in column `contact` is
 * `contact_email`. They are text whatever is in them: a document has no types, files cannot be
 * changed, and readers of a folder give up where two files have a column in two types. The document
 * itself stays in its own column.
 */

export interface FoundField {
  /** Name of the source's column. */
  readonly source: string;
  readonly path: readonly string[];
}

/** Columns that fields of a stream may have: readers give up at some hundred columns. */
export const MAX_FIELDS = 400;
/** What is nested deeper stays JSON text in the column of the object it is in. */
const MAX_DEPTH = 12;
const MAX_NAME = 200;

/** Taken apart, a document needs many times its bytes (invariant 9). */
const MAX_DOCUMENT_BYTES = 1024 * 1024;

/** What is malformed, or beyond all bounds, has no fields: its own column has its text. */
function documentAt(bytes: Buffer, start: number, end: number): JsonValue {
  if (end - start > MAX_DOCUMENT_BYTES) return null;
  try {
    return parseJson(bytes.toString('utf8', start, end));
  } catch {
    return null;
  }
}

function isLeaf(value: JsonValue, depth: number): boolean {
  return value !== null && (!isObject(value) || depth >= MAX_DEPTH);
}

/** Names a field in sets and maps. */
export function fieldKey({ source, path }: FoundField): string {
  return JSON.stringify([source, path]);
}

/** Looks through documents for fields that have no column. */
export class FieldFinder {
  readonly found: FoundField[] = [];
  private readonly known = new Set<string>();

  constructor(columns: readonly FileColumn[]) {
    for (const { source, path } of columns) {
      if (path !== undefined) this.known.add(fieldKey({ source, path }));
    }
  }

  look(source: string, bytes: Buffer, start: number, end: number): void {
    const value = documentAt(bytes, start, end);
    if (value !== null && isObject(value)) this.members(source, value, []);
  }

  private members(source: string, value: JsonValue, path: readonly string[]): void {
    for (const [name, member] of value as ReadonlyMap<string, JsonValue>) {
      const here = [...path, name];
      if (isLeaf(member, here.length)) this.field({ source, path: here });
      else if (member !== null) this.members(source, member, here);
    }
  }

  private field(field: FoundField): void {
    const key = fieldKey(field);
    if (this.known.has(key) || this.known.size >= MAX_FIELDS) return;
    if (fieldName(field).length > MAX_NAME) return;
    this.known.add(key);
    this.found.push(field);
  }
}

export function fieldName({ source, path }: FoundField): string {
  return [source, ...path].join('_');
}

/** Reads a document once for all columns of its fields. */
export class DocumentReader {
  private bytes: Buffer | null = null;
  private start = -1;
  private document: JsonValue = null;

  read(bytes: Buffer, start: number, end: number): JsonValue {
    if (this.bytes !== bytes || this.start !== start) {
      this.document = documentAt(bytes, start, end);
      this.bytes = bytes;
      this.start = start;
    }
    return this.document;
  }
}

/** What a document has at `path`, as text; null where it has nothing there, or an object. */
export function fieldReader(path: readonly string[], documents: DocumentReader): CellReader {
  return (into, bytes, start, end) => {
    const value = valueAt(documents.read(bytes, start, end), path);
    if (!isLeaf(value, path.length)) return 'null';
    const text = textBytes(value);
    into.pushBytes(text, 0, text.length);
    return 'appended';
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

function textBytes(value: JsonValue): Buffer {
  const text = value !== null && typeof value === 'object' ? jsonbText(value) : textOf(value);
  return Buffer.from(text);
}
