import {
  hashId,
  isObject,
  JsonNumber,
  jsonbText,
  textOf,
  type JsonObject,
  type JsonValue,
} from './json-value.ts';

/** From the document to an array of objects: a path of fields for every array on the way. One field
 * path may lead to two tables, by an object in one document and by an array in another. */
export type TablePath = readonly (readonly string[])[];

/** Path of a field inside its row, or of a table inside the document, as a map's key. */
export type PathKey = string;

export function pathKey(path: readonly string[] | TablePath): PathKey {
  return JSON.stringify(path);
}

/** Types of columns that are made from what documents hold. */
export type FieldType = 'text' | 'numeric' | 'boolean' | 'jsonb';

export function fieldType(value: JsonValue): FieldType {
  if (typeof value === 'string') return 'text';
  if (typeof value === 'boolean') return 'boolean';
  return value instanceof JsonNumber ? 'numeric' : 'jsonb';
}

/** A row's fields: never null, an object or empty; an array only where it gives no rows. */
export type FlatFields = Map<PathKey, { readonly path: readonly string[]; value: JsonValue }>;

/** One element of an array of objects. */
export interface ChildRow {
  /** Path from the document to the array: the row's table. */
  readonly table: TablePath;
  /** Path of the table whose row the array is in; empty for the document's own. */
  readonly parentTable: TablePath;
  readonly parentHash: string;
  readonly hash: string;
  /** Index in the array. */
  readonly position: number;
  readonly fields: FlatFields;
}

export interface FlatDocument {
  readonly fields: FlatFields;
  readonly children: readonly ChildRow[];
}

/** Objects below are kept as jsonb: names and tables would have no end. */
const MAX_DEPTH = 100;

/**
 * Takes a document apart. Objects become fields of their row, joined by path; an array of objects
 * becomes rows of a child table; other arrays stay whole. Null, an empty object and an empty array
 * leave nothing: a row does not tell them from a missing field. Fields that begin with `_airbyte_`
 * are skipped.
 *
 * Rows are told apart by their hash ids: equal elements of one array share theirs, and what is nested
 * in them is there once; different ones whose classic hash is alike get different ones.
 */
export function flattenDocument(members: JsonObject, hash: string): FlatDocument {
  const flattener = new Flattener();
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
  /** Who has a hash: `table hash` to the element's parent and text. */
  private readonly owners = new Map<string, string>();

  members(members: JsonObject, row: Row, path: readonly string[]): void {
    for (const [name, value] of members) {
      if (!name.startsWith('_airbyte_')) this.field(value, row, [...path, name]);
    }
  }

  private field(value: JsonValue, row: Row, path: readonly string[]): void {
    if (value === null) return;
    const isDeep = typeof value === 'object' && row.table.flat().length + path.length >= MAX_DEPTH;
    if (isObject(value) && !isDeep) {
      this.members(value, row, path);
      return;
    }
    if (Array.isArray(value)) {
      const items = value as readonly JsonValue[];
      if (items.length === 0) return;
      const rows = items.filter((item) => item !== null);
      if (rows.length > 0 && rows.every(isObject) && !isDeep) {
        items.forEach((item, position) => {
          if (item !== null) this.element(item as JsonObject, row, path, position);
        });
        return;
      }
    }
    row.fields.set(pathKey(path), { path, value });
  }

  private element(
    element: JsonObject,
    parent: Row,
    path: readonly string[],
    position: number,
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
