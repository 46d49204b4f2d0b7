import type { Client } from 'pg';
import { PipelineError } from '../../../core/errors/pipeline-error.ts';
import { failpoint, isArmed } from '../../../core/run/failpoints.ts';
import { classify } from './errors.ts';
import { exchange, type ExchangeError, type Statement, type StatementResult } from './exchange.ts';
import { acceptFilenode, lockPartitions, storeOffsets } from './offset-store.ts';
import type { StreamTable } from './stream-table.ts';
import { fenced, type PartitionState } from './partition-state.ts';
import { begin, type TransactionLimits } from './sessions.ts';
import type { TableStatements } from './table-batch.ts';
import { isEmpty } from './table-catalog.ts';
import { tableOf } from './table-statements.ts';

/** One table's part of a transaction. */
export interface TableWork {
  readonly table: StreamTable;
  readonly encoded: TableStatements;
}

export interface PartitionStep {
  readonly state: PartitionState;
  readonly next: number;
}

/** Everything that one target transaction does. */
export interface BatchWork {
  /** Schema of the bookkeeping table, and whose rows in it. */
  readonly home: string;
  readonly connectionId: string;
  readonly tables: readonly TableWork[];
  readonly steps: readonly PartitionStep[];
}

/**
 * Applies a batch in one transaction: lock and compare the stored offsets, apply, store the new
 * offsets, commit (invariants 3 and 6). Two round trips; a third when rows could be missed. Does
 * nothing when an earlier attempt whose answer was lost has committed.
 */
export async function applyBatch(
  client: Client,
  work: BatchWork,
  limits: TransactionLimits,
): Promise<void> {
  const isLong = work.tables.some(({ encoded }) => encoded.isLong);
  const stored = await lock(client, work, isLong ? { ...limits, statementTimeoutMs: 0 } : limits);
  const confirmed = work.steps.map(({ state }, i) => state.confirms(stored[i] as number | null));
  if (confirmed.every((yes) => yes)) {
    await exchange(client, [{ text: 'ROLLBACK' }]);
    return;
  }
  const other = work.steps[confirmed.indexOf(true)];
  // Offsets of one transaction move together; one alone was moved by somebody else.
  if (other !== undefined) throw fenced(other.state.target, 'the stored offset has moved');
  await failpoint('destination.postgres.before_apply');
  for (const { state, next } of work.steps) state.uncertain = next;
  const offsets = work.steps.map(({ state, next }) => ({ ...keyOf(state), next }));
  const store = storeOffsets(work.home, work.connectionId, offsets);
  if (isArmed('destination.postgres.offset_stored')) {
    refuseMissed(work, await apply(client, work, []));
    await exchange(client, [store]);
    await failpoint('destination.postgres.offset_stored');
    await sent(exchange(client, [COMMIT]));
  } else if (mayMiss(work) || isArmed('destination.postgres.rows_applied')) {
    refuseMissed(work, await apply(client, work, []));
    await failpoint('destination.postgres.rows_applied');
    await sent(exchange(client, [store, COMMIT]));
  } else {
    await sent(apply(client, work, [store, COMMIT]));
  }
  await failpoint('destination.postgres.after_commit');
}

const COMMIT: Statement = { text: 'COMMIT' };

function mayMiss(work: BatchWork): boolean {
  return work.tables.some(({ encoded }) => encoded.mustMissNone.length > 0);
}

/** The COMMIT is on its way, and nobody knows its answer yet. */
async function sent(answer: Promise<unknown>): Promise<void> {
  // A fault here must not make a rejection that nobody waits for.
  answer.catch(() => {});
  await failpoint('destination.postgres.commit_sent');
  await answer;
}

function keyOf({ target: { topic, partition } }: PartitionState) {
  return { topic, partition };
}

/** Begins, holds the tables against a TRUNCATE or DROP in between, and locks the offset rows.
 * Answers the stored offset of each step. */
