import type { Connection } from 'mysql2';
import { PipelineError, toPipelineError } from '../../../core/errors/pipeline-error.ts';
import type { StreamId } from '../../../schemas/catalog/stream-id.ts';
import type { MysqlSourceConfig } from './config.ts';
import { GtidSet } from './gtid-set.ts';
import type { WindowContents } from './log-window.ts';
import { fileNumber, placeOf } from './position.ts';
import { logStatus, type LogStatus } from './server.ts';
import { connect, outlastStalls, query, quoteIdentifier, quoteLiteral } from './session.ts';
import type { RowsBefore } from './touched-rows.ts';

/** A transaction that sees what the log holds before `place`, but for the rows in `touched`. */
export interface ConsistentView {
  readonly connection: Connection;
  readonly base: string;
  readonly place: bigint;
  readonly gtids: string;
  /** By stream label, how rows were at `place` of which the view may show a later state. */
  readonly touched: ReadonlyMap<string, RowsBefore>;
}

export interface ViewRequest {
  readonly config: MysqlSourceConfig;
  readonly mariadb: boolean;
  /** Whether every transaction has an id, by which it is told when it is over (gtid_mode = ON). */
  readonly gtids: boolean;
  readonly streams: readonly StreamId[];
  readonly readWindow: (base: string, from: bigint, to: bigint) => Promise<WindowContents>;
  readonly say: (text: string) => void;
  readonly cancelled: () => boolean;
}

const ISOLATION = 'SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ';
const START = 'START TRANSACTION WITH CONSISTENT SNAPSHOT';
const NOTHING: ReadonlyMap<string, RowsBefore> = new Map();
/** Rows that cannot be told are a matter of a moment, or of the settings. */
const MAX_TRIES = 20;

export async function consistentView(request: ViewRequest): Promise<ConsistentView> {
  const connection = await connect(request.config);
  try {
    await outlastStalls(connection);
    await query(connection, ISOLATION);
    if (request.mariadb) return await atItsPlace(connection);
    const view = request.gtids ? await besideWriters(request, connection) : 'gtid_mode is not ON';
    return typeof view === 'string' ? await underLock(request, connection, view) : view;
  } catch (error) {
    connection.destroy();
    throw error;
  }
}

/** MariaDB tells where in the log a consistent snapshot lies; `@@gtid_binlog_pos` would be ahead of it. */
async function atItsPlace(connection: Connection): Promise<ConsistentView> {
  await query(connection, START);
  const rows = await query(connection, `SHOW STATUS LIKE 'binlog_snapshot_%'`);
  const status = new Map(
    rows.map((row) => [String(row['Variable_name']).toLowerCase(), String(row['Value'])]),
  );
  const file = status.get('binlog_snapshot_file') ?? '';
  const offset = Number(status.get('binlog_snapshot_position'));
  if (file === '') {
    throw new PipelineError(
      'SRC_SERVER_SETTING',
      'log_bin is off: start the server with --log-bin',
    );
  }
  const [row] = await query(
    connection,
    `SELECT BINLOG_GTID_POS(${quoteLiteral(file)}, ${offset}) AS gtids`,
  );
  return {
    connection,
    base: file.slice(0, file.lastIndexOf('.')),
    place: placeOf(fileNumber(file), offset),
    gtids: row?.['gtids'] ?? '',
    touched: NOTHING,
  };
}

/**
 * Without a lock: all that the log held at a first look is over before the view starts, so that the
 * view shows it. What was logged until a second look may be in the view or not; the log tells how its
 * rows were before. Answers with why that cannot be told.
 */
async function besideWriters(
  request: ViewRequest,
  connection: Connection,
): Promise<ConsistentView | string> {
  let unclear = '';
  for (let tries = 0; tries < MAX_TRIES; tries++) {
    const from = await logStatus((sql) => query(connection, sql));
    const open = await waitForCommits(request, connection);
    await query(connection, START);
    const { base, place } = await logStatus((sql) => query(connection, sql));
    const window = await request.readWindow(base, from.place, place);
    if (window.rows.unclear === null && base === from.base) {
      const gtids = idsBefore(from, open, window);
      return { connection, base, place: from.place, gtids, touched: window.rows.tables };
    }
    unclear = window.rows.unclear ?? 'the log was renamed';
    await query(connection, 'ROLLBACK');
  }
  return unclear;
}

/** A transaction is in the log before its rows can be seen, and keeps its id to itself until then. With
 * semi-synchronous replication that may take long. */
async function waitForCommits(request: ViewRequest, connection: Connection): Promise<GtidSet> {
  const [row] = await query(connection, 'SELECT @@global.gtid_owned AS owned');
  const open = new GtidSet(false, String(row?.['owned'] ?? '').replaceAll(/#\d+/g, ''));
  if (open.empty) return open;
  const wait = `SELECT WAIT_FOR_EXECUTED_GTID_SET(${quoteLiteral(open.toString())}, 1) AS late`;
  while ((await query(connection, wait))[0]?.['late'] !== '0') {
    if (request.cancelled()) throw new PipelineError('SRC_CONNECTION_LOST', 'the copy was ended');
    request.say('waiting for the end of commits that are in the log already');
  }
  return open;
}

/** The ids of what the log holds before the view's place. */
function idsBefore(from: LogStatus, open: GtidSet, window: WindowContents): string {
  const gtids = new GtidSet(false, from.gtids);
  gtids.addAll(open, window.gtids);
  return gtids.toString();
}

/** Nothing may commit between the view's start and the look at the log: milliseconds. */
async function underLock(
  { config, streams }: ViewRequest,
  connection: Connection,
  reason: string,
): Promise<ConsistentView> {
  const lock = await connect(config);
  try {
    await query(lock, 'SET SESSION lock_wait_timeout = 15');
    await lockAll(lock, streams, reason);
    await query(connection, START);
    const status = await logStatus((sql) => query(lock, sql));
    await query(lock, 'UNLOCK TABLES');
    return { connection, ...status, touched: NOTHING };
  } finally {
    lock.destroy();
  }
}

/** Managed servers refuse the first one as if the password were wrong. */
const REFUSED = new Set(['SRC_PRIVILEGE', 'SRC_AUTH_FAILED']);

/** Without the RELOAD right the tables themselves are locked. */
async function lockAll(
  lock: Connection,
  streams: readonly StreamId[],
  reason: string,
): Promise<void> {
  const tables = streams.map(
    ({ namespace, name }) => `${quoteIdentifier(namespace)}.${quoteIdentifier(name)} READ`,
  );
  for (const statement of ['FLUSH TABLES WITH READ LOCK', `LOCK TABLES ${tables.join(', ')}`]) {
    try {
      await query(lock, statement);
      return;
    } catch (error) {
      if (!REFUSED.has(toPipelineError(error).code)) throw error;
    }
  }
  const databases = [...new Set(streams.map(({ namespace }) => quoteIdentifier(namespace)))];
  throw new PipelineError(
    'SRC_PRIVILEGE',
    `the first copy needs a lock of some milliseconds, because ${reason}; run: ${databases
      .map((each) => `GRANT LOCK TABLES ON ${each}.* TO <the user>`)
      .join('; ')}`,
  );
}
