import type { Client } from 'pg';
import { PipelineError } from '../../../core/errors/pipeline-error.ts';
import { exchange } from './exchange.ts';
import type { PreparedBatch } from './stream-table.ts';
import { begin, type Sessions, type TransactionLimits } from './sessions.ts';
import { recordError, type EncodeOptions, type RecordSlice } from './table-batch.ts';

/** Everything a probe needs; the records are those of one table. */
export interface RefusedBatch {
  readonly stream: string;
  readonly prepared: PreparedBatch;
  readonly slices: readonly RecordSlice[];
  readonly options: EncodeOptions;
}

const REASON: Readonly<Record<string, string>> = {
  '22021': 'it holds U+0000 or bytes that are no UTF-8',
  '22P05': 'it holds U+0000, which jsonb cannot',
  '22P02': 'it is not a value of that type there (for JSON: a lone surrogate)',
  '22001': 'it is too long',
  '22003': 'it is out of range',
  '22008': 'the date or time is out of range',
  '54001': 'it is nested too deep',
  '54000': 'it is too large for the index of the key',
};

/**
 * Finds the record and the column that made the server refuse a batch, by halving it in transactions
 * that are rolled back, and answers an error that names them, never the value (invariants 5 and 8).
 */
export async function locateRefused(
  sessions: Sessions,
  batch: RefusedBatch,
  limits: TransactionLimits,
  refused: PipelineError,
): Promise<PipelineError> {
  const slice = await sessions.use((client) => findRecord(client, batch, limits));
  if (slice === null) return refused;
  const column = await sessions.use((client) => findColumn(client, batch, slice, limits));
  const { stream } = batch;
  const sqlstate = String(refused.details['sqlstate'] ?? '');
  const reason = REASON[sqlstate] ?? 'the server refuses it';
  const { layout } = batch.prepared;
  const key = layout.keys.map((i) => layout.columns[i]?.name);
  const what = column === null ? 'a value' : `the value of column "${column}"`;
  const keyed = key.length === 0 ? '' : `, key columns (${key.join(', ')})`;
  const message = `stream ${stream}${keyed}: ${what} cannot be stored: ${reason} (SQLSTATE ${sqlstate})`;
  const details = { ...refused.details, stream, column };
  const error = new PipelineError('DST_VALUE', message, { details });
  return recordError(error, slice.batch.target, slice.batch.records, slice.from);
}

async function findRecord(
  client: Client,
  batch: RefusedBatch,
  limits: TransactionLimits,
): Promise<RecordSlice | null> {
  for (const slice of batch.slices) {
    if (!(await isRefused(client, batch, [slice], limits))) continue;
    let { from, to } = slice;
    while (to - from > 1) {
      const middle = (from + to) >> 1;
      const half = { batch: slice.batch, from, to: middle };
      if (await isRefused(client, batch, [half], limits)) to = middle;
      else from = middle;
    }
    return { batch: slice.batch, from, to };
  }
  return null;
}

async function findColumn(
  client: Client,
  batch: RefusedBatch,
  slice: RecordSlice,
  limits: TransactionLimits,
): Promise<string | null> {
  const { layout } = batch.prepared;
  // Keys are part of every probe; when they alone are refused, no column's turn tells anything.
  if (await isRefused(client, batch, [slice], limits, -1)) {
    const [only] = layout.keys;
    return layout.keys.length === 1 ? (layout.columns[only as number]?.name ?? null) : null;
  }
  for (let column = 0; column < layout.sourceColumns; column++) {
    if (await isRefused(client, batch, [slice], limits, column)) {
      return layout.columns[column]?.name ?? null;
    }
  }
  return null;
}

async function isRefused(
  client: Client,
  { prepared, options }: RefusedBatch,
  slices: readonly RecordSlice[],
  limits: TransactionLimits,
  onlyColumn?: number,
): Promise<boolean> {
  const only = onlyColumn === undefined ? {} : { onlyColumn };
  const { statements } = prepared.encode(slices, { ...options, ...only, isProbe: true });
  try {
    await exchange(client, [...begin(limits), ...statements, { text: 'ROLLBACK' }]);
    return false;
  } catch (error) {
    await exchange(client, [{ text: 'ROLLBACK' }]);
    const sqlstate = (error as { code?: string }).code ?? '';
    if (/^(22|54)/.test(sqlstate)) return true;
    throw error;
  }
}
