import { PipelineError } from '../../../core/errors/pipeline-error.ts';
import {
  ChangeCursor,
  OP_CREATE,
  type ChangeSchema,
} from '../../../schemas/envelope/change-decoder.ts';
import { schemaIdAt } from '../../../schemas/envelope/record-view.ts';
import { CHANGE_COLUMNS, type FileColumn } from './file-columns.ts';
import type { KeyChange } from './key-changes.ts';
import type { FileValue } from './file-values.ts';
import { cellValue, initialValues, projectionOf, type Projection } from './projection.ts';
import { RowGroup } from './row-group.ts';
import type { RowIds } from './row-ids.ts';

/** Values of a row by file column. */
export interface Carried {
  /** undefined where no change of the key has the cell. */
  readonly values: readonly (FileValue | undefined)[];
  /** Texts of values that no column can hold, by file column's name. */
  readonly texts: Readonly<Record<string, string>>;
  /** Nothing before these changes can have the cell: they begin with the whole row, or its delete. */
  readonly isAll: boolean;
}

const NOTHING: Carried = { values: [], texts: {}, isAll: false };
const GONE: Carried = { values: [], texts: {}, isAll: true };
export const TEXTS = CHANGE_COLUMNS.findIndex(({ name }) => name === '_headrace_unrepresentable');
const NAMES = CHANGE_COLUMNS.findIndex(({ name }) => name === '_headrace_unchanged');

/** Turns changes into rows of values, and fills cells that a source did not send with those the row
 * had before. */
export class RowValues {
  readonly columns: readonly FileColumn[];
  private readonly ids: RowIds;
  private readonly schemas: ReadonlyMap<number, ChangeSchema>;
  private readonly projections = new Map<number, Projection>();
  private readonly absent: readonly FileValue[];
  private readonly change = new ChangeCursor();

  constructor(
    columns: readonly FileColumn[],
    ids: RowIds,
    schemas: ReadonlyMap<number, ChangeSchema>,
  ) {
    this.columns = columns;
    this.ids = ids;
    this.schemas = schemas;
    this.absent = initialValues(columns);
  }

  projection(id: number): Projection {
    let projection = this.projections.get(id);
    if (projection === undefined) {
      const schema = this.schemas.get(id);
      if (schema === undefined) {
        throw new PipelineError('EVT_UNDECODABLE', `a record names the unknown schema ${id}`);
      }
      projection = projectionOf(schema, this.columns);
      this.projections.set(id, projection);
    }
    return projection;
  }

  /** What rows of before have in a column that is new to their file. */
  initial(column: number): FileValue {
    return this.absent[column] ?? null;
  }

  /** For rows of this kind. */
  newGroup(): RowGroup {
    return new RowGroup(this.columns, this.ids, this.absent);
  }

  /** Adds the row that a change leaves. Cells that it lacks come from changes before it, else from
   * `base`, the row as it was published. */
  add(group: RowGroup, { value, offset, carried }: KeyChange, base: Carried | null): void {
    const bytes = value as Buffer;
    const projection = this.projection(schemaIdAt(bytes, 0, bytes.length));
    this.change.decode(projection.schema, bytes, 0, bytes.length);
    group.add(this.change, projection, bytes, offset);
    if (group.unchanged.length === 0 || this.change.op === OP_CREATE) return;
    const texts: Record<string, string> = {};
    for (const index of group.unchanged) {
      const cell = this.before(projection, bytes, index);
      const from = has(carried, index) ? carried : carried?.isAll === true ? null : base;
      if (cell === undefined && !has(from, index)) throw incomplete(this.columns[index]);
      group.replaceLast(index, cell ?? (from?.values[index] as FileValue));
      const { name } = this.columns[index] as FileColumn;
      const text = cell === undefined ? from?.texts[name] : undefined;
      if (text !== undefined) texts[name] = text;
    }
    group.replaceLast(this.columns.length + NAMES, null);
    group.addTexts(this.columns.length + TEXTS, texts);
  }

  /** A full image before the change has what the image after it lacks. */
  private before(projection: Projection, bytes: Buffer, index: number): FileValue | undefined {
    const { hasBefore, before } = this.change;
    const cell = projection.cells[index] as number;
    const start = hasBefore ? (before[cell * 2] as number) : -1;
    if (start < 0) return undefined;
    return cellValue(projection, index, bytes, start, before[cell * 2 + 1] as number);
  }

  /** What a key's changes so far can give to the next one. */
  carriedFrom(change: KeyChange | undefined): Carried {
    if (change === undefined) return NOTHING;
    if (change.value === null) return GONE;
    const { value, offset, carried } = change;
    const projection = this.projection(schemaIdAt(value, 0, value.length));
    this.change.decode(projection.schema, value, 0, value.length);
    const row = this.newGroup();
    row.add(this.change, projection, value, offset);
    const values: (FileValue | undefined)[] = row.columns.map(([cell]) => cell);
    const texts = textsOf(values[this.columns.length + TEXTS]);
    if (carried === null) return { values, texts, isAll: true };
    for (const index of row.unchanged) {
      values[index] = this.before(projection, value, index) ?? carried.values[index];
      const { name } = this.columns[index] as FileColumn;
      const text = carried.texts[name];
      if (text !== undefined) texts[name] = text;
    }
    return { values, texts, isAll: carried.isAll };
  }
}

function has(from: Carried | null, index: number): boolean {
  return from !== null && from.values[index] !== undefined;
}

export function textsOf(cell: FileValue | undefined): Record<string, string> {
  if (!(cell instanceof Uint8Array)) return {};
  return JSON.parse(Buffer.from(cell).toString()) as Record<string, string>;
}

function incomplete(column: FileColumn | undefined): PipelineError {
  const name = column?.source ?? '';
  return new PipelineError(
    'DST_ROW_INCOMPLETE',
    `an update left out column ${name} of a row that the files do not have`,
    { details: { column: name } },
  );
}
