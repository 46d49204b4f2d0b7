import { PipelineError } from '../../../core/errors/pipeline-error.ts';

export type SslMode = 'disable' | 'allow' | 'prefer' | 'require' | 'verify-ca' | 'verify-full';

export interface TlsConfig {
  readonly mode: SslMode;
  readonly ca?: string;
  readonly certificate?: string;
  readonly key?: string;
  readonly keyPassword?: string;
}

export interface CaptureConfig {
  readonly slot: string;
  readonly publication: string;
  /** Tables without a replica identity: a publication that publishes no updates cannot break them. */
  readonly insertsPublication: string;
  readonly create: boolean;
  /** How long the creation of a slot may wait for running transactions. */
  readonly waitingSeconds: number;
}

export interface PostgresSourceConfig {
  readonly host: string;
  readonly port: number;
  readonly database: string;
  readonly username: string;
  readonly password: string | undefined;
  readonly schemas: readonly string[];
  readonly tls: TlsConfig;
  /** Null when the configuration does not ask for CDC. */
  readonly capture: CaptureConfig | null;
}

/** Labels of the guide's form, beside Airbyte's own keys. */
const ALIASES: Readonly<Record<string, string>> = {
  hôte: 'host',
  hote: 'host',
  'db name': 'database',
  'database name': 'database',
  db_name: 'database',
  user: 'username',
  utilisateur: 'username',
  'mot de passe': 'password',
  schéma: 'schemas',
  schema: 'schemas',
  'ssl mode': 'ssl_mode',
  'ssl modes': 'ssl_mode',
  'replication method': 'replication_method',
  'méthode réplication': 'replication_method',
  'méthode de réplication': 'replication_method',
  'replication slot': 'replication_slot',
};

function withAliases(config: Record<string, unknown>): Record<string, unknown> {
  const result: Record<string, unknown> = {};
  for (const [name, value] of Object.entries(config)) {
    result[ALIASES[name.toLowerCase()] ?? (/[A-Z ]/.test(name) ? name.toLowerCase() : name)] =
      value;
  }
  return result;
}

export function parseConfig(raw: Record<string, unknown>): PostgresSourceConfig {
  const config = withAliases(raw);
  refuseTunnel(config['tunnel_method']);
  return {
    host: text(config, 'host'),
    port: port(config),
    database: text(config, 'database'),
    username: text(config, 'username'),
    password: optionalText(config, 'password'),
    schemas: schemas(config['schemas']),
    tls: tls(config['ssl_mode']),
    capture: capture(config['replication_method']),
  };
}

function invalid(field: string, wanted: string): PipelineError {
  return new PipelineError('CFG_INVALID_CONNECTOR', `${field}: ${wanted}`, { details: { field } });
}

function optionalText(config: Record<string, unknown>, field: string): string | undefined {
  const value = config[field];
  if (value === undefined || value === null) return undefined;
  if (typeof value !== 'string') throw invalid(field, 'must be a text');
  return value;
}

function text(config: Record<string, unknown>, field: string, path = field): string {
  const value = optionalText(config, field);
  if (value === undefined || value === '') throw invalid(path, 'is required');
  return value;
}

function port(config: Record<string, unknown>): number {
  const value = Number(config['port'] ?? 5432);
  if (!Number.isInteger(value) || value < 1 || value > 65535) {
    throw invalid('port', 'must be a whole number from 1 to 65535');
  }
  return value;
}

function schemas(value: unknown): readonly string[] {
  if (value === undefined || value === null) return ['public'];
  const list = typeof value === 'string' ? value.split(',').map((name) => name.trim()) : value;
  if (!Array.isArray(list) || list.some((name) => typeof name !== 'string' || name === '')) {
    throw invalid('schemas', 'must be a list of schema names');
  }
  return list.length === 0 ? ['public'] : (list as string[]);
}

const SSL_MODES: readonly SslMode[] = [
  'disable',
  'allow',
  'prefer',
  'require',
  'verify-ca',
  'verify-full',
];

function tls(value: unknown): TlsConfig {
  const given = (typeof value === 'string' ? { mode: value } : (value ?? {})) as Record<
    string,
    unknown
  >;
  const mode = (optionalText(given, 'mode') ?? 'prefer').replace('_', '-') as SslMode;
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

function capture(value: unknown): CaptureConfig | null {
  if (value === undefined || value === null) return null;
  const given = withAliases(
    (typeof value === 'string' ? { method: value } : value) as Record<string, unknown>,
  );
  const method = text(given, 'method', 'replication_method.method');
  if (/^(standard|xmin)$/i.test(method)) return null;
  if (!/^(cdc|logical replication \(cdc\))$/i.test(method)) {
    throw invalid('replication_method.method', 'must be CDC, Standard or Xmin');
  }
  const plugin = optionalText(given, 'plugin') ?? 'pgoutput';
  if (plugin !== 'pgoutput') throw invalid('replication_method.plugin', 'must be pgoutput');
  const slot = text(given, 'replication_slot', 'replication_method.replication_slot');
  if (!/^[a-z0-9_]{1,63}$/.test(slot)) {
    throw invalid(
      'replication_method.replication_slot',
      'may hold lower-case letters, digits and underscores only',
    );
  }
  const publication = text(given, 'publication', 'replication_method.publication');
  return {
    slot,
    publication,
    insertsPublication: `${publication}_inserts`,
    create: given['create'] === true,
    waitingSeconds: Number(given['initial_waiting_seconds'] ?? 1200),
  };
}

function refuseTunnel(value: unknown): void {
  const given = value as { tunnel_method?: unknown } | null | undefined;
  const method = given?.tunnel_method ?? 'NO_TUNNEL';
  if (method !== 'NO_TUNNEL') {
    throw invalid(
      'tunnel_method',
      'SSH tunnels are not supported; open one outside and point here',
    );
  }
}

/** The capture part, for what cannot work without it. */
export function captureOf(config: PostgresSourceConfig): CaptureConfig {
  if (config.capture === null) {
    throw new PipelineError(
      'CFG_INVALID_CONNECTOR',
      'replication_method.method: must be CDC for streams that are read continuously',
      { details: { field: 'replication_method.method' } },
    );
  }
  return config.capture;
}
