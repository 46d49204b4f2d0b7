import { ChangeCursor, type ChangeSchema } from '../../../schemas/envelope/change-decoder.ts';
import { schemaIdAt } from '../../../schemas/envelope/record-view.ts';
import type { FileColumn } from './file-columns.ts';
import { FieldFinder, type FoundField } from './json-fields.ts';
import type { RecordChunk } from './spool-builder.ts';

/** Looks through the JSON columns of records. */
export class FieldSearch {
  private readonly finder: FieldFinder;
  private readonly schemas: ReadonlyMap<number, ChangeSchema>;
  private readonly documents = new Map<
    number,
    { readonly cell: number; readonly name: string }[]
  >();
  private readonly change = new ChangeCursor();

  constructor(columns: readonly FileColumn[], schemas: ReadonlyMap<number, ChangeSchema>) {
    this.finder = new FieldFinder(columns);
    this.schemas = schemas;
  }

  get found(): readonly FoundField[] {
    return this.finder.found;
  }

  chunk({ bytes, ends }: RecordChunk): void {
    const buffer = Buffer.from(bytes);
    let start = 0;
    for (const end of ends) {
      this.value(buffer, start, end);
      start = end;
    }
  }

  /** `start` to `end`: a record's value. One with a schema that is not known is left to its reader. */
  value(bytes: Buffer, start: number, end: number): void {
    const schema = this.schemas.get(schemaIdAt(bytes, start, end));
    if (schema === undefined) return;
    const documents = this.documentsOf(schema);
    if (documents.length === 0) return;
    const { change } = this;
    change.decode(schema, bytes, start, end);
    if (!change.isRow) return;
    const spans = change.hasAfter ? change.after : change.before;
    for (const { cell, name } of documents) {
      const from = spans[cell * 2] as number;
      if (from < 0) continue;
      this.finder.look(name, bytes, from, spans[cell * 2 + 1] as number);
    }
  }

  private documentsOf(schema: ChangeSchema) {
    let documents = this.documents.get(schema.id);
    if (documents === undefined) {
      documents = schema.columns.flatMap(({ name, type }, cell) =>
        type.kind === 'json' ? [{ cell, name }] : [],
      );
      this.documents.set(schema.id, documents);
    }
    return documents;
  }
}

/** Whether a search can find anything in records of these schemas. */
export function hasDocuments(schemas: Iterable<ChangeSchema>): boolean {
  for (const { columns } of schemas) {
    if (columns.some(({ type }) => type.kind === 'json')) return true;
  }
  return false;
}
