import { CHANGE_COLUMNS, type FileColumn } from './file-columns.ts';
import type { S3Settings } from './settings.ts';
import type { FileLayout } from './spool-builder.ts';

/** A row group of one row per key is in memory as values: bounded by cells too, for a wide table has
 * many in few bytes. Still large enough to compress well. */
const ROW_GROUP_CELLS = 400_000;
const MIN_ROW_GROUP_ROWS = 500;
const MAX_ROW_GROUP_ROWS = 20_000;
const ROW_GROUP_BYTES = 4 * 1024 * 1024;

/** How files with these columns are built. */
export function fileLayout(columns: readonly FileColumn[], settings: S3Settings): FileLayout {
  const { codec, pageBytes, partitionBy, rotateBytes } = settings;
  const rows = Math.floor(ROW_GROUP_CELLS / (columns.length + CHANGE_COLUMNS.length));
  return {
    columns,
    codec,
    pageBytes,
    partitionBy,
    rowGroupRows: Math.min(MAX_ROW_GROUP_ROWS, Math.max(MIN_ROW_GROUP_ROWS, rows)),
    rowGroupBytes: Math.min(ROW_GROUP_BYTES, rotateBytes),
  };
}
