import type { ChangeSchema } from '../../../schemas/envelope/change-decoder.ts';
import type { Column, InitialValue } from '../../../schemas/envelope/stream-schema.ts';
import { flattenDocument, pathKey, type FlatDocument } from '../../../schemas/normalize/flatten.ts';
import { parseJson, textOf, type JsonValue } from '../../../schemas/normalize/json-value.ts';
import type { ColumnInitial } from './table-layout.ts';

/**
 * What normalized rows of the time before a column have in it, of all schemas seen: an older schema
 * does not know what a newer one told.
 */
export class InitialValues {
  private readonly columns = new Map<string, ColumnInitial>();
  private readonly documents = new Map<string, JsonValue>();

  learn(schemas: readonly ChangeSchema[]): void {
    for (const { columns } of schemas) {
      for (const column of columns) {
        if (column.initial === undefined) continue;
        const { kind } = column.type;
        if (kind === 'json') this.documents.set(column.name, parseJson(column.initial.text));
        else this.columns.set(pathKey([column.name]), { ...column.initial, kind });
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
    return found === undefined ? undefined : { text: textOf(found.value) };
  }

  /** The documents that rows of the time before `columns` have beside those of the row itself. */
  absent(columns: readonly Column[]): [string, JsonValue][] {
    const known = new Set(columns.map(({ name }) => name));
    return [...this.documents].filter(([name]) => !known.has(name));
  }

  /** The initial document of a column, taken apart. */
  flat(name: string): FlatDocument | undefined {
    const value = this.documents.get(name);
    return value === undefined ? undefined : flattenDocument(new Map([[name, value]]), '');
  }
}
