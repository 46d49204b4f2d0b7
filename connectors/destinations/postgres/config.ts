import type { ClientConfig } from 'pg';
import { PipelineError } from '../../../core/errors/pipeline-error.ts';
import type { Rules } from '../../../schemas/normalize/rules.ts';

/** What a stream becomes: a typed table; raw documents; or those and tables made from them. */
export type Normalization = 'typed' | 'raw' | Rules;

export const DEFAULT_RAW_SCHEMA = 'airbyte_internal';

export interface PostgresTarget {
  /** Schema of streams without a namespace, and of our bookkeeping. */
  readonly schema: string;
  readonly softDeletes: boolean;
  readonly normalization: Normalization;
  /** Deduped streams of the classic rules keep the versions of their rows, too. */
  readonly keepsHistory: boolean;
  /** Schema of the raw tables of the v2 rules. */
  readonly rawSchema: string;
  /** A value that does not fit its column stops the stream; else it becomes NULL and is recorded. */
  readonly stopsAtMisfits: boolean;
  readonly client: ClientConfig;
  /** `prefer` and `allow` of the ssl mode: a server without TLS is taken in plain text. */
  readonly plainTextAllowed: boolean;
  /** For messages. */
  readonly address: string;
}

const CONNECT_TIMEOUT_MS = 10_000;
const KEEP_ALIVE_AFTER_MS = 10_000;

/** Reads Airbyte's configuration of a Postgres destination; throws CFG_INVALID_CONNECTOR. */
export function parseConfig(config: Record<string, unknown>): PostgresTarget {
  const host = required(config, 'host');
  const database = required(config, 'database');
  const user = required(config, 'username');
  const port = portOf(config['port']);
  refuseUnsupported(config);
  const tls = tlsOf(config);
  const password = config['password'];
  return {
    schema: optional(config, 'schema') ?? 'public',
    softDeletes: config['cdc_deletion_mode'] === 'soft',
    ...normalizationOf(config),
    rawSchema: optional(config, 'raw_data_schema') ?? DEFAULT_RAW_SCHEMA,
    stopsAtMisfits: stopsAtMisfits(config),
    plainTextAllowed: tls.plainTextAllowed,
    address: `${host}:${port}/${database}`,
    client: {
      host,
      port,
      database,
      user,
      // An empty string keeps the driver from looking for a password in files and environment.
      password: typeof password === 'string' ? password : '',
      ssl: tls.options,
      application_name: 'headrace',
      client_encoding: 'UTF8',
      connectionTimeoutMillis: CONNECT_TIMEOUT_MS,
      keepAlive: true,
      keepAliveInitialDelayMillis: KEEP_ALIVE_AFTER_MS,
    },
  };
}

function invalid(field: string, wanted: string): PipelineError {
  return new PipelineError('CFG_INVALID_CONNECTOR', `destination postgres: ${field} ${wanted}`, {
    details: { field },
  });
}

function optional(config: Record<string, unknown>, field: string): string | undefined {
  const value = config[field];
  if (value === undefined || value === null || value === '') return undefined;
  if (typeof value !== 'string') throw invalid(field, 'must be a text');
  return value;
}

function required(config: Record<string, unknown>, field: string): string {
  const value = optional(config, field);
  if (value === undefined) throw invalid(field, 'is missing');
  return value;
}

function portOf(value: unknown): number {
  const port = value === undefined ? 5432 : Number(value);
  if (!Number.isInteger(port) || port < 1 || port > 65535) {
    throw invalid('port', 'must be a number from 1 to 65535');
  }
  return port;
}

function refuseUnsupported(config: Record<string, unknown>): void {
  const mode = config['cdc_deletion_mode'];
  if (mode !== undefined && mode !== 'hard' && mode !== 'soft') {
    throw invalid('cdc_deletion_mode', 'must be "hard" or "soft"');
  }
  const tunnel = config['tunnel_method'] as { tunnel_method?: unknown } | undefined;
  if (tunnel?.tunnel_method !== undefined && tunnel.tunnel_method !== 'NO_TUNNEL') {
    throw invalid('tunnel_method', 'other than NO_TUNNEL is not supported');
  }
}

