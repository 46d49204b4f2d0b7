import type { Connection } from 'mysql2';
import { PipelineError } from '../../../core/errors/pipeline-error.ts';
import type { StreamId } from '../../../schemas/catalog/stream-id.ts';
import type { MysqlSourceConfig } from './config.ts';
import { fileNumber, placeOf } from './position.ts';
import { logStatus } from './server.ts';
import { connect, query, quoteIdentifier, quoteLiteral } from './session.ts';

/** A transaction that sees exactly what the log holds before `place`. */
export interface ConsistentView {
  readonly connection: Connection;
  readonly base: string;
  readonly place: bigint;
  readonly gtids: string;
}

const ISOLATION = 'SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ';
const START = 'START TRANSACTION WITH CONSISTENT SNAPSHOT';

export async function consistentView(
  config: MysqlSourceConfig,
  mariadb: boolean,
  streams: readonly StreamId[],
): Promise<ConsistentView> {
  const connection = await connect(config);
  try {
    // A copy may stall for as long as what is behind it does.
    await query(connection, 'SET SESSION net_write_timeout = 31536000, wait_timeout = 31536000');
    await query(connection, ISOLATION);
    return mariadb ? await withoutLock(connection) : await underLock(config, connection, streams);
  } catch (error) {
    connection.destroy();
    throw error;
  }
}

/** MariaDB tells where in the log a consistent snapshot lies; `@@gtid_binlog_pos` would be ahead of it. */
async function withoutLock(connection: Connection): Promise<ConsistentView> {
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
  };
}

/** On MySQL nothing may commit between the view's start and the look at the log: milliseconds. */
async function underLock(
  config: MysqlSourceConfig,
  connection: Connection,
  streams: readonly StreamId[],
): Promise<ConsistentView> {
  const lock = await connect(config);
  try {
    await query(lock, 'SET SESSION lock_wait_timeout = 15');
    await lockAll(lock, streams);
    await query(connection, START);
    const status = await logStatus((sql) => query(lock, sql));
    await query(lock, 'UNLOCK TABLES');
    return { connection, ...status };
  } finally {
    lock.destroy();
  }
}

/** Without the RELOAD right the tables themselves are locked. */
async function lockAll(lock: Connection, streams: readonly StreamId[]): Promise<void> {
  try {
    await query(lock, 'FLUSH TABLES WITH READ LOCK');
  } catch (error) {
    if ((error as PipelineError).code !== 'SRC_PRIVILEGE') throw error;
    const tables = streams.map(
      ({ namespace, name }) => `${quoteIdentifier(namespace)}.${quoteIdentifier(name)} READ`,
    );
    await query(lock, `LOCK TABLES ${tables.join(', ')}`);
  }
}
