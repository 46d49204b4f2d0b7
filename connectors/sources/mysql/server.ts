import { PipelineError } from '../../../core/errors/pipeline-error.ts';
import { GtidSet } from './gtid-set.ts';
import { fileNumber, placeOf } from './position.ts';
import { type Row, type SideSession } from './session.ts';

/** What a capture needs to know of the server. */
export interface ServerFacts {
  readonly mariadb: boolean;
  readonly version: string;
  readonly identity: string;
  readonly variables: Readonly<Record<string, string>>;
}

const VARIABLES = [
  'log_bin',
  'binlog_checksum',
  'binlog_format',
  'binlog_row_image',
  'binlog_row_metadata',
  'binlog_expire_logs_seconds',
  'innodb_native_foreign_keys',
  'gtid_mode',
  'gtid_executed',
  'gtid_purged',
  'gtid_binlog_pos',
  'server_id',
  'server_uid',
  'server_uuid',
  'sync_binlog',
];

export async function readServer(sql: SideSession): Promise<ServerFacts> {
  const [row] = await sql.query('SELECT VERSION() AS version');
  const version = String(row?.['version']);
  const rows = await sql.query(
    `SHOW GLOBAL VARIABLES WHERE Variable_name IN (${VARIABLES.map((name) => `'${name}'`).join(', ')})`,
  );
  const variables: Record<string, string> = {};
  for (const each of rows) variables[String(each['Variable_name'])] = String(each['Value'] ?? '');
  const { server_uuid: uuid, server_uid: uid, server_id: id } = variables;
  return {
    mariadb: /mariadb/i.test(version),
    version,
    identity: uuid ?? uid ?? `server_id ${id}`,
    variables,
  };
}

/** Since MySQL 9.6 the server itself, not its storage engine, does what foreign keys ask for, and logs it. */
export function logsCascades({ variables }: ServerFacts): boolean {
  return variables['innodb_native_foreign_keys'] === 'OFF';
}

/** Null where the server's transactions have no ids. */
export function executedGtids(server: ServerFacts): GtidSet | null {
  const { variables, mariadb } = server;
  if (mariadb) return new GtidSet(true, variables['gtid_binlog_pos'] ?? '');
  if (variables['gtid_mode'] !== 'ON') return null;
  return new GtidSet(false, variables['gtid_executed'] ?? '');
}

/** How the server's log is to be read. */
export interface ServerTraits {
  readonly mariadb: boolean;
  /** Whether each of MySQL's transactions has an id (gtid_mode = ON). */
  readonly gtids: boolean;
  /** Whether events end with a checksum. */
  readonly checksums: boolean;
  /** Whether the log names the columns of tables (binlog_row_metadata = FULL). */
  readonly namesColumns: boolean;
}

export function serverTraits({ mariadb, variables }: ServerFacts): ServerTraits {
  return {
    mariadb,
    gtids: variables['gtid_mode'] === 'ON',
    checksums: variables['binlog_checksum'] === 'CRC32',
    namesColumns: variables['binlog_row_metadata'] === 'FULL',
  };
}

export interface LogStatus {
  readonly base: string;
  readonly place: bigint;
  readonly gtids: string;
}

export async function logStatus(ask: (sql: string) => Promise<Row[]>): Promise<LogStatus> {
  const rows = await ask('SHOW BINARY LOG STATUS').catch((error: PipelineError) => {
    if (error.code !== 'SRC_QUERY_FAILED') throw error;
    return ask('SHOW MASTER STATUS');
  });
  const file = rows[0]?.['File'];
  if (file == null) {
    throw new PipelineError(
      'SRC_SERVER_SETTING',
      'log_bin is off: start the server with --log-bin',
    );
  }
  return {
    base: file.slice(0, file.lastIndexOf('.')),
    place: placeOf(fileNumber(file), Number(rows[0]?.['Position'])),
    gtids: String(rows[0]?.['Executed_Gtid_Set'] ?? '').replaceAll(/\s/g, ''),
  };
}

/** What the log must carry, and the statement that makes it so. */
export function missingSettings(server: ServerFacts): string[] {
  const { variables } = server;
  const missing: string[] = [];
  if (variables['log_bin'] !== 'ON') {
    return ['log_bin is OFF; start the server with --log-bin'];
  }
  const { binlog_format: format, binlog_row_metadata: metadata } = variables;
  if (format !== undefined && format !== 'ROW') {
    missing.push(`binlog_format is ${format}; run: SET GLOBAL binlog_format = 'ROW'`);
  }
  if (metadata === undefined) {
    missing.push(
      'binlog_row_metadata is unknown to this server; MySQL 8.0.1 or MariaDB 10.5 is needed',
    );
  }
  return missing;
}
