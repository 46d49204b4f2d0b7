import Type, { type Static, type TSchema } from 'typebox';
import { Compile } from 'typebox/schema';
import { PipelineError } from '../../core/errors/pipeline-error.ts';

const UUID = '^[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}$';

/** Field types that requests are made of. Unknown fields pass: clients of other versions send more. */
export const Uuid = Type.String({ pattern: UUID });
/** A workspace's id, or its slug `default` as Airbyte's older documentation writes it. */
export const WorkspaceRef = Type.String({ minLength: 1 });
export const Json = Type.Record(Type.String(), Type.Unknown());
export const Text = Type.String();

/** One thing that is wrong with a request, in Airbyte's shape. The value is never echoed: it may be
 * a secret (invariant 8). */
export interface ValidationError {
  readonly propertyPath: string;
  readonly message: string;
}

/** API_INVALID_REQUEST with the list that a 400's body carries. */
export class InvalidRequest extends PipelineError {
  readonly validationErrors: readonly ValidationError[];

  constructor(errors: readonly ValidationError[]) {
    const listed = errors.map((error) => `${error.propertyPath} ${error.message}`).join('; ');
    super('API_INVALID_REQUEST', listed === '' ? 'The request is not valid' : listed);
    this.validationErrors = errors;
  }
}

export type BodyReader<T> = (body: unknown) => T;

/** Compiles a request's shape. The reader treats null as absent, as Airbyte does, and throws
 * API_MALFORMED_JSON for anything but an object, InvalidRequest for a wrong or missing field. */
export function bodyReader<S extends TSchema>(schema: S): BodyReader<Static<S>> {
  const compiled = Compile(schema);
  return (body) => {
    const given = withoutNulls(body ?? {});
    if (compiled.Check(given)) return given as Static<S>;
    const [, errors] = compiled.Errors(given);
    throw new InvalidRequest(errors.flatMap(describe));
  };
}

function withoutNulls(body: unknown): Record<string, unknown> {
  if (typeof body !== 'object' || body === null || Array.isArray(body)) {
    throw new PipelineError('API_MALFORMED_JSON', 'Invalid json: the body must be one object');
  }
  return Object.fromEntries(Object.entries(body).filter(([, value]) => value !== null));
}

interface SchemaError {
  readonly keyword: string;
  readonly instancePath: string;
  readonly params: object;
  readonly message: string;
}

/** A JSON-schema error as path and sentence. Of a choice between shapes only the field is named:
 * which of its branches was meant is not known. */
export function describe(error: SchemaError): ValidationError[] {
  const path = error.instancePath.slice(1).replaceAll('/', '.');
  if (error.keyword === 'required') {
    const { requiredProperties } = error.params as { requiredProperties: string[] };
    return requiredProperties.map((name) => ({
      propertyPath: path === '' ? name : `${path}.${name}`,
      message: 'is required',
    }));
  }
  const message = error.keyword === 'pattern' ? 'has not the right form' : error.message;
  return [{ propertyPath: path, message }];
}
