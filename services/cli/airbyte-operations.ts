import type { OperationEntry } from './config-file.ts';

type Fields = Readonly<Record<string, unknown>>;

/** What of each kind there is here; Airbyte's files hold more. */
const PARTS = {
  normalization: ['option'],
  dbt: ['gitRepoUrl', 'gitRepoBranch', 'dockerImage', 'dbtArguments'],
  webhook: ['executionUrl', 'executionBody'],
} as const;

/** A connection's operations as entries of a file for `headrace apply`; those it cannot say become
 * notes. */
export function operationsOf(
  { operations }: Fields,
  connection: string,
  notes: string[],
): { operations?: OperationEntry[] } {
  if (!Array.isArray(operations) || operations.length === 0) return {};
  const entries = operations.flatMap((given: Fields) => {
    const entry = entryOf(given);
    if (typeof entry !== 'string') return [entry];
    const name = String(given['name'] ?? given['operationId']);
    notes.push(`${connection}: its operation ${name} is not in the file: ${entry}`);
    return [];
  });
  return entries.length === 0 ? {} : { operations: entries };
}

/** A text says why there is none. */
function entryOf({ name, operatorConfiguration }: Fields): OperationEntry | string {
  if (typeof name !== 'string') return 'the answer of operations/list is missing';
  const given = (operatorConfiguration ?? {}) as Fields;
  const operatorType = String(given['operatorType']);
  if (!isKind(operatorType)) return `there is no type ${operatorType} here`;
  const part = partOf(operatorType, (given[operatorType] ?? {}) as Fields);
  if (operatorType === 'webhook' && part['executionUrl'] === undefined) {
    return "dbt Cloud's own jobs are not served";
  }
  if (operatorType === 'dbt' && part['gitRepoUrl'] === undefined) return 'it names no project';
  const configuration = { operatorType, [operatorType]: part };
  return { name, operatorConfiguration: configuration as OperationEntry['operatorConfiguration'] };
}

function isKind(word: string): word is keyof typeof PARTS {
  return Object.hasOwn(PARTS, word);
}

function partOf(kind: keyof typeof PARTS, given: Fields): Fields {
  const fields = PARTS[kind].filter((field) => typeof given[field] === 'string');
  return Object.fromEntries(fields.map((field) => [field, given[field]]));
}