function stopsAtMisfits(config: Record<string, unknown>): boolean {
  // YAML reads the word null as nothing.
  const policy = config['values_that_do_not_fit'] ?? 'null';
  if (policy !== 'null' && policy !== 'stop') {
    throw invalid('values_that_do_not_fit', 'must be "null" or "stop"');
  }
  return policy === 'stop';
}

type NormalizationChoice = Pick<PostgresTarget, 'normalization' | 'keepsHistory'>;

/** `normalization` or the guide's label for it: a name, a switch, or an object that holds them. */
function normalizationOf(config: Record<string, unknown>): NormalizationChoice {
  const given = choiceOf(config['normalization'] ?? config['Normalization']);
  const { normalization, keepsHistory } = given;
  if (keepsHistory && normalization !== 'classic') {
    throw invalid('normalization.scd', 'needs the option "classic"');
  }
  if (config['disable_type_dedupe'] !== true) return given;
  if (normalization === 'typed' || normalization === 'raw') {
    return { normalization: 'raw', keepsHistory };
  }
  throw invalid('disable_type_dedupe', 'leaves raw tables only; it excludes normalization');
}

const NORMALIZATIONS: Readonly<Record<string, Normalization>> = {
  true: 'basic',
  basic: 'basic',
  'basic normalization': 'basic',
  classic: 'classic',
  v2: 'v2',
  false: 'raw',
  none: 'raw',
  off: 'raw',
  raw: 'raw',
  disabled: 'raw',
};

function choiceOf(given: unknown): NormalizationChoice {
  if (given === undefined || given === null) return { normalization: 'typed', keepsHistory: false };
  const fields = typeof given === 'object' ? fieldsOf(given) : new Map([['option', given]]);
  const enabled = fields.get('enabled') ?? fields.get('enable');
  const option = enabled === false ? false : (fields.get('option') ?? enabled);
  const normalization = NORMALIZATIONS[String(option).toLowerCase()];
  if (normalization === undefined) {
    throw invalid('normalization', 'must be "basic", "classic", "v2" or "none"');
  }
  const scd = fields.get('scd') ?? false;
  if (typeof scd !== 'boolean') throw invalid('normalization.scd', 'must be true or false');
  return { normalization, keepsHistory: scd };
}

function fieldsOf(given: object): Map<string, unknown> {
  return new Map(Object.entries(given).map(([name, value]) => [name.toLowerCase(), value]));
}

interface Tls {
  readonly options: ClientConfig['ssl'];
  readonly plainTextAllowed: boolean;
}

function tlsOf(config: Record<string, unknown>): Tls {
  const given = (config['ssl_mode'] ?? {}) as Record<string, unknown>;
  const mode = given['mode'] ?? (config['ssl'] === true ? 'require' : 'disable');
  const pem = (field: string) => optional(given, field);
  const certificates = {
    ...(pem('client_certificate') === undefined ? {} : { cert: pem('client_certificate') }),
    ...(pem('client_key') === undefined ? {} : { key: pem('client_key') }),
    ...(pem('client_key_password') === undefined ? {} : { passphrase: pem('client_key_password') }),
  };
  const unverified = { ...certificates, rejectUnauthorized: false };
  const verified = { ...certificates, ca: pem('ca_certificate'), rejectUnauthorized: true };
  switch (mode) {
    case 'disable':
      return { options: false, plainTextAllowed: true };
    case 'allow':
    case 'prefer':
      return { options: unverified as ClientConfig['ssl'], plainTextAllowed: true };
    case 'require':
      return { options: unverified as ClientConfig['ssl'], plainTextAllowed: false };
    case 'verify-ca':
      return {
        options: { ...verified, checkServerIdentity: () => undefined } as ClientConfig['ssl'],
        plainTextAllowed: false,
      };
    case 'verify-full':
      return { options: verified as ClientConfig['ssl'], plainTextAllowed: false };
    default:
      throw invalid(
        'ssl_mode.mode',
        'must be one of disable, allow, prefer, require, verify-ca, verify-full',
      );
  }
}
