import {
  CELL_NULL,
  CELL_UNCHANGED,
  OP_DELETE,
  type ChangeCursor,
  type ChangeSchema,
} from '../../../schemas/envelope/change-decoder.ts';
import { cellReader, cellText, joinHalves, type CellReader } from './cell-readers.ts';
import { CHANGE_COLUMNS, type FileColumn } from './file-columns.ts';
import type { FileValue } from './parquet-file.ts';

/** How the cells of one schema fill the columns of a file: `cells[i]` is the place of file column i
 * in the schema's rows, -1 when the schema does not have it. */
export interface Projection {
  readonly schema: ChangeSchema;
  readonly cells: Int32Array;
  readonly readers: readonly CellReader[];
}

export function projectionOf(schema: ChangeSchema, columns: readonly FileColumn[]): Projection {
  const indexBySource = new Map(schema.columns.map(({ name }, index) => [name, index]));
  const cells = Int32Array.from(columns, ({ source }) => indexBySource.get(source) ?? -1);
  const readers = columns.map((column, index) => {
    const type = schema.columns[cells[index] as number]?.type;
    return type === undefined ? nothing : cellReader(type, column);
  });
  return { schema, cells, readers };
}

const nothing: CellReader = () => null;

/** The rows of one row group, as columns. */
export class RowGroup {
  readonly columns: FileValue[][];
  rows = 0;
  private readonly names: readonly FileColumn[];
  private readonly ids: RowIds;

  constructor(columns: readonly FileColumn[], ids: RowIds) {
    this.names = columns;
    this.ids = ids;
    this.columns = Array.from({ length: columns.length + CHANGE_COLUMNS.length }, () => []);
  }

  add(change: ChangeCursor, projection: Projection, bytes: Buffer, offset: number): void {
    const { cells, readers, schema } = projection;
    const spans = change.hasAfter ? change.after : change.before;
    let unchanged: string[] | null = null;
    let unrepresentable: Record<string, string> | null = null;
    for (let i = 0; i < readers.length; i++) {
      const column = this.columns[i] as FileValue[];
      const cell = cells[i] as number;
      const start = cell === -1 ? CELL_NULL : (spans[cell * 2] as number);
      if (start < 0) {
        column.push(null);
        if (start === CELL_UNCHANGED) (unchanged ??= []).push(this.nameOf(i));
        continue;
      }
      const end = spans[cell * 2 + 1] as number;
      const value = (readers[i] as CellReader)(bytes, start, end);
      if (value !== undefined) {
        column.push(value);
        continue;
      }
      column.push(null);
      const type = schema.columns[cell]?.type;
      if (type === undefined) continue;
      (unrepresentable ??= {})[this.nameOf(i)] = cellText(type, bytes, start, end);
    }
    this.addChange(change, offset, unchanged, unrepresentable);
    this.rows++;
  }

  private nameOf(index: number): string {
    return (this.names[index] as FileColumn).name;
  }

  /** The columns of CHANGE_COLUMNS, in its order. */
  private addChange(
    change: ChangeCursor,
    offset: number,
    unchanged: string[] | null,
    unrepresentable: Record<string, string> | null,
  ): void {
    const at = BigInt(change.tsUs);
    const values = [
      this.ids.of(offset),
      BigInt(Math.floor(change.tsUs / 1000)),
      joinHalves(change.lsnHigh, change.lsnLow),
      at,
      change.op === OP_DELETE ? at : null,
      BigInt(change.epoch),
      BigInt(change.seq),
      unchanged === null ? null : Buffer.from(JSON.stringify(unchanged)),
      unrepresentable === null ? null : Buffer.from(JSON.stringify(unrepresentable)),
    ];
    const first = this.columns.length - values.length;
    for (let i = 0; i < values.length; i++) {
      (this.columns[first + i] as FileValue[]).push(values[i] as FileValue);
    }
  }
}

const HEX = '0123456789abcdef';
/** The last twelve hexadecimal digits of the id: offsets up to 2^48. */
const OFFSET_DIGITS = 12;

/** `_airbyte_ab_id`: a UUID that is a function of topic, partition and offset, so that a row has the
 * same id however often it is built. Version 8, our own layout: hash of the partition, then offset. */
export class RowIds {
  private readonly template: Uint8Array;

  /** `hash`: at least 20 hexadecimal digits that name topic and partition. */
  constructor(hash: string) {
    const zeros = '0'.repeat(OFFSET_DIGITS);
    this.template = Buffer.from(
      `${hash.slice(0, 8)}-${hash.slice(8, 12)}-8${hash.slice(13, 16)}-8${hash.slice(17, 20)}-${zeros}`,
    );
  }

  of(offset: number): Uint8Array {
    const id = new Uint8Array(this.template);
    let rest = offset;
    for (let i = id.length - 1; rest > 0; i--) {
      id[i] = HEX.charCodeAt(rest % 16);
      rest = Math.floor(rest / 16);
    }
    return id;
  }
}
