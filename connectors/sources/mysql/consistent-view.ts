import type { Connection } from 'mysql2';
import { PipelineError, toPipelineError } from '../../../core/errors/pipeline-error.ts';
import type { StreamId } from '../../../schemas/catalog/stream-id.ts';
import type { MysqlSourceConfig } from './config.ts';
import { GtidSet } from './gtid-set.ts';
import type { WindowContents } from './log-window.ts';
import { fileName, fileNumber, placeOf } from './position.ts';
import { afterOlderPrepared } from './prepared-before.ts';
import { logStatus, type LogStatus } from './server.ts';
import { connect, outlastStalls, query, quoteIdentifier, quoteLiteral } from './session.ts';
import type { RowsBefore } from './touched-rows.ts';

/** Transactions that see what the log holds before `place`, but for the rows in `touched`. */
export interface ConsistentView {
  readonly connections: Sessions;
  readonly base: string;
  readonly place: bigint;
  readonly gtids: string;
  /** By stream label, how rows were at `place` of which the view may show a later state. */
  readonly touched: ReadonlyMap<string, RowsBefore>;
  /** Where the log begins with it: XA transactions that are prepared before `place`, by their ids. */
  readonly prepared: ReadonlyMap<string, string>;
}

type View = Omit<ConsistentView, 'prepared'>;

export interface ViewRequest {
  readonly config: MysqlSourceConfig;
  readonly mariadb: boolean;
  /** Whether every transaction has an id, by which it is told when it is over (gtid_mode = ON). */
  readonly gtids: boolean;
  readonly streams: readonly StreamId[];
  /** Whether the log is to be read from the view's place on, and not from an earlier one. */
  readonly begins: boolean;
  readonly readWindow: (window: Window) => Promise<WindowContents>;
  readonly say: (text: string) => void;
  readonly cancelled: () => boolean;
}

export interface Window {
  readonly base: string;
  readonly from: bigint;
  readonly to: bigint;
  /** Without the rows of any table. */
  readonly rowless?: true;
}

const ISOLATION = 'SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ';
const START = 'START TRANSACTION WITH CONSISTENT SNAPSHOT';
const NOTHING: ReadonlyMap<string, RowsBefore> = new Map();
/** Rows that cannot be told are a matter of a moment, or of the settings. */
const MAX_TRIES = 20;

type Sessions = readonly [Connection, ...Connection[]];

/** One view, in as many sessions as are to read it. */
export async function consistentView(request: ViewRequest): Promise<ConsistentView> {
  const { config, begins } = request;
  const first = await connect(config);
  const sessions: [Connection, ...Connection[]] = [first];
  try {
    while (sessions.length < config.concurrency) sessions.push(await connect(config));
    for (const session of sessions) {
      await outlastStalls(session);
      await query(session, ISOLATION);
    }
    if (!begins) return { ...(await viewIn(request, sessions)), prepared: new Map() };
    const since = await afterOlderPrepared(first, { ...request, ...config });
    const view = await viewIn(request, sessions);
    const { base, place: to } = view;
    const { prepared } = await request.readWindow({ base, from: since.place, to, rowless: true });
    return { ...view, prepared };
  } catch (error) {
    for (const session of sessions) session.destroy();
    throw error;
  }
}

async function viewIn(request: ViewRequest, sessions: Sessions): Promise<View> {
  if (request.mariadb) return atTheirPlaces(request, sessions);
  const view = request.gtids ? await besideWriters(request, sessions) : 'gtid_mode is not ON';
  return typeof view === 'string' ? underLock(request, sessions, view) : view;
}

async function inAll(sessions: Sessions, statement: string): Promise<void> {
  await Promise.all(sessions.map((session) => query(session, statement)));
}

/**
 * MariaDB tells where in the log a consistent snapshot lies. Those of several sessions lie apart by what
 * was committed meanwhile, of which the log tells how its rows were before. Where it does not, one
 * session reads alone.
 */
