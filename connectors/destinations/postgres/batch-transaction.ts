import type { Client } from 'pg';
import { PipelineError } from '../../../core/errors/pipeline-error.ts';
import { failpoint, isArmed } from '../../../core/run/failpoints.ts';
import { classify } from './errors.ts';
import { exchange, type ExchangeError, type Statement, type StatementResult } from './exchange.ts';
import {
  acceptFilenode,
  lockPartitions,
  moveOffsets,
  OFFSETS_NOT_AS_LEFT,
  storeOffsets,
} from './offset-store.ts';
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
  /** All is on its way to the server, which is busy with it for a while. */
  readonly sent: (() => void) | undefined;
}

/**
 * Applies a batch in one transaction: lock and compare the stored offsets, apply, store the new
 * offsets, commit (invariants 3 and 6). One round trip where everything is as this writer left it;
 * else two, and a third when rows could be missed. Does nothing when an earlier attempt whose answer
 * was lost has committed.
 */
export async function applyBatch(
  client: Client,
  work: BatchWork,
  limits: TransactionLimits,
): Promise<void> {
  const isLong = work.tables.some(({ encoded }) => encoded.isLong);
  const own = isLong ? { ...limits, statementTimeoutMs: 0 } : limits;
  if (mayGoAtOnce(work) && (await appliedAtOnce(client, work, own))) return;
  await applyComparing(client, work, own);
}

/** Not where an answer decides what is sent next, or a fault is to come in between. */
function mayGoAtOnce(work: BatchWork): boolean {
  const stopsBetween = ['before_apply', 'rows_applied', 'offset_stored'].some((place) =>
    isArmed(`destination.postgres.${place}`),
  );
  return (
    !stopsBetween && !mayMiss(work) && work.steps.every(({ state }) => state.uncertain === null)
  );
}

/** All in one flight: the offsets move only from where we left them, and if they cannot, the server
 * ignores what follows. Answers false then: nothing was done, and why is for the comparison to say. */
async function appliedAtOnce(
  client: Client,
  work: BatchWork,
  limits: TransactionLimits,
): Promise<boolean> {
  const moves = work.steps.map(({ state, next }) => ({
    ...keyOf(state),
    from: state.stored,
    next,
    writes: writesTable(work, state),
  }));
  const move = { statement: moveOffsets(work.home, work.connectionId, moves) };
  const flight = [...opening(work, limits), move, ...rowsOf(work), { statement: COMMIT }];
  for (const { state, next } of work.steps) state.uncertain = next;
  const answer = exchange(client, statementsOf(flight), silenceOf(work), work.sent);
  try {
    await sent(answer);
  } catch (error) {
    const { statementIndex, code } = error as ExchangeError;
    if (statementIndex !== flight.indexOf(move) || code !== OFFSETS_NOT_AS_LEFT) {
      throw attributed(error, flight);
    }
    for (const { state } of work.steps) state.uncertain = null;
    await exchange(client, [ROLLBACK]);
    return false;
  }
  await failpoint('destination.postgres.after_commit');
  return true;
}

async function applyComparing(
  client: Client,
  work: BatchWork,
  limits: TransactionLimits,
): Promise<void> {
  const stored = await lock(client, work, limits);
  const confirmed = work.steps.map(({ state }, i) => state.confirms(stored[i] as number | null));
  if (confirmed.every((yes) => yes)) {
    await exchange(client, [ROLLBACK]);
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
const ROLLBACK: Statement = { text: 'ROLLBACK' };

/** A statement, and whose stream it works for. */
interface OwnedStatement {
  readonly statement: Statement;
  readonly owner?: StreamTable;
}

function statementsOf(flight: readonly OwnedStatement[]): Statement[] {
  return flight.map(({ statement }) => statement);
}

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

/** Begins, and holds the tables against a TRUNCATE or DROP in between. */
function opening(work: BatchWork, limits: TransactionLimits): OwnedStatement[] {
  const holds = work.tables.map(({ table }) => ({
    statement: { text: `LOCK TABLE ${tableOf(table.owned.name)} IN ROW EXCLUSIVE MODE` },
    owner: table,
  }));
  return [...begin(limits).map((statement) => ({ statement })), ...holds];
}

function rowsOf(work: BatchWork): OwnedStatement[] {
  return work.tables.flatMap(({ table, encoded }) =>
    encoded.statements.map((statement) => ({ statement, owner: table })),
  );
}

/** Begins and locks the offset rows. Answers the stored offset of each step. */
async function lock(
  client: Client,
  work: BatchWork,
  limits: TransactionLimits,
): Promise<(number | null)[]> {
  const keys = work.steps.map(({ state }) => keyOf(state));
  const locking = { statement: lockPartitions(work.home, work.connectionId, keys) };
  const results = await fly(client, [...opening(work, limits), locking]);
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

function writesTable(work: BatchWork, state: PartitionState): boolean {
  return work.tables.some(({ table }) => table === state.table);
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
  if ((sameTable && sameFile) || !writesTable(work, state)) return;
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
function apply(
  client: Client,
  work: BatchWork,
  end: readonly Statement[],
): Promise<StatementResult[]> {
  const flight = [...rowsOf(work), ...end.map((statement) => ({ statement }))];
  return fly(client, flight, silenceOf(work));
}

function silenceOf(work: BatchWork): number | undefined {
  return work.tables.some(({ encoded }) => encoded.isLong) ? 0 : undefined;
}

async function fly(
  client: Client,
  flight: readonly OwnedStatement[],
  silenceMs?: number,
): Promise<StatementResult[]> {
  try {
    return await exchange(client, statementsOf(flight), silenceMs);
  } catch (error) {
    throw attributed(error, flight);
  }
}

/** Classifies an error and names the stream of the statement that met it. */
function attributed(error: unknown, flight: readonly OwnedStatement[]): PipelineError {
  const owner = flight[(error as ExchangeError).statementIndex ?? -1]?.owner;
  if (owner === undefined) return bookkeepingError(classify(error, 'the bookkeeping of offsets'));
  const what = `stream ${owner.stream}, table ${tableOf(owner.owned.name)}`;
  return classify(error, what, owner.stream);
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
