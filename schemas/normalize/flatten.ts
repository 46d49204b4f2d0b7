import {
  hashId,
  isObject,
  JsonNumber,
  jsonbText,
  textOf,
  type JsonObject,
  type JsonValue,
} from './json-value.ts';
import type { Rules } from './rules.ts';

/** From the document to an array of objects: a path of fields for every array on the way. One field
 * path may lead to two tables, by an object in one document and by an array in another. */
export type TablePath = readonly (readonly string[])[];

/** Path of a field inside its row, or of a table inside the document, as a map's key. */
export type PathKey = string;

export function pathKey(path: readonly string[] | TablePath): PathKey {
  return JSON.stringify(path);
}

/** Types of columns that are made from what documents hold. */
export type FieldType = 'text' | 'numeric' | 'boolean' | 'jsonb' | 'bigint' | 'double precision';

export function fieldType(value: JsonValue, rules: Rules): FieldType {
  if (typeof value === 'string') return 'text';
  if (typeof value === 'boolean') return 'boolean';
  if (!(value instanceof JsonNumber)) return 'jsonb';
  return rules === 'classic' ? classicNumber(value.text) : 'numeric';
}

const MAX_BIGINT = 2n ** 63n - 1n;

/** A whole number that bigint cannot hold is Airbyte's `big_integer`. */
function classicNumber(text: string): FieldType {
  if (text.includes('.')) return 'double precision';
  if (text.length < 19) return 'bigint';
  const number = BigInt(text);
  return number <= MAX_BIGINT && number >= -MAX_BIGINT - 1n ? 'bigint' : 'numeric';
}

/** A row's fields: never null, an object or empty; an array only where it gives no rows. */
export type FlatFields = Map<PathKey, { readonly path: readonly string[]; value: JsonValue }>;

/** One element of an array of objects; by the classic rules an object, too. */
export interface ChildRow {
  /** Path from the document to the array or object: the row's table. */
  readonly table: TablePath;
  /** Path of the table whose row the array is in; empty for the document's own. */
  readonly parentTable: TablePath;
  readonly parentHash: string;
  readonly hash: string;
  /** Index in the array; null for an object. */
  readonly position: number | null;
  readonly fields: FlatFields;
}

export interface FlatDocument {
  readonly fields: FlatFields;
  readonly children: readonly ChildRow[];
}

/** Objects below are kept as jsonb: names and tables would have no end. */
const MAX_DEPTH = 100;

/**
 * Takes a document apart. By the basic rules objects become fields of their row, joined by path; an
 * array of objects becomes rows of a child table; other arrays stay whole. Null, an empty object and
 * an empty array leave nothing: a row does not tell them from a missing field. By the classic rules
 * an object is a row of a child table too, and all values but null are fields as they are. Fields
 * that begin with `_airbyte_` are skipped.
 *
 * Rows are told apart by their hash ids: equal elements of one array share theirs, and what is nested
 * in them is there once; different ones whose classic hash is alike get different ones.
 */
export function flattenDocument(
  members: JsonObject,
  hash: string,
  rules: Rules = 'basic',
): FlatDocument {
  const flattener = new Flattener(rules);
  const fields: FlatFields = new Map();
  flattener.members(members, { table: [], hash, fields }, []);
  return { fields, children: flattener.children };
}

interface Row {
  readonly table: TablePath;
  readonly hash: string;
  readonly fields: FlatFields;
}

class Flattener {
  readonly children: ChildRow[] = [];
  private readonly rules: Rules;
  /** Who has a hash: `table hash` to the element's parent and text. */
  private readonly owners = new Map<string, string>();

  constructor(rules: Rules) {
    this.rules = rules;
  }

  members(members: JsonObject, row: Row, path: readonly string[]): void {
    for (const [name, value] of members) {
      if (name.startsWith('_airbyte_')) continue;
      if (this.rules === 'basic') this.basicField(value, row, [...path, name]);
      else this.classicField(value, row, [name]);
    }
  }

  private basicField(value: JsonValue, row: Row, path: readonly string[]): void {
    if (value === null) return;
    const isDeep = typeof value === 'object' && isTooDeep(row, path);
    if (isObject(value) && !isDeep) {
      this.members(value, row, path);
      return;
    }
    if (Array.isArray(value) && value.length === 0) return;
    if (isArrayOfRows(value) && !isDeep) this.elements(value, row, path);
    else row.fields.set(pathKey(path), { path, value });
  }

  private classicField(value: JsonValue, row: Row, path: readonly string[]): void {
    if (value === null) return;
    row.fields.set(pathKey(path), { path, value });
    if (isTooDeep(row, path)) return;
    if (isArrayOfRows(value)) this.elements(value, row, path);
    else if (isObject(value) && value.size > 0) this.element(value, row, path, null);
  }

  private elements(items: readonly (JsonObject | null)[], row: Row, path: readonly string[]): void {
    items.forEach((item, position) => {
      if (item !== null) this.element(item, row, path, position);
    });
  }

  private element(
    element: JsonObject,
    parent: Row,
    path: readonly string[],
    position: number | null,
  ): void {
    const table = [...parent.table, path];
    const { hash, isNew } = this.identify(element, parent, table);
    const fields: FlatFields = new Map();
    const { table: parentTable, hash: parentHash } = parent;
    const child = { table, parentTable, parentHash, hash, position, fields };
    this.children.push(child);
    const { length } = this.children;
    this.members(element, child, []);
    // The rows nested in an equal element are there already, under the same hash.
    if (!isNew) this.children.length = length;
  }

  private identify(element: JsonObject, parent: Row, table: TablePath) {
    const texts = [parent.hash];
    for (const [name, value] of element) {
      if (!name.startsWith('_airbyte_')) texts.push(textOf(value));
    }
    const owner = `${parent.hash} ${jsonbText(element)}`;
    for (let hash = hashId(texts); ; hash = hashId([hash, owner])) {
      const key = `${pathKey(table)} ${hash}`;
      const known = this.owners.get(key);
      if (known === owner) return { hash, isNew: false };
      if (known === undefined) {
        this.owners.set(key, owner);
        return { hash, isNew: true };
      }
    }
  }
}

function isTooDeep({ table }: Row, path: readonly string[]): boolean {
  return table.flat().length + path.length >= MAX_DEPTH;
}

/** An array of objects, nulls among them. */
function isArrayOfRows(value: JsonValue): value is (JsonObject | null)[] {
  if (!Array.isArray(value)) return false;
  const rows = (value as readonly JsonValue[]).filter((item) => item !== null);
  return rows.length > 0 && rows.every(isObject);
}
