import { isDeepStrictEqual } from 'node:util';
import { Compile } from 'typebox/schema';
import { isSecretReference } from '../../core/config/secret-references.ts';
import { PipelineError } from '../../core/errors/pipeline-error.ts';
import type { ConnectorSpec } from '../../connectors/spi/connector.ts';
import { mapSecrets } from '../../connectors/spi/secret-fields.ts';
import { describe } from './request-body.ts';

type Config = Record<string, unknown>;
type Schema = Record<string, unknown>;

/** Airbyte's mask; a client that sends it back means "as it was". */
export const SECRET_MASK = '**********';

/** Fields that say who is asked, as whom, and how safely. */
const WHERE =
  /^(host|port|user|username|database_config|connection_string|ssl.*|tls.*|tunnel.*|.*url.*|.*endpoint)$/i;

/** Throws CFG_INVALID_CONNECTOR (422) naming each field that does not fit the specification; values
 * are never quoted (invariant 8). */
export function checkConfig(spec: ConnectorSpec, config: Config): void {
  const schema = Compile(withoutDefaulted(spec.connectionSpecification) as never);
  if (schema.Check(config)) return;
  const [, errors] = schema.Errors(config);
  const fields = errors.flatMap(describe).map((each) => `$.${each.propertyPath}: ${each.message}`);
  throw new PipelineError(
    'CFG_INVALID_CONNECTOR',
    `The configuration does not fit the specification of ${spec.title}. ${[...new Set(fields)].join('; ')}`,
    { details: { connector: spec.name } },
  );
}

/** A form fills a field that has a default, a script leaves it out: it is not required then. */
function withoutDefaulted(schema: Schema): Schema {
  const properties = (schema['properties'] ?? {}) as Record<string, Schema>;
  const required = (schema['required'] ?? []) as string[];
  return {
    ...schema,
    required: required.filter((name) => properties[name]?.['default'] === undefined),
  };
}

/** The configuration exactly as given, secrets replaced by the mask (invariant 8). A reference to a
 * secret is none. */
export function maskSecrets(spec: ConnectorSpec, config: Config): Config {
  return mapSecrets(spec, config, (value) =>
    value === '' || isSecretReference(value) ? value : SECRET_MASK,
  );
}

/**
 * Puts the stored secrets where the mask stands. Throws CFG_INVALID_CONNECTOR where none is stored,
 * and CFG_SECRET_NEEDED when host, port, user or TLS change with it: whoever may edit a
 * configuration could send the stored password to a server of their own.
 */
export function unmaskSecrets(config: Config, stored: Config): Config {
  const unmasked = unmask(config, stored, []) as Config;
  const kept = maskedPaths(config, []);
  const moved = changedPaths(stored, unmasked).find((path) =>
    path.split('.').some((part) => WHERE.test(part)),
  );
  if (kept[0] === undefined || moved === undefined) return unmasked;
  throw new PipelineError(
    'CFG_SECRET_NEEDED',
    `$.${moved} changes: $.${kept[0]} must be entered again`,
    { details: { field: kept[0] } },
  );
}

function maskedPaths(value: unknown, path: string[]): string[] {
  if (value === SECRET_MASK) return [path.join('.')];
  if (typeof value !== 'object' || value === null) return [];
  return Object.entries(value).flatMap(([name, each]) => maskedPaths(each, [...path, name]));
}

/** Dotted names of the fields in which two values differ, in the order of the second. */
export function changedPaths(before: unknown, after: unknown, path: string[] = []): string[] {
  if (isObject(before) && isObject(after)) {
    const names = new Set([...Object.keys(after), ...Object.keys(before)]);
    return [...names].flatMap((name) => changedPaths(before[name], after[name], [...path, name]));
  }
  return isDeepStrictEqual(before, after) ? [] : [path.join('.')];
}

function unmask(value: unknown, stored: unknown, path: string[]): unknown {
  if (value === SECRET_MASK) {
    if (stored !== undefined) return stored;
    throw new PipelineError(
      'CFG_INVALID_CONNECTOR',
      `$.${path.join('.')}: is masked, and no value is stored for it`,
    );
  }
  if (Array.isArray(value)) {
    const old = Array.isArray(stored) ? (stored as unknown[]) : [];
    return value.map((each, i) => unmask(each, old[i], [...path, String(i)]));
  }
  if (!isObject(value)) return value;
  const old = isObject(stored) ? stored : {};
  return Object.fromEntries(
    Object.entries(value).map(([name, each]) => [name, unmask(each, old[name], [...path, name])]),
  );
}

function isObject(value: unknown): value is Config {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
