import { PipelineError } from '../../../core/errors/pipeline-error.ts';
import type { TableName } from './table-layout.ts';
import { tableOf } from './table-statements.ts';

/** One stream's table in the hands of one connection. */
export interface OwnedTable {
  /** Schema of the bookkeeping table. */
  readonly home: string;
  readonly connectionId: string;
  readonly topic: string;
  readonly name: TableName;
}

/** The comment by which a table is known to be ours. */
export function marker({ connectionId, name }: OwnedTable): string {
  return `headrace:${connectionId}:${name.stream}`;
}

export function refusal(
  { name }: OwnedTable,
  code: 'DST_TABLE_CHANGED' | 'DST_TABLE_FOREIGN' | 'DST_NAME_CONFLICT' | 'DST_STATE_LOST',
  what: string,
): PipelineError {
  const message = `stream ${name.stream}, table ${tableOf(name)}: ${what}`;
  return new PipelineError(code, message, { details: { stream: name.stream } });
}