async function lock(
  client: Client,
  work: BatchWork,
  limits: TransactionLimits,
): Promise<(number | null)[]> {
  const first = begin(limits);
  const holds = work.tables.map(({ table }) => ({
    text: `LOCK TABLE ${tableOf(table.owned.name)} IN ROW EXCLUSIVE MODE`,
  }));
  const keys = work.steps.map(({ state }) => keyOf(state));
  const all = [...first, ...holds, lockPartitions(work.home, work.connectionId, keys)];
  const results = await attributed(exchange(client, all), (index) => {
    if (index < first.length) return undefined;
    return work.tables[index - first.length]?.table;
  });
  const rows = results[results.length - 1]?.rows ?? [];
  const stored: (number | null)[] = [];
  for (const { state } of work.steps) {
    const { topic, partition } = state.target;
    const row = rows.find(([t, p]) => t === topic && Number(p) === partition);
    if (row === undefined) throw offsetGone(state);
    await checkIdentity(client, work, state, row[3] === 't', row[4] === 't');
    stored.push(row[2] === null ? null : Number(row[2]));
  }
  return stored;
}

function offsetGone({ target, table }: PartitionState): PipelineError {
  const what = `the offset of topic ${target.topic}, partition ${target.partition} is gone`;
  return new PipelineError('DST_STATE_LOST', `stream ${table.stream}: ${what}`, {
    details: { stream: table.stream, topic: target.topic, partition: target.partition },
  });
}

async function checkIdentity(
  client: Client,
  work: BatchWork,
  state: PartitionState,
  sameTable: boolean,
  sameFile: boolean,
): Promise<void> {
  const { stream, owned } = state.table;
  // A partition whose batches were all without records may have no table yet.
  if ((sameTable && sameFile) || !work.tables.some(({ table }) => table === state.table)) return;
  const changed = (what: string) =>
    new PipelineError(
      'DST_TABLE_CHANGED',
      `stream ${stream}, table ${tableOf(owned.name)}: ${what}`,
      {
        details: { stream },
      },
    );
  if (!sameTable) throw changed('the table was replaced by another one');
  if (state.stored !== null && (await isEmpty(client, owned.name))) {
    throw changed('the table was truncated');
  }
  await exchange(client, [acceptFilenode(work.home, work.connectionId, owned.topic)]);
}

/** Runs the statements of all tables, and `end` behind them unless one fails. */
async function apply(
  client: Client,
  work: BatchWork,
  end: readonly Statement[],
): Promise<StatementResult[]> {
  const owners = work.tables.flatMap(({ table, encoded }) => encoded.statements.map(() => table));
  const statements = work.tables.flatMap(({ encoded }) => encoded.statements);
  const silenceMs = work.tables.some(({ encoded }) => encoded.isLong) ? 0 : undefined;
  return attributed(exchange(client, [...statements, ...end], silenceMs), (i) => owners[i]);
}

/** Classifies an error and names the stream of the statement that met it. */
async function attributed<T>(
  answer: Promise<T>,
  ownerOf: (index: number) => StreamTable | undefined,
): Promise<T> {
  try {
    return await answer;
  } catch (error) {
    const owner = ownerOf((error as ExchangeError).statementIndex ?? -1);
    if (owner === undefined) throw bookkeepingError(classify(error, 'the bookkeeping of offsets'));
    throw classify(
      error,
      `stream ${owner.stream}, table ${tableOf(owner.owned.name)}`,
      owner.stream,
    );
  }
}

/** Statements that belong to no stream work on the bookkeeping table. */
function bookkeepingError(error: PipelineError): PipelineError {
  if (error.code !== 'DST_TABLE_CHANGED') return error;
  return new PipelineError('DST_STATE_LOST', error.message, { details: error.details });
}

function refuseMissed(work: BatchWork, results: readonly StatementResult[]): void {
  let first = 0;
  for (const { table, encoded } of work.tables) {
    for (const index of encoded.mustMissNone) {
      const missed = Number(results[first + index]?.rows[0]?.[0]);
      if (missed === 0) continue;
      const message = `stream ${table.stream}: ${missed} updates without all their columns met no row to complete`;
      throw new PipelineError('DST_ROW_INCOMPLETE', message, { details: { stream: table.stream } });
    }
    first += encoded.statements.length;
  }
}
