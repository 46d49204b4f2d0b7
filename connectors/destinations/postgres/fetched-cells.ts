import type { Client } from 'pg';
import { pathKey } from '../../../schemas/normalize/flatten.ts';
import type { TableShape } from '../../../schemas/normalize/shape.ts';
import { jsonbText, parseJson } from '../../../schemas/normalize/json-value.ts';
import { arrayOfJson } from '../../../schemas/values/array-literal.ts';
import type { ColumnKind } from '../../../schemas/values/column-type.ts';
import type { BinaryWriter } from './binary-writer.ts';
import type { CompiledShape } from './compiled-shape.ts';
import { exchange } from './exchange.ts';
import { missingCells, type NormalizedEvent } from './normalized-events.ts';
import type { InitialValues } from './initial-values.ts';
import { writeKeyCells } from './normalized-batch.ts';
import { begin } from './sessions.ts';
import { readRowMeta, type FieldChange } from './row-meta.ts';
import { StagedRows } from './staged-rows.ts';
import { META_COLUMN } from './table-layout.ts';
import { fetchStatement, type FetchedFrom } from './table-statements.ts';

const LIMITS = { lockTimeoutMs: 5000, statementTimeoutMs: 60_000 };

interface WantedCell {
  readonly name: string;
  readonly source: FetchedFrom;
  readonly kind: ColumnKind;
}

/**
 * The cells that updates left out, from the rows they update. Read before the transaction that uses
 * them: whoever changed the rows in between has moved the offset that it compares.
 */
export class FetchedCells {
  private readonly compiled: CompiledShape;
  private readonly events: readonly NormalizedEvent[];
  private readonly wanted: readonly WantedCell[];
  private readonly hasMeta: boolean;
  private readonly rows = new Map<number, readonly (string | null)[]>();

  constructor(
    compiled: CompiledShape,
    events: readonly NormalizedEvent[],
    initials: InitialValues,
  ) {
    this.compiled = compiled;
    this.events = events;
    const wanted = new Map<string, WantedCell>();
    for (const { image } of events) {
      for (const cell of missingCells(image)) {
        const { name, type } = image.schema.columns[cell] as (typeof image.schema.columns)[number];
        const initial = initials.ofDocument(name);
        const absent = initial === undefined ? null : jsonbText(initial);
        // By the other rules a document is whole in its column.
        const isApart = compiled.names.rules === 'basic' && type.kind === 'json';
        const source = isApart ? { document: name, absent } : { column: this.columnOf(name) };
        wanted.set(name, { name, source, kind: type.kind });
      }
    }
    this.wanted = [...wanted.values()];
    this.hasMeta = compiled.flat.columns.some(({ name }) => name === META_COLUMN.name);
  }

  async read(client: Client): Promise<void> {
    const { flat, raw } = this.compiled;
    const keys = flat.keys.map((index) => flat.columns[index] as (typeof flat.columns)[number]);
    const staged = new StagedRows([...keys, { form: 'int4', cast: null }], this.events.length);
    this.events.forEach(({ slice, index }, i) => {
      staged.beginRow();
      const at = writeKeyCells(this.compiled, slice, index, staged);
      (staged.cells[at] as BinaryWriter).int4Cell(i);
    });
    const sources = this.wanted.map(({ source }) => source);
    if (this.hasMeta) sources.push({ column: META_COLUMN.name });
    const text = fetchStatement(flat, raw.layout, sources);
    const answers = await exchange(client, [
      ...begin(LIMITS),
      { text, values: staged.parameters() },
      { text: 'ROLLBACK' },
    ]);
    for (const [number, ...row] of answers[answers.length - 2]?.rows ?? []) {
      this.rows.set(Number(number), row);
    }
  }

  /** Bytes of a cell as an event would have them; undefined when no row has it. */
  cell(event: number, name: string): Buffer | null | undefined {
    const row = this.rows.get(event);
    const index = this.wanted.findIndex((cell) => cell.name === name);
    if (row === undefined || index === -1) return undefined;
    const { source, kind } = this.wanted[index] as WantedCell;
    const [hasRaw, ...texts] = row;
    if ('document' in source && hasRaw !== 't') return undefined;
    const text = texts[index];
    if (text === null || text === undefined) return null;
    const isJson = kind === 'array' && this.compiled.names.rules !== 'basic';
    if (isJson) return Buffer.from(arrayOfJson(parseJson(text)));
    return Buffer.from(text, kind === 'bytes' ? 'base64' : 'utf8');
  }

  /** What became of those of the fields in the row they are taken from. */
  changes(event: number, fields: readonly string[]): FieldChange[] {
    const text = this.hasMeta ? this.rows.get(event)?.[this.wanted.length + 1] : null;
    if (text === null || text === undefined) return [];
    return readRowMeta(text).filter(({ field }) => fields.includes(field));
  }

  private columnOf(name: string): string {
    const key = pathKey([name]);
    const { fields } = this.compiled.shape[0] as TableShape;
    return fields.find(({ path }) => pathKey(path) === key)?.column as string;
  }
}
