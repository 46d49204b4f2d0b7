import { ChangeCursor, OP_MESSAGE } from '../../../schemas/envelope/change-decoder.ts';
import type { Statement } from './exchange.ts';
import { literal, quoted } from './identifiers.ts';
import type { SchemaOfRecord } from './newest-by-key.ts';
import type { EncodeOptions, RecordSlice, TableStatements } from './table-batch.ts';
import { located } from './table-batch.ts';
import { eventIdOf, stagingLayout, type TableLayout } from './table-layout.ts';
import { tableOf } from './table-statements.ts';

/**
 * Streams that are copied as a whole (full refresh, overwrite): each copy is a generation. Its rows
 * gather in a staging table beside the live one; the end mark takes them over, in the transaction
 * that moves the offset. The live table keeps its identity, so that views, grants, indexes and
 * whatever else names it go on working, and its rows are replaced by DELETE and INSERT, so that a
 * reader sees the old copy or the new one and waits for neither (a TRUNCATE would show an older
 * snapshot nothing at all).
 */

/** What the comment of a staging table begins with. */
export const STAGING_MARKER = 'headrace-staging:';

export function isStagingComment(comment: string | null): boolean {
  return comment?.startsWith(STAGING_MARKER) === true;
}

export function createStaging(live: TableLayout): Statement[] {
  const staging = tableOf(stagingLayout(live));
  const columns = live.columns.map(({ name, ddl }) => `${quoted(name)} ${ddl}`);
  return [
    { text: `CREATE TABLE IF NOT EXISTS ${staging} (${columns.join(',')})` },
    { text: `COMMENT ON TABLE ${staging} IS ${literal(STAGING_MARKER + live.stream)}` },
  ];
}

/** The table that a rebuild fills: rows of it are found by key, or by the event that brought them. */
export function createRebuild(live: TableLayout): Statement[] {
  const staging = tableOf(stagingLayout(live));
  const keys = live.keys.map((index) => quoted(live.columns[index]?.name as string)).join(',');
  const access =
    keys === ''
      ? `CREATE INDEX ON ${staging} (${eventIdOf(live)})`
      : `ALTER TABLE ${staging} ADD PRIMARY KEY (${keys})`;
  return [...createStaging(live), { text: access }];
}

export function dropStaging(live: TableLayout): Statement {
  return { text: `DROP TABLE IF EXISTS ${tableOf(stagingLayout(live))}` };
}

/** Replaces the live rows by those of the generation, which is gone then. */
export function takeOver(live: TableLayout): Statement[] {
  const names = live.columns.map(({ name }) => quoted(name)).join(',');
  const staging = tableOf(stagingLayout(live));
  return [
    { text: `DELETE FROM ${tableOf(live)}` },
    { text: `INSERT INTO ${tableOf(live)} (${names}) SELECT ${names} FROM ${staging}` },
    dropStaging(live),
  ];
}

interface Mark {
  readonly index: number;
  readonly begins: boolean;
}

/** The begin and end marks among the records. */
export function marksOf(schemas: SchemaOfRecord, slice: RecordSlice): Mark[] {
  const { bytes, valueStarts, valueEnds } = slice.batch.records;
  const change = new ChangeCursor();
  const marks: Mark[] = [];
  for (let i = slice.from; i < slice.to; i++) {
    const start = valueStarts[i] as number;
    if (start === -1) continue;
    const end = valueEnds[i] as number;
    try {
      change.decode(schemas.plan(bytes, start, end).schema, bytes, start, end);
    } catch (error) {
      throw located(error, slice, i);
    }
    if (change.isRow || (change.op === OP_MESSAGE && !change.last)) continue;
    marks.push({ index: i, begins: change.op !== OP_MESSAGE });
  }
  return marks;
}

export interface Replaced {
  readonly schemas: SchemaOfRecord;
  /** All live tables of the stream. */
  readonly tables: readonly TableLayout[];
  /** Whether a generation is being staged when the first of the records comes. */
  readonly isStaged: boolean;
  /** Statements that add rows to the staging tables. */
  rows(slices: readonly RecordSlice[]): readonly Statement[];
}

/** The statements of records of a stream that is replaced as a whole, in the order of the records.
 * Rows that no begin mark precedes belong to a copy whose beginning is lost; they are left out. */
export function generationStatements(
  replaced: Replaced,
  slices: readonly RecordSlice[],
  options: EncodeOptions,
): TableStatements {
  const { tables, schemas } = replaced;
  const begin = [...tables.map(dropStaging), ...tables.flatMap(createStaging)];
  if (options.isProbe === true) {
    // The begin mark may be in another part of the batch than the rows that are tried.
    const statements = [...tables.flatMap(createStaging), ...replaced.rows(slices)];
    return { statements, mustMissNone: [], isLong: false };
  }
  let { isStaged } = replaced;
  let isLong = false;
  const statements: Statement[] = [];
  for (const slice of slices) {
    let { from } = slice;
    const rowsUpTo = (to: number) => {
      if (isStaged && to > from) statements.push(...replaced.rows([{ ...slice, from, to }]));
    };
    for (const { index, begins } of marksOf(schemas, slice)) {
      // Rows of a generation that the next one replaces anyway are not written first.
      if (!begins) rowsUpTo(index);
      if (begins) statements.push(...begin);
      else if (isStaged) statements.push(...tables.flatMap(takeOver));
      isLong ||= !begins;
      isStaged = begins;
      from = index + 1;
    }
    rowsUpTo(slice.to);
  }
  return { statements, mustMissNone: [], isLong };
}