async function atTheirPlaces(request: ViewRequest, sessions: Sessions): Promise<View> {
  const [alone, ...others] = sessions;
  for (let tries = 0; tries < MAX_TRIES && others.length > 0; tries++) {
    await inAll(sessions, START);
    const places: ViewPlace[] = [];
    for (const session of sessions) places.push(await placeOfView(session));
    const [first, last] = [places.reduce(earlier), places.reduce(later)];
    const { rows } = await request.readWindow({
      base: first.base,
      from: first.place,
      to: last.place,
    });
    if (rows.unclear === null) {
      const gtids = await gtidsAt(alone, first);
      return { connections: sessions, ...first, gtids, touched: rows.tables };
    }
    await inAll(sessions, 'ROLLBACK');
  }
  for (const other of others) other.destroy();
  await query(alone, START);
  const view = await placeOfView(alone);
  return { connections: [alone], ...view, gtids: await gtidsAt(alone, view), touched: NOTHING };
}

interface ViewPlace {
  readonly base: string;
  readonly place: bigint;
}

const earlier = (a: ViewPlace, b: ViewPlace): ViewPlace => (a.place < b.place ? a : b);
const later = (a: ViewPlace, b: ViewPlace): ViewPlace => (a.place < b.place ? b : a);

/** The server prepares these values where all sessions share them: two that ask at once may be told each
 * other's. So it is asked by one session after the other, until it says the same twice. */
async function placeOfView(session: Connection): Promise<ViewPlace> {
  for (let told = await placeTold(session); ;) {
    const again = await placeTold(session);
    if (again.place === told.place && again.base === told.base) return told;
    told = again;
  }
}

/** `@@gtid_binlog_pos` would be ahead of the view. */
async function placeTold(session: Connection): Promise<ViewPlace> {
  const rows = await query(session, `SHOW STATUS LIKE 'binlog_snapshot_%'`);
  const status = new Map(
    rows.map((row) => [String(row['Variable_name']).toLowerCase(), String(row['Value'])]),
  );
  const file = status.get('binlog_snapshot_file') ?? '';
  if (file === '') {
    throw new PipelineError(
      'SRC_SERVER_SETTING',
      'log_bin is off: start the server with --log-bin',
    );
  }
  const offset = Number(status.get('binlog_snapshot_position'));
  return { base: file.slice(0, file.lastIndexOf('.')), place: placeOf(fileNumber(file), offset) };
}

async function gtidsAt(session: Connection, { base, place }: ViewPlace): Promise<string> {
  const file = quoteLiteral(fileName(base, place));
  const offset = place & 0xffffffffn;
  const [row] = await query(session, `SELECT BINLOG_GTID_POS(${file}, ${offset}) AS gtids`);
  return row?.['gtids'] ?? '';
}

/**
 * Without a lock: all that the log held at a first look is over before the view starts, so that the
 * view shows it. What was logged until a second look may be in the view or not; the log tells how its
 * rows were before. Answers with why that cannot be told.
 */
async function besideWriters(request: ViewRequest, sessions: Sessions): Promise<View | string> {
  const [session] = sessions;
  let unclear = '';
  for (let tries = 0; tries < MAX_TRIES; tries++) {
    const from = await logStatus((sql) => query(session, sql));
    const open = await waitForCommits(request, session);
    await inAll(sessions, START);
    const { base, place } = await logStatus((sql) => query(session, sql));
    const window = await request.readWindow({ base, from: from.place, to: place });
    if (window.rows.unclear === null && base === from.base) {
      const gtids = idsBefore(from, open, window);
      const { tables: touched } = window.rows;
      return { connections: sessions, base, place: from.place, gtids, touched };
    }
    unclear = window.rows.unclear ?? 'the log was renamed';
    await inAll(sessions, 'ROLLBACK');
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
  sessions: Sessions,
  reason: string,
): Promise<View> {
  const lock = await connect(config);
  try {
    await query(lock, 'SET SESSION lock_wait_timeout = 15');
    await lockAll(lock, streams, reason);
    await inAll(sessions, START);
    const status = await logStatus((sql) => query(lock, sql));
    await query(lock, 'UNLOCK TABLES');
    return { connections: sessions, ...status, touched: NOTHING };
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
