import { OP_CREATE, OP_DELETE, OP_UPDATE } from '../../../schemas/envelope/change-decoder.ts';
import * as binlog from './binlog-events.ts';
import type { RowOperation } from './row-events.ts';

/** How rows are told by one type of event. */
export interface RowFormat {
  readonly op: RowOperation;
  /** Since version 2 an event has room for more at its head. */
  readonly extra: boolean;
  readonly compressed: boolean;
  readonly partialJson: boolean;
}

const OPERATIONS: readonly RowOperation[] = [OP_CREATE, OP_UPDATE, OP_DELETE];

function three(first: number, extra: boolean, compressed: boolean): [number, RowFormat][] {
  return OPERATIONS.map((op, index) => [
    first + index,
    { op, extra, compressed, partialJson: false },
  ]);
}

const FORMATS = new Map<number, RowFormat>([
  ...three(binlog.WRITE_ROWS_V1, false, false),
  ...three(binlog.WRITE_ROWS, true, false),
  ...three(binlog.WRITE_ROWS_COMPRESSED_V1, false, true),
  ...three(binlog.WRITE_ROWS_COMPRESSED, true, true),
  [
    binlog.PARTIAL_UPDATE_ROWS,
    { op: OP_UPDATE, extra: true, compressed: false, partialJson: true },
  ],
]);

/** Undefined for an event that tells no rows. */
export const rowFormatOf = (type: number): RowFormat | undefined => FORMATS.get(type);
