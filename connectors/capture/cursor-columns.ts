import { PipelineError } from '../../core/errors/pipeline-error.ts';
import type { DiscoveredStream } from '../spi/source.ts';

/** What the values of a cursor are; null for a type whose values say nothing about what came later:
 * uuid, boolean, floats, ... */
export type CursorKind = 'whole' | 'numeric' | 'time' | 'text';

export interface CursorChoice {
  readonly cursors: string[];
  readonly defaultCursor?: string;
}

/** Columns that may be a cursor by their type, and the one to take when none is named: a time of the
 * last change, by its name. */
export function cursorChoice(
  columns: readonly { readonly name: string; readonly kind: CursorKind | null }[],
): CursorChoice {
  const times = columns.filter(({ kind }) => kind === 'time').map(({ name }) => name);
  const defaultCursor = USUAL_NAMES.find((name) => times.includes(name));
  return {
    cursors: columns.filter(({ kind }) => kind !== null).map(({ name }) => name),
    ...(defaultCursor === undefined ? {} : { defaultCursor }),
  };
}

const USUAL_NAMES = [
  'updated_at',
  'modified_at',
  'last_updated_at',
  'last_modified_at',
  'last_updated',
  'last_modified',
];

/** Null where an incremental read by the usual cursor, or by any column, finds an index. `create`:
 * the statement that makes one on a column. */
export function indexWarning(
  label: string,
  { cursors, defaultCursor }: CursorChoice,
  indexed: ReadonlySet<string>,
  create: (column: string) => string,
): string | null {
  if (defaultCursor === undefined) {
    if (cursors.length === 0 || cursors.some((name) => indexed.has(name))) return null;
    return `${label}: no column that could be a cursor has an index: every incremental read looks at every row`;
  }
  if (indexed.has(defaultCursor)) return null;
  return (
    `${label}: the cursor ${defaultCursor} has no index: every incremental read looks at every row; ` +
    `run: ${create(defaultCursor)}`
  );
}

/** What is discovered of a stream that jobs read. */
export function readByCursor(
  choice: CursorChoice,
  warning: string | null,
): Pick<DiscoveredStream, 'supportedSyncModes' | 'cursors' | 'defaultCursor' | 'warning'> {
  const isIncremental = choice.cursors.length > 0;
  return {
    supportedSyncModes: isIncremental ? ['full_refresh', 'incremental'] : ['full_refresh'],
    ...choice,
    ...(warning === null ? {} : { warning }),
  };
}

export function columnUnusable(label: string, column: string, why: string): PipelineError {
  return new PipelineError(
    'SRC_COLUMN_UNUSABLE',
    `table ${label}: column ${column} cannot be used: ${why}`,
    { details: { stream: label, column } },
  );
}

export function columnMissing(label: string, column: string): PipelineError {
  return columnUnusable(label, column, 'the table has no such column');
}
