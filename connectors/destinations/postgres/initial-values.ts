import type { ChangeSchema } from '../../../schemas/envelope/change-decoder.ts';
import type { Column, InitialValue } from '../../../schemas/envelope/stream-schema.ts';
import { flattenDocument, pathKey, type FlatDocument } from '../../../schemas/normalize/flatten.ts';
import {
  jsonbText,
  parseJson,
  textOf,
  type JsonValue,
} from '../../../schemas/normalize/json-value.ts';
import type { Rules } from '../../../schemas/normalize/rules.ts';
import { arrayAsJson } from '../../../schemas/values/array-literal.ts';
import { isDocument } from './airbyte-types.ts';
import type { ColumnInitial } from './table-layout.ts';

/**
 * What normalized rows of the time before a column have in it, of all schemas seen: an older schema
 * does not know what a newer one told.
 */
export class InitialValues {
  private readonly rules: Rules;
  private readonly columns = new Map<string, ColumnInitial>();
  private readonly documents = new Map<string, JsonValue>();

  constructor(rules: Rules) {
    this.rules = rules;
  }

  learn(schemas: readonly ChangeSchema[]): void {
    for (const { columns } of schemas) {
      for (const { name, type, initial } of columns) {
        if (initial === undefined) continue;
        const text = this.textOf(initial, type);
        if (isDocument(type, this.rules)) this.documents.set(name, parseJson(text));
        else this.columns.set(pathKey([name]), { ...initial, ...type, text });
      }
    }
  }

  /** Of the column of a field that the source declares. */
  ofColumn(path: readonly string[]): ColumnInitial | undefined {
    return this.columns.get(pathKey(path));
  }

  /** Of a column that holds documents. */
  ofDocument(name: string): JsonValue | undefined {
    return this.documents.get(name);
  }

  /** Of any field: as the default of its column. */
  ofField(path: readonly string[]): Pick<InitialValue, 'text'> | undefined {
    const column = this.ofColumn(path);
    if (column !== undefined) return column;
    const found = this.flat(path[0] as string)?.fields.get(pathKey(path));
    if (found === undefined) return undefined;
    // A document that is taken apart has texts; one that stays whole is jsonb.
    return { text: this.rules === 'basic' ? textOf(found.value) : jsonbText(found.value) };
  }

  /** The documents that rows of the time before `columns` have beside those of the row itself. */
  absent(columns: readonly Column[]): [string, JsonValue][] {
    const known = new Set(columns.map(({ name }) => name));
    return [...this.documents].filter(([name]) => !known.has(name));
  }

  /** The initial document of a column, taken apart. */
  flat(name: string): FlatDocument | undefined {
    const value = this.documents.get(name);
    if (value === undefined) return undefined;
    return flattenDocument(new Map([[name, value]]), '', this.rules);
  }

  /** As the target prints it: arrays are JSON by Airbyte's own rules, and binary is base64 in v2. */
  private textOf({ text, avro }: InitialValue, { kind, native }: Column['type']): string {
    if (this.rules === 'basic') return text;
    if (kind === 'array') return arrayAsJson(text, native?.replace(/(\[\])+$/, ''));
    if (kind !== 'bytes' || this.rules !== 'v2') return text;
    return cellOf(avro).toString('base64');
  }
}

/** The bytes of a cell behind their length. */
function cellOf(avro: string): Buffer {
  const bytes = Buffer.from(avro, 'base64');
  return bytes.subarray(bytes.findIndex((byte) => (byte & 0x80) === 0) + 1);
}
