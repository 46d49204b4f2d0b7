import { PipelineError } from '../../../core/errors/pipeline-error.ts';

export const SSL_MODES = [
  'disabled',
  'preferred',
  'required',
  'verify_ca',
  'verify_identity',
] as const;
export type SslMode = (typeof SSL_MODES)[number];

export interface MysqlSourceConfig {
  readonly host: string;
  readonly port: number;
  readonly database: string;
  readonly username: string;
  readonly password: string | undefined;
  readonly tls: {
    readonly mode: SslMode;
    readonly ca?: string;
    readonly certificate?: string;
    readonly key?: string;
    readonly keyPassword?: string;
  };
  /** Whether the configuration asks for CDC. */
  readonly capture: boolean;
  /** How long a first copy may wait for XA transactions that are prepared. */
  readonly waitingSeconds: number;
  /** Sessions that share the first copy. */
  readonly concurrency: number;
  /** Of an incremental read by a time: it begins so far below the highest value of the one before. */
  readonly cursorOverlapSeconds: number;
}

export const DEFAULT_OVERLAP_SECONDS = 300;
export const DEFAULT_WAITING_SECONDS = 1200;
export const DEFAULT_CONCURRENCY = 2;
export const MAX_CONCURRENCY = 16;

function invalid(field: string, wanted: string): PipelineError {
  return new PipelineError('CFG_INVALID_CONNECTOR', `${field}: ${wanted}`, { details: { field } });
}

function optionalText(config: Record<string, unknown>, field: string): string | undefined {
  const value = config[field];
  if (value === undefined || value === null) return undefined;
  if (typeof value !== 'string') throw invalid(field, 'must be a text');
  return value;
}

function text(config: Record<string, unknown>, field: string): string {
  const value = optionalText(config, field);
  if (value === undefined || value === '') throw invalid(field, 'is required');
  return value;
}

function port(config: Record<string, unknown>): number {
  const value = Number(config['port'] ?? 3306);
  if (!Number.isInteger(value) || value < 1 || value > 65535) {
    throw invalid('port', 'must be a whole number from 1 to 65535');
  }
  return value;
}

function objectOf(value: unknown, name: string): Record<string, unknown> {
  return (typeof value === 'string' ? { [name]: value } : (value ?? {})) as Record<string, unknown>;
}

function tls(value: unknown): MysqlSourceConfig['tls'] {
  const given = objectOf(value, 'mode');
  const mode = (optionalText(given, 'mode') ?? 'preferred') as SslMode;
  if (!SSL_MODES.includes(mode)) {
    throw invalid('ssl_mode.mode', `must be one of ${SSL_MODES.join(', ')}`);
  }
  const ca = optionalText(given, 'ca_certificate');
  const certificate = optionalText(given, 'client_certificate');
  const key = optionalText(given, 'client_key');
  const keyPassword = optionalText(given, 'client_key_password');
  return {
    mode,
    ...(ca ? { ca } : {}),
    ...(certificate ? { certificate } : {}),
    ...(key ? { key } : {}),
    ...(keyPassword ? { keyPassword } : {}),
  };
}

function capture(value: unknown): boolean {
  if (value === undefined || value === null) return false;
  const method = text(objectOf(value, 'method'), 'method');
  if (/^standard$/i.test(method)) return false;
  if (/^cdc$/i.test(method)) return true;
  throw invalid('replication_method.method', 'must be CDC or STANDARD');
}

function overlap(method: unknown): number {
  const seconds = Number(
    objectOf(method, 'method')['cursor_overlap_seconds'] ?? DEFAULT_OVERLAP_SECONDS,
  );
  if (!Number.isInteger(seconds) || seconds < 0 || seconds > 604_800) {
    throw invalid(
      'replication_method.cursor_overlap_seconds',
      'must be a whole number from 0 to 604800, a week',
    );
  }
  return seconds;
}

function waiting(method: unknown): number {
  const given = objectOf(method, 'method')['initial_waiting_seconds'];
  const seconds = Number(given ?? DEFAULT_WAITING_SECONDS);
  if (Number.isInteger(seconds) && seconds >= 1 && seconds <= 86_400) return seconds;
  throw invalid(
    'replication_method.initial_waiting_seconds',
    'must be a whole number from 1 to 86400, a day',
  );
}

function concurrency(value: unknown): number {
  const sessions = Number(value ?? DEFAULT_CONCURRENCY);
  if (Number.isInteger(sessions) && sessions >= 1 && sessions <= MAX_CONCURRENCY) return sessions;
  throw invalid('concurrency', `must be a whole number from 1 to ${MAX_CONCURRENCY}`);
}

export function parseConfig(config: Record<string, unknown>): MysqlSourceConfig {
  const tunnel = config['tunnel_method'] as { tunnel_method?: unknown } | null | undefined;
  if ((tunnel?.tunnel_method ?? 'NO_TUNNEL') !== 'NO_TUNNEL') {
    throw invalid('tunnel_method', 'SSH tunnels are not supported; open one outside');
  }
  return {
    host: text(config, 'host'),
    port: port(config),
    database: text(config, 'database'),
    username: text(config, 'username'),
    password: optionalText(config, 'password'),
    tls: tls(config['ssl_mode']),
    capture: capture(config['replication_method']),
    waitingSeconds: waiting(config['replication_method']),
    concurrency: concurrency(config['concurrency']),
    cursorOverlapSeconds: overlap(config['replication_method']),
  };
}
