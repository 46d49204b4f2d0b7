import {
  CELL_UNCHANGED,
  type ChangeCursor,
  type ChangeSchema,
} from '../../../schemas/envelope/change-decoder.ts';
import { instantText } from '../../../schemas/values/time-text.ts';
import { columnName } from './identifiers.ts';
import { jsonCell, type JsonCell } from './json-cell.ts';

/** Where a row's cells are: most in the event, those that were fetched elsewhere. */
export interface RowImage {
  readonly schema: ChangeSchema;
  readonly bytes: Buffer;
  /** [start, end) per column, as ChangeCursor has them. */
  readonly spans: Int32Array;
  /** Cells that the event does not hold itself. */
  readonly patches: Map<number, Buffer | null> | null;
}

/** The position and time of an event. */
export type EventOrigin = Pick<ChangeCursor, 'lsn' | 'tsUs'>;

interface JsonField {
  readonly name: string;
  readonly prefix: string;
  readonly cell: JsonCell;
}

const FIELDS = new WeakMap<ChangeSchema, readonly JsonField[]>();

/** How a schema's cells are written as JSON; made once per schema. */
export function jsonFields(schema: ChangeSchema): readonly JsonField[] {
  let fields = FIELDS.get(schema);
  if (fields === undefined) {
    fields = schema.columns.map(({ name, type }) => ({
      name,
      prefix: `${JSON.stringify(columnName(name))}:`,
      cell: jsonCell(type),
    }));
    FIELDS.set(schema, fields);
  }
  return fields;
}

/** JSON text of one cell; undefined where the source did not send it. */
export function cellJson(image: RowImage, cell: number): string | undefined {
  const { cell: write } = jsonFields(image.schema)[cell] as JsonField;
  const patch = image.patches?.get(cell);
  if (patch === null) return 'null';
  if (patch !== undefined) return write(patch, 0, patch.length);
  const start = image.spans[cell * 2] as number;
  if (start === CELL_UNCHANGED) return undefined;
  return start < 0 ? 'null' : write(image.bytes, start, image.spans[cell * 2 + 1] as number);
}

/**
 * An event as Airbyte's CDC sources emit it: the columns and `_ab_cdc_lsn`, `_ab_cdc_updated_at`,
 * `_ab_cdc_deleted_at`. A column that the source did not send is left out and named in
 * `_headrace_unchanged`: null would say that it is empty.
 */
export function eventJson(image: RowImage, { lsn, tsUs }: EventOrigin, deleted: boolean): string {
  const parts: string[] = [];
  const unchanged: string[] = [];
  jsonFields(image.schema).forEach(({ name, prefix }, cell) => {
    const json = cellJson(image, cell);
    if (json === undefined) unchanged.push(name);
    else parts.push(prefix + json);
  });
  const at = tsUs === 0 ? 'null' : `"${instantText(tsUs)}"`;
  parts.push(`"_ab_cdc_lsn":${lsn}`, `"_ab_cdc_updated_at":${at}`);
  parts.push(`"_ab_cdc_deleted_at":${deleted ? at : 'null'}`);
  if (unchanged.length > 0) parts.push(`"_headrace_unchanged":${JSON.stringify(unchanged)}`);
  return `{${parts.join(',')}}`;
}
