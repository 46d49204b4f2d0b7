import { cpuCores, memoryBytes } from '../../core/config/quantity.ts';
import { InvalidRequest, type ValidationError } from './request-body.ts';

const KINDS = [
  { kind: 'cpu', amount: cpuCores, form: '0.25, 1 or 250m' },
  { kind: 'memory', amount: memoryBytes, form: '512Mi, 1Gi or bytes' },
] as const;

/**
 * Throws InvalidRequest for a connection's `resourceRequirements` that are no amounts, or ask for more
 * than their own limit. An empty text means none, as in Airbyte.
 */
export function checkResourceRequirements(requirements: unknown): void {
  const given = (requirements ?? {}) as Readonly<Record<string, unknown>>;
  const errors = KINDS.flatMap(({ kind, amount, form }) => {
    const read = (field: string): number | null | undefined => {
      const text = given[field];
      if (text === undefined || text === null || text === '') return undefined;
      return typeof text === 'string' || typeof text === 'number' ? amount(String(text)) : null;
    };
    const fields = [`${kind}_request`, `${kind}_limit`] as const;
    const [request, limit] = [read(fields[0]), read(fields[1])];
    const unread = fields.filter((field) => read(field) === null);
    if (unread.length > 0) return unread.map((field) => wrong(field, `is not ${form}`));
    return (request ?? 0) > (limit ?? Infinity) ? [wrong(fields[0], `is above ${fields[1]}`)] : [];
  });
  if (errors.length > 0) throw new InvalidRequest(errors);
}

function wrong(field: string, message: string): ValidationError {
  return { propertyPath: `resourceRequirements.${field}`, message };
}
