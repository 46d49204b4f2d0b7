import type { ConnectorSpec } from './connector.ts';

type Config = Record<string, unknown>;
type Schema = Record<string, unknown>;

/** Names that hold a secret wherever they stand, marked in the specification or not. */
const SECRET_NAME = /password|token|secret|ssh_key|credentials_json|access_key_id/i;

/** The configuration with each secret replaced: fields that the specification marks, at any depth and
 * in any branch, and texts under a name that says so. */
export function mapSecrets(
  spec: Pick<ConnectorSpec, 'connectionSpecification'>,
  config: Config,
  secret: (value: unknown) => unknown,
): Config {
  return mapFields([spec.connectionSpecification], config, secret);
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

function isObject(value: unknown): value is Config {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
