import type pg from 'pg';
import { PipelineError } from '../../../core/errors/pipeline-error.ts';
import { classify, sqlStateOf } from './errors.ts';
import { lsnOfServer } from './position.ts';
import { quoteIdentifier, socketOf, type SideSession } from './session.ts';

/** Tries to drop a slot that a reader is just letting go of. */
const RELEASE_ATTEMPTS = 60;
const RELEASE_WAIT_MS = 500;

export interface SlotFacts {
  readonly plugin: string;
  readonly database: string;
  readonly activePid: number | null;
  readonly lost: boolean;
  readonly confirmed: bigint | null;
  /** A slot that follows a failover (PostgreSQL 17), whose timeline may therefore change. */
  readonly failover: boolean;
}

export async function readSlot(sql: SideSession, name: string): Promise<SlotFacts | null> {
  const [row] = await sql.query(
    `SELECT to_jsonb(s)::text AS slot FROM pg_replication_slots s WHERE slot_name = $1`,
    [name],
  );
  if (row === undefined) return null;
  const slot = JSON.parse(String(row['slot'])) as Record<string, unknown>;
  const confirmed = slot['confirmed_flush_lsn'];
  return {
    plugin: String(slot['plugin']),
    database: String(slot['database']),
    activePid: slot['active_pid'] === null ? null : Number(slot['active_pid']),
    lost: slot['wal_status'] === 'lost' || typeof slot['invalidation_reason'] === 'string',
    confirmed: typeof confirmed === 'string' ? lsnOfServer(confirmed) : null,
    failover: slot['failover'] === true,
  };
}

export interface ExportedSnapshot {
  readonly consistentPoint: bigint;
  readonly snapshot: string;
}

/**
 * Creates a slot and exports the snapshot at its start. The session must stay idle until the readers
 * have taken the snapshot over. It waits until the transactions running now have ended; `onWait` is
 * told whom it waits for.
 */
export async function createSlot(
  replication: pg.Client,
  sql: SideSession,
  name: string,
  options: {
    readonly temporary: boolean;
    readonly waitingSeconds: number;
    readonly onWait: (text: string | undefined) => void;
  },
): Promise<ExportedSnapshot> {
  const started = Date.now();
  const watch = setInterval(() => {
    const seconds = Math.round((Date.now() - started) / 1000);
    void oldestTransaction(sql).then(
      (oldest) => options.onWait(`waiting for transactions older than the slot: ${oldest}`),
      () => options.onWait(`waiting ${seconds} s for the slot to be created`),
    );
    if (seconds > options.waitingSeconds) void abandonSession(sql, replication);
  }, 1000);
  try {
    const kind = options.temporary ? 'TEMPORARY LOGICAL' : 'LOGICAL';
    const { rows } = (await replication.query(
      `CREATE_REPLICATION_SLOT ${quoteIdentifier(name)} ${kind} pgoutput EXPORT_SNAPSHOT`,
    )) as pg.QueryResult<Record<string, string>>;
    return {
      consistentPoint: lsnOfServer(String(rows[0]?.['consistent_point'])),
      snapshot: String(rows[0]?.['snapshot_name']),
    };
  } catch (error) {
    throw slotFailure(error, name, Date.now() - started > options.waitingSeconds * 1000);
  } finally {
    clearInterval(watch);
    options.onWait(undefined);
  }
}

/** A session that waits inside the server neither reads nor notices that its client has gone: it is
 * ended from another one, which also takes back a slot that is being created. */
export async function abandonSession(sql: SideSession, session: pg.Client): Promise<void> {
  const { processID } = session as unknown as { processID: number };
  await sql.query('SELECT pg_terminate_backend($1)', [processID]).catch(() => {});
  socketOf(session).destroy();
}

function slotFailure(error: unknown, name: string, waited: boolean): PipelineError {
  const failure = classify(error, `creating replication slot ${name}`);
  if (waited) {
    return new PipelineError(
      'SRC_SLOT_WAIT',
      `replication slot ${name} cannot be created while older transactions are open`,
      { cause: error },
    );
  }
  if (sqlStateOf(error) !== '55000') return failure;
  return new PipelineError('SRC_SERVER_SETTING', failure.message, { cause: error });
}

async function oldestTransaction(sql: SideSession): Promise<string> {
  const [row] = await sql.query(
    `SELECT count(*) AS others, max(extract(epoch FROM now() - xact_start))::int AS age,
       (array_agg(pid ORDER BY xact_start))[1] AS pid
     FROM pg_stat_activity
     WHERE backend_xid IS NOT NULL AND pid <> pg_backend_pid()`,
  );
  const age = row?.['age'];
  if (age === null || age === undefined) return 'none is visible to this role';
  return `${String(row?.['others'])} running, the oldest for ${String(age)} s (pid ${String(row?.['pid'])})`;
}

export async function dropSlot(sql: SideSession, name: string): Promise<void> {
  for (let attempt = 1; (await readSlot(sql, name)) !== null; attempt++) {
    try {
      await sql.query('SELECT pg_drop_replication_slot($1)', [name]);
      return;
    } catch (error) {
      const busy = sqlStateOf((error as Error).cause) === '55006';
      if (!busy || attempt >= RELEASE_ATTEMPTS) throw error;
      await new Promise((resolve) => setTimeout(resolve, RELEASE_WAIT_MS));
    }
  }
}
