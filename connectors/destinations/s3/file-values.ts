import type { ColumnBuffer } from './column-buffer.ts';
import type { FileForm } from './file-columns.ts';

/**
 * A cell on its own, where rows are compared and copied: INT64 forms and decimals (unscaled) are
 * bigint, DOUBLE and DATE number, text and bytes Uint8Array (text as UTF-8).
 */
export type FileValue = bigint | number | boolean | Uint8Array | null;

/** Where the cells of a row group come from. */
export interface RowGroupCells {
  readonly rows: number;
  /** Fills a buffer, which has been emptied, with file column `column`. Columns are asked for once each,
   * in the file's order. */
  fill(column: number, into: ColumnBuffer): void;
}

/** Cells that are values already, column by column. */
export function cellsOf(
  columns: readonly (readonly FileValue[])[],
  forms: readonly { readonly form: FileForm }[],
): RowGroupCells {
  return {
    rows: columns[0]?.length ?? 0,
    fill(index, into) {
      const { form } = forms[index] as { form: FileForm };
      columns[index]?.forEach((value, row) => {
        into.levels[row] = value === null ? 0 : 1;
        if (value !== null) append(form, into, value);
      });
    },
  };
}

function append(form: FileForm, into: ColumnBuffer, value: NonNullable<FileValue>): void {
  switch (form) {
    case 'boolean':
      into.pushFlag(value as boolean);
      return;
    case 'date':
      into.pushInt32(value as number);
      return;
    case 'double':
      into.pushDouble(value as number);
      return;
    case 'decimal':
      into.pushDecimal(value as bigint);
      return;
    case 'text':
    case 'bytes': {
      const { buffer, byteOffset, length } = value as Uint8Array<ArrayBuffer>;
      into.pushBytes(Buffer.from(buffer, byteOffset, length), 0, length);
      return;
    }
    default:
      into.pushLong(value as bigint);
  }
}

/** Value `index` of those that are not null; it shares nothing with the buffer. */
export function valueAt(form: FileForm, from: ColumnBuffer, index: number): NonNullable<FileValue> {
  switch (form) {
    case 'boolean':
      return from.bytes[index] === 1;
    case 'date':
      return from.words[index] as number;
    case 'double':
      return from.doubles[index] as number;
    case 'decimal':
      return (from.view.getBigInt64(index * 16) << 64n) | from.view.getBigUint64(index * 16 + 8);
    case 'text':
    case 'bytes':
      return from.bytes.slice(from.startOf(index), from.plainEnd(index + 1));
    default:
      return from.longs[index] as bigint;
  }
}
