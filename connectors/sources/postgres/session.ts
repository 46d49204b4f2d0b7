import pg from 'pg';
import type { Socket } from 'node:net';
import type { PostgresSourceConfig, TlsConfig } from './config.ts';
import { classify, sqlStateOf } from './errors.ts';

/**
 * Settings under which values are printed. The database's, the role's and the process's defaults
 * change the text of the replication stream too, so both kinds of session set them all.
 * row_security=off turns a policy that would silently filter a snapshot into an error.
 */
const SETTINGS: Readonly<Record<string, string>> = {
  datestyle: 'ISO',
  timezone: 'UTC',
  intervalstyle: 'iso_8601',
  bytea_output: 'hex',
  extra_float_digits: '1',
  client_encoding: 'UTF8',
  search_path: 'pg_catalog',
  array_nulls: 'on',
  lc_monetary: 'C',
  standard_conforming_strings: 'on',
  xmloption: 'content',
  row_security: 'off',
  statement_timeout: '0',
  lock_timeout: '0',
  idle_in_transaction_session_timeout: '0',
  default_transaction_read_only: 'off',
  // A standby that is away must not hold up a question.
  synchronous_commit: 'local',
  jit: 'off',
};

const OPTIONS = Object.entries(SETTINGS)
  .map(([name, value]) => `-c ${name}=${value}`)
  .join(' ');

const CONNECT_TIMEOUT_MS = 15_000;

type Ssl = pg.ClientConfig['ssl'];

function sslAttempts(tls: TlsConfig): readonly Ssl[] {
  const files = {
    ...(tls.ca === undefined ? {} : { ca: tls.ca }),
    ...(tls.certificate === undefined ? {} : { cert: tls.certificate }),
    ...(tls.key === undefined ? {} : { key: tls.key }),
    ...(tls.keyPassword === undefined ? {} : { passphrase: tls.keyPassword }),
  };
  const unverified = { ...files, rejectUnauthorized: false };
  switch (tls.mode) {
    case 'disable':
      return [false];
    case 'allow':
      return [false, unverified];
    case 'prefer':
      return [unverified, false];
    case 'require':
      return [unverified];
    case 'verify-ca':
      return [{ ...files, rejectUnauthorized: true, checkServerIdentity: () => undefined }];
    case 'verify-full':
      return [{ ...files, rejectUnauthorized: true }];
  }
}

export interface SessionOptions {
  readonly replication?: boolean;
  /** Shown in pg_stat_activity, so that an operator can tell our sessions apart. */
  readonly purpose: string;
}

/** Opens a session; an encrypted one first or last as `ssl_mode` says. */
export async function connect(
  config: PostgresSourceConfig,
  options: SessionOptions,
): Promise<pg.Client> {
  let failure: unknown;
  for (const ssl of sslAttempts(config.tls)) {
    try {
      return await connectOnce(config, options, ssl);
    } catch (error) {
      failure = error;
      if (!worthAnotherSslMode(error)) break;
    }
  }
  throw classify(failure, 'connecting to the source');
}

async function connectOnce(
  config: PostgresSourceConfig,
  options: SessionOptions,
  ssl: Ssl,
): Promise<pg.Client> {
  const client = new pg.Client({
    host: config.host,
    port: config.port,
    database: config.database,
    user: config.username,
    password: config.password ?? '',
    ssl: ssl ?? false,
    options: OPTIONS,
    client_encoding: 'UTF8',
    application_name: `headrace ${options.purpose}`,
    connectionTimeoutMillis: CONNECT_TIMEOUT_MS,
    keepAlive: true,
    ...(options.replication === true ? { replication: 'database' } : {}),
  } as pg.ClientConfig);
  // Without a listener a connection that breaks while idle would end the process; whoever uses the
  // session next gets the error.
  client.on('error', () => {});
  let serverEncoding = '';
  const { connection } = client as unknown as { connection: NodeJS.EventEmitter };
  connection.on('parameterStatus', (status: { parameterName: string; parameterValue: string }) => {
    if (status.parameterName === 'server_encoding') serverEncoding = status.parameterValue;
  });
  try {
    await client.connect();
    // Such a database checks nothing it stores, and would end the whole session at the first text
    // that is not UTF-8. Unconverted, that text stops only its own stream.
    if (serverEncoding === 'SQL_ASCII') await client.query(`SET client_encoding = 'SQL_ASCII'`);
  } catch (error) {
    client.end().catch(() => {});
    throw error;
  }
  return client;
}

/** pg_hba may want the other kind (28000), or the server has no TLS. A wrong password stays wrong. */
function worthAnotherSslMode(error: unknown): boolean {
  const state = sqlStateOf(error);
  const text = error instanceof Error ? error.message : '';
  return (
    state === '28000' ||
    state === 'ECONNRESET' ||
    /SSL|TLS/.test(text) ||
    /^ERR_SSL/.test(state ?? '')
  );
}

export function socketOf(client: pg.Client): Socket {
  return (client as unknown as { connection: { stream: Socket } }).connection.stream;
}

export function quoteIdentifier(name: string): string {
  return `"${name.replaceAll('"', '""')}"`;
}

export function quoteLiteral(text: string): string {
  return `'${text.replaceAll("'", "''")}'`;
}

export type Row = Record<string, unknown>;

/**
 * A session for questions beside the stream. It is opened when first needed and anew after it broke,
 * so that its loss does not end the capture. Values arrive as text or null.
 */
export class SideSession {
  private readonly config: PostgresSourceConfig;
  private readonly purpose: string;
  private client: Promise<pg.Client> | null = null;
  private closed = false;

  constructor(config: PostgresSourceConfig, purpose: string) {
    this.config = config;
    this.purpose = purpose;
  }

  async query(text: string, values: readonly unknown[] = []): Promise<Row[]> {
    return this.run({ text, values: [...values] });
  }

  /** For a question that is asked again and again: the server plans it once. */
  async prepared(name: string, text: string, values: readonly unknown[]): Promise<Row[]> {
    return this.run({ name, text, values: [...values] });
  }

  private async run(question: pg.QueryConfig): Promise<Row[]> {
    const client = await this.session();
    try {
      return (await client.query({ ...question, types: TEXT_TYPES })).rows as Row[];
    } catch (error) {
      throw classify(error, `${this.purpose} session`);
    }
  }

  async session(): Promise<pg.Client> {
    this.client ??= this.open();
    return this.client;
  }

  private async open(): Promise<pg.Client> {
    try {
      const client = await connect(this.config, { purpose: this.purpose });
      client.once('end', () => {
        this.client = null;
      });
      if (this.closed) await client.end();
      return client;
    } catch (error) {
      this.client = null;
      throw error;
    }
  }

  async close(): Promise<void> {
    this.closed = true;
    const client = await this.client?.catch(() => null);
    await client?.end().catch(() => {});
  }
}

/** Every value as the server printed it; pg's own parsers round and shift. */
export const TEXT_TYPES = {
  getTypeParser: () => (value: string) => value,
} as unknown as pg.CustomTypesConfig;
