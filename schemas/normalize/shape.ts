import {
  fieldType,
  pathKey,
  type FieldType,
  type FlatDocument,
  type FlatFields,
  type TablePath,
} from './flatten.ts';
import {
  columnNameOf,
  freeName,
  hashedTableName,
  keptName,
  nestedTableName,
  standardName,
} from './names.ts';
import type { Rules } from './rules.ts';

/** A column made from documents, or of the source itself (a path of one). */
export interface FieldShape {
  readonly path: readonly string[];
  readonly column: string;
  /** Spelt as Postgres does. */
  readonly type: string;
}

export interface TableShape {
  /** Of the array inside the document; empty for the stream's own table. */
  readonly path: TablePath;
  readonly name: string;
  readonly hashColumn: string;
  /** Null for the stream's own table. */
  readonly parentHashColumn: string | null;
  readonly fields: readonly FieldShape[];
  /** By which the tables were made, at the stream's own table; absent where they are basic. */
  readonly rules?: Rules;
}

/** The tables of one stream, its own first. It only grows, so that names stay once they are given. */
export type Shape = readonly TableShape[];

export function rulesOf([flat]: Shape): Rules {
  return flat?.rules ?? 'basic';
}

/** What documents need: tables by path, fields by path, in the order they were met. */
export class Observed {
  readonly tables = new Map<string, ObservedTable>();
  private readonly rules: Rules;

  constructor(rules: Rules) {
    this.rules = rules;
  }

  /** A column of the source, of a type that it tells. */
  column(name: string, type: string): void {
    this.table([], []).fields.set(pathKey([name]), { path: [name], type, isDeclared: true });
  }

  document({ fields, children }: FlatDocument): void {
    const own = this.table([], []);
    // By the classic rules a document of the row itself stays whole in its declared column.
    if (this.rules === 'basic') this.add(own, fields);
    for (const { table, parentTable, fields } of children) {
      this.add(this.table(table, parentTable), fields);
    }
  }

  /** Adds what another has observed. */
  merge(other: Observed): void {
    for (const { path, parent, fields } of other.tables.values()) {
      const table = this.table(path, parent);
      for (const field of fields.values()) this.join(table, field);
    }
  }

  private table(path: TablePath, parent: TablePath): ObservedTable {
    const key = pathKey(path);
    let table = this.tables.get(key);
    if (table === undefined) this.tables.set(key, (table = { path, parent, fields: new Map() }));
    return table;
  }

  private add(table: ObservedTable, found: FlatFields): void {
    for (const { path, value } of found.values()) {
      this.join(table, { path, type: fieldType(value, this.rules), isDeclared: false });
    }
  }

  private join({ fields }: ObservedTable, field: ObservedField): void {
    const key = pathKey(field.path);
    const known = fields.get(key);
    if (known === undefined) fields.set(key, field);
    else if (!known.isDeclared && known.type !== field.type) {
      fields.set(key, { ...field, type: joinedType(known.type, field.type) });
    }
  }
}

interface ObservedTable {
  readonly path: TablePath;
  readonly parent: TablePath;
  readonly fields: Map<string, ObservedField>;
}

interface ObservedField {
  readonly path: readonly string[];
  readonly type: string;
  /** By the source; the column is brought there by the rules for typed tables. */
  readonly isDeclared: boolean;
}

export interface Naming {
  readonly schema: string;
  readonly stream: string;
  readonly rules: Rules;
  /** Lower-case names that no field may take. */
  readonly reserved: ReadonlySet<string>;
  /** Whether somebody else's table has the name. */
  isTaken(table: string): boolean;
}

/** `shape` with room for what was observed; the same object when it has it already. A field that was
 * met with several types is text. */
