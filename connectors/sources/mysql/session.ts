import type { Socket } from 'node:net';
import mysql, { type Connection } from 'mysql2';
import { PipelineError } from '../../../core/errors/pipeline-error.ts';
import type { MysqlSourceConfig } from './config.ts';
import { classify } from './errors.ts';
import { openSocket } from './session-socket.ts';

const CONNECT_TIMEOUT_MS = 15_000;

export type Row = Readonly<Record<string, string | null>>;

export function quoteIdentifier(name: string): string {
  return `\`${name.replaceAll('`', '``')}\``;
}

export function quoteLiteral(text: string): string {
  return `'${text.replaceAll('\\', '\\\\').replaceAll("'", "''")}'`;
}

function sslOptions(config: MysqlSourceConfig, encrypted: boolean): object {
  const { tls } = config;
  if (!encrypted) return {};
  return {
    ssl: {
      rejectUnauthorized: tls.mode.startsWith('verify'),
      verifyIdentity: tls.mode === 'verify_identity',
      ...(tls.ca === undefined ? {} : { ca: tls.ca }),
      ...(tls.certificate === undefined ? {} : { cert: tls.certificate }),
      ...(tls.key === undefined ? {} : { key: tls.key }),
      ...(tls.keyPassword === undefined ? {} : { passphrase: tls.keyPassword }),
    },
  };
}

/** Every session of ours speaks UTF-8 and UTC, prints values in full, leaves no rows out, is not cut
 * short for its age and waits for no lock for ever. Each server reads one of the comments. */
const SETTINGS =
  `SET SESSION time_zone = '+00:00', sql_mode = '', lock_wait_timeout = 60, ` +
  `net_write_timeout = 3600, character_set_results = utf8mb4, ` +
  `sql_select_limit = 18446744073709551615, sql_big_selects = 1 ` +
  `/*!50708 , max_execution_time = 0 */ /*M!100300 , max_statement_time = 0, ` +
  `idle_transaction_timeout = 0, idle_readonly_transaction_timeout = 0 */`;

function open(config: MysqlSourceConfig, encrypted: boolean): Promise<Connection> {
  return new Promise((resolve, reject) => {
    const connection = mysql.createConnection({
      host: config.host,
      port: config.port,
      stream: () => openSocket(config.host, config.port),
      user: config.username,
      password: config.password ?? '',
      database: config.database,
      charset: 'utf8mb4',
      // A query's packet is then its text alone, as we write it ourselves on sockets taken over.
      flags: ['-CLIENT_QUERY_ATTRIBUTES'],
      connectTimeout: CONNECT_TIMEOUT_MS,
      typeCast: (field) => field.string('utf8'),
      ...sslOptions(config, encrypted),
    });
    // A connection that is lost while nobody asks anything of it: the next query tells.
    connection.on('error', () => {});
    connection.connect((error) => {
      if (error === null) resolve(connection);
      else {
        connection.destroy();
        reject(error);
      }
    });
  });
}

export async function connect(config: MysqlSourceConfig): Promise<Connection> {
  const { mode } = config.tls;
  let connection: Connection;
  try {
    connection = await open(config, mode !== 'disabled');
  } catch (error) {
    const name = (error as { code?: unknown }).code;
    if (mode !== 'preferred' || name !== 'HANDSHAKE_NO_SSL_SUPPORT') {
      throw classify(error, `connecting to ${config.host}:${config.port}`);
    }
    connection = await open(config, false).catch((plain: unknown) => {
      throw classify(plain, `connecting to ${config.host}:${config.port}`);
    });
  }
  await query(connection, SETTINGS);
  return connection;
}

/** What reads a whole table may stall for as long as what is behind it does. */
export async function outlastStalls(connection: Connection): Promise<void> {
  await query(connection, 'SET SESSION net_write_timeout = 31536000, wait_timeout = 31536000');
}

/** Rows as texts by column name. */
export function query(connection: Connection, sql: string): Promise<Row[]> {
  return new Promise((resolve, reject) => {
    connection.query(sql, (error: unknown, rows: unknown) => {
      if (error !== null) reject(classify(error, `running ${sql.split(/\s+/, 2).join(' ')}`));
      else resolve(Array.isArray(rows) ? (rows as Row[]) : []);
    });
  });
}

/** The authenticated socket; mysql2 has no hand on it any more. */
export function takeSocket(connection: Connection): Socket {
  const { stream } = connection as unknown as { stream: Socket };
  stream.removeAllListeners('data');
  stream.removeAllListeners('end');
  stream.removeAllListeners('close');
  stream.removeAllListeners('error');
  return stream;
}

/** One session for small questions, opened when it is first asked and anew when it was lost. */
export class SideSession {
  private readonly config: MysqlSourceConfig;
  private connection: Promise<Connection> | null = null;
  private closed = false;

  constructor(config: MysqlSourceConfig) {
    this.config = config;
  }

  async query(sql: string): Promise<Row[]> {
    if (this.closed) throw new PipelineError('SRC_CONNECTION_LOST', 'the session is closed');
    this.connection ??= connect(this.config);
    try {
      return await query(await this.connection, sql);
    } catch (error) {
      const { code } = error as PipelineError;
      if (code === 'SRC_CONNECTION_LOST' || code === 'SRC_UNREACHABLE') this.connection = null;
      throw error;
    }
  }

  async close(): Promise<void> {
    this.closed = true;
    const connection = await this.connection?.catch(() => null);
    connection?.destroy();
  }
}
