import { Compile } from 'typebox/schema';
import { PipelineError } from '../../core/errors/pipeline-error.ts';
import type { ConnectorSpec } from '../../connectors/spi/connector.ts';
import { describe } from './request-body.ts';

type Config = Record<string, unknown>;
type Schema = Record<string, unknown>;

/** Airbyte's mask; a client that sends it back means "as it was". */
export const SECRET_MASK = '**********';

/** Names that hold a secret wherever they stand, marked in the specification or not. */
const SECRET_NAME = /password|token|secret|ssh_key|credentials_json|access_key_id/i;

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

/** The configuration exactly as given, secrets replaced by the mask (invariant 8). */
export function maskSecrets(spec: ConnectorSpec, config: Config): Config {
  return mapFields([spec.connectionSpecification], config, (value) =>
    value === '' ? '' : SECRET_MASK,
  );
}

/** Puts the stored secrets where the mask stands. Throws CFG_INVALID_CONNECTOR where none is. */
export function unmaskSecrets(config: Config, stored: Config): Config {
  return unmask(config, stored, []) as Config;
}

function mapFields(schemas: Schema[], value: Config, secret: (value: unknown) => unknown): Config {
  const branches = schemas.flatMap(withBranches);
  return Object.fromEntries(
    Object.entries(value).map(([name, field]) => {
      const described = branches.flatMap((branch) => {
        const property = (branch['properties'] as Record<string, Schema> | undefined)?.[name];
        return property === undefined ? [] : [property];
      });
      const marked = described.some((each) => each['airbyte_secret'] === true);
      const named = typeof field === 'string' && SECRET_NAME.test(name);
      return [name, marked || named ? secret(field) : mapValue(described, field, secret)];
    }),
  );
}

function mapValue(schemas: Schema[], value: unknown, secret: (value: unknown) => unknown): unknown {
  if (Array.isArray(value)) {
    const items = schemas.flatMap((each) => (isObject(each['items']) ? [each['items']] : []));
    return value.map((each) => mapValue(items, each, secret));
  }
  return isObject(value) ? mapFields(schemas, value, secret) : value;
}

function withBranches(schema: Schema): Schema[] {
  const branches = ['oneOf', 'anyOf', 'allOf'].flatMap(
    (word) => (schema[word] as Schema[] | undefined) ?? [],
  );
  return [schema, ...branches.flatMap(withBranches)];
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
