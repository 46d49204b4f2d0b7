import type pg from 'pg';
import { PipelineError } from '../../../core/errors/pipeline-error.ts';
import { tooLarge } from '../../capture/event-writer.ts';
import type { TableFacts } from './catalog.ts';
import { copyOut, splitCopyRow } from './copy-out.ts';
import { quoteIdentifier, type SideSession } from './session.ts';

/** A row this many times larger as text than a record may be is not even read in. */
const TEXT_PER_RECORD = 4;
const SMALLEST_FRAME_LIMIT = 16 * 1024 * 1024;

export function frameLimitFor(maxRecordBytes: number): number {
  return Math.max(SMALLEST_FRAME_LIMIT, TEXT_PER_RECORD * maxRecordBytes);
}

/** The table in a FROM clause: a plain one without tables that inherit from it, which are streams of
 * their own. */
export function fromTable({ stream: { namespace, name }, partitioned }: TableFacts): string {
  return `${partitioned ? '' : 'ONLY '}${quoteIdentifier(namespace)}.${quoteIdentifier(name)}`;
}

export interface RowCopy {
  readonly label: string;
  /** Cells that a row has. */
  readonly cells: number;
  readonly frameLimit: number;
  readonly maxRecordBytes: number;
  /** Asked to cancel a copy that a handler gave up. */
  readonly sql: SideSession;
  row(bytes: Buffer, spans: Int32Array, length: number): void;
  /** After each received chunk; a promise is waited for before more is read. */
  chunkDone(): Promise<void> | null;
}

/** Runs a COPY on an idle session and hands over its rows with their cells found. */
export async function copyRows(client: pg.Client, statement: string, copy: RowCopy): Promise<void> {
  const spans = new Int32Array(copy.cells * 2);
  let cancelled: Promise<void> | null = null;
  try {
    await copyOut(client, statement, copy.frameLimit, {
      row: (bytes, start, end) => {
        if (splitCopyRow(bytes, start, end, spans) !== copy.cells && copy.cells > 0) {
          throw new PipelineError('SRC_PROTOCOL', `a row of ${copy.label} has other columns`);
        }
        copy.row(bytes, spans, end - start);
      },
      oversized: (length) => {
        throw tooLarge(copy.label, length, copy.maxRecordBytes);
      },
      abandoned: () => void (cancelled ??= cancelStatement(client, copy.sql)),
      chunkDone: () => copy.chunkDone(),
    });
  } finally {
    // A short copy is over before the order to end it arrives, which would then meet the next statement.
    await cancelled;
  }
}

export async function cancelStatement(client: pg.Client, sql: SideSession): Promise<void> {
  const { processID } = client as unknown as { processID: number };
  await sql.query('SELECT pg_cancel_backend($1)', [processID]).catch(() => {});
}