export function extended(shape: Shape, observed: Observed, naming: Naming): Shape {
  const tables = new Map(shape.map((table) => [pathKey(table.path), table]));
  let grown = false;
  for (const [key, found] of observed.tables) {
    const known = tables.get(key) ?? newTable(tables, found, naming);
    const table = withFields(known, found.fields, naming);
    if (table === tables.get(key)) continue;
    tables.set(key, table);
    grown = true;
  }
  return grown ? [...tables.values()] : shape;
}

function newTable(
  tables: ReadonlyMap<string, TableShape>,
  { path, parent }: ObservedTable,
  naming: Naming,
): TableShape {
  const { stream, rules } = naming;
  const plain = standardName(path[path.length - 1]?.join('_') ?? stream);
  const parentHashColumn =
    path.length === 0 ? null : (tables.get(pathKey(parent)) as TableShape).hashColumn;
  const hashColumn = `_airbyte_${plain}_hashid`;
  return {
    path,
    name: path.length === 0 ? streamTableName(stream, rules) : childName(tables, path, naming),
    // A child with its parent's name would have one column twice.
    hashColumn:
      hashColumn === parentHashColumn ? `_airbyte_${plain}_${path.length + 1}_hashid` : hashColumn,
    parentHashColumn,
    fields: [],
    ...(path.length > 0 || rules === 'basic' ? {} : { rules }),
  };
}

/** The table of a stream's own rows. */
export function streamTableName(stream: string, rules: Rules): string {
  return rules === 'v2' ? keptName(stream) : standardName(stream);
}

function childName(
  tables: ReadonlyMap<string, TableShape>,
  path: TablePath,
  naming: Naming,
): string {
  const names = new Set([...tables.values()].map(({ name }) => name));
  const isTaken = (name: string) => names.has(name) || naming.isTaken(name);
  const whole = [naming.stream, ...path.flat()];
  const plain = nestedTableName(whole);
  if (!isTaken(plain)) return plain;
  return freeName(hashedTableName(naming.schema, whole), isTaken);
}

function withFields(
  table: TableShape,
  observed: ReadonlyMap<string, ObservedField>,
  { reserved, rules }: Naming,
): TableShape {
  const fields = new Map(table.fields.map((field) => [pathKey(field.path), field]));
  const taken = new Set(table.fields.map(({ column }) => column.toLowerCase()));
  taken.add(table.hashColumn);
  if (table.parentHashColumn !== null) taken.add(table.parentHashColumn);
  let changed = !(table.fields.length > 0 || observed.size === 0);
  for (const [key, { path, type, isDeclared }] of observed) {
    const known = fields.get(key);
    if (known === undefined) {
      const plain = rules === 'v2' ? keptName(path.join('_')) : columnNameOf(path);
      const column = freeName(plain, (name) => taken.has(name) || reserved.has(name));
      taken.add(column.toLowerCase());
      fields.set(key, { path, column, type });
      changed = true;
    } else if (known.type !== type) {
      const wide = isDeclared ? type : joined(known.type, type);
      if (wide === known.type) continue;
      fields.set(key, { ...known, type: wide });
      changed = true;
    }
  }
  return changed ? { ...table, fields: [...fields.values()] } : table;
}

const FIELD_TYPES: ReadonlySet<string> = new Set<FieldType>([
  'text',
  'numeric',
  'boolean',
  'jsonb',
  'bigint',
  'double precision',
]);

/** A column of the source's own type, which became JSON there, is left to the caller. */
function joined(known: string, found: string): string {
  return FIELD_TYPES.has(known) ? joinedType(known, found) : found;
}

/** Each holds what the ones before it hold, to its own precision. */
const NUMBER_TYPES = ['bigint', 'numeric', 'double precision'];

/** The type of a field that was met with two. */
export function joinedType(a: string, b: string): string {
  if (a === b) return a;
  const [i, j] = [NUMBER_TYPES.indexOf(a), NUMBER_TYPES.indexOf(b)];
  return i === -1 || j === -1 ? 'text' : (NUMBER_TYPES[Math.max(i, j)] as string);
}
