import { parse } from 'yaml';
import { PipelineError } from '../errors/pipeline-error.ts';
import { nearest } from './nearest.ts';
import { cpuCores, memoryBytes } from './quantity.ts';

/** What a process works for; each has limits of its own. */
export const RESOURCE_GROUPS = ['source', 'destination', 'orchestrator'] as const;
export type ResourceGroup = (typeof RESOURCE_GROUPS)[number];

const FIELDS = ['cpu_request', 'cpu_limit', 'memory_request', 'memory_limit'] as const;
type Field = (typeof FIELDS)[number];

/** Cores and bytes; a field that nobody has set is absent. */
export type Resources = { readonly [F in Field]?: number };

/** An amount as it was written, and where. */
interface Written {
  readonly text: string;
  readonly where: string;
}
type WrittenResources = { readonly [F in Field]?: Written };

export interface ResourcesFile {
  /** As people know it, for messages. */
  readonly path: string;
  readonly text: string;
}

/**
 * Airbyte's limits by group: of the environment (`JOB_MAIN_CONTAINER_MEMORY_LIMIT` and its three
 * companions, for sources and destinations), else of the `resources` in its config.yaml. Throws
 * CFG_INVALID_SETTING with a line for each amount that cannot be read, or is above its limit.
 */
export function loadResources(
  env: Readonly<Record<string, string | undefined>>,
  file: ResourcesFile | null,
): Readonly<Record<ResourceGroup, Resources>> {
  const wrong: string[] = [];
  const inFile = file === null ? {} : readFile(file, wrong);
  const groups = RESOURCE_GROUPS.map((group) => {
    const written = { ...inFile[group], ...(group === 'orchestrator' ? {} : ofEnvironment(env)) };
    return [group, amounts(written, wrong)] as const;
  });
  if (wrong.length > 0) {
    throw new PipelineError('CFG_INVALID_SETTING', [...new Set(wrong)].join('\n'));
  }
  return Object.fromEntries(groups) as Record<ResourceGroup, Resources>;
}

function ofEnvironment(env: Readonly<Record<string, string | undefined>>): WrittenResources {
  return Object.fromEntries(
    FIELDS.flatMap((field) => {
      const where = `JOB_MAIN_CONTAINER_${field.toUpperCase()}`;
      const text = env[where]?.trim() ?? '';
      return text === '' ? [] : [[field, { text, where }] as const];
    }),
  );
}

type Groups = { readonly [G in ResourceGroup]?: WrittenResources };

function readFile(file: ResourcesFile, wrong: string[]): Groups {
  const document = parseYaml(file);
  const resources = entriesOf(document)['resources'] ?? {};
  refuseUnknown(resources, RESOURCE_GROUPS, `${file.path}: resources`, wrong);
  return Object.fromEntries(
    RESOURCE_GROUPS.map((group) => {
      const where = `${file.path}: resources.${group}`;
      const given = entriesOf(resources)[group] ?? {};
      refuseUnknown(given, FIELDS, where, wrong);
      const written = FIELDS.flatMap((field) => {
        const value = entriesOf(given)[field];
        const text = typeof value === 'number' ? String(value) : (value ?? '');
        if (typeof text === 'string' && text.trim() === '') return [];
        const at = `${where}.${field}`;
        return [
          [field, { text: typeof text === 'string' ? text.trim() : '{}', where: at }] as const,
        ];
      });
      return [group, Object.fromEntries(written)] as const;
    }),
  );
}

function parseYaml({ path, text }: ResourcesFile): unknown {
  try {
    return parse(text);
  } catch (cause) {
    throw new PipelineError(
      'CFG_INVALID_SETTING',
      `${path}: it is not YAML: ${(cause as Error).message.split('\n', 1)[0]}`,
      { cause },
    );
  }
}

function entriesOf(value: unknown): Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
    ? (value as Record<string, unknown>)
    : {};
}

/** A misspelt name that was passed over would leave a process without its limit. */
function refuseUnknown(
  given: unknown,
  known: readonly string[],
  where: string,
  wrong: string[],
): void {
  if (typeof given !== 'object' || given === null || Array.isArray(given)) {
    wrong.push(`${where} is not a mapping`);
    return;
  }
  for (const name of Object.keys(given).filter((each) => !known.includes(each))) {
    wrong.push(`${where}.${name} is not known; did you mean ${nearest(name, known)}?`);
  }
}

function amounts(written: WrittenResources, wrong: string[]): Resources {
  const read: { [F in Field]?: number } = {};
  for (const field of FIELDS) {
    const given = written[field];
    if (given === undefined) continue;
    const isMemory = field.startsWith('memory');
    const amount = isMemory ? memoryBytes(given.text) : cpuCores(given.text);
    const example = isMemory ? '512Mi, 1Gi or bytes' : '0.25, 1 or 250m';
    if (amount === null) wrong.push(`${given.where} is "${given.text}", which is not ${example}`);
    else read[field] = amount;
  }
  for (const kind of ['cpu', 'memory'] as const) {
    const [request, limit] = [`${kind}_request`, `${kind}_limit`] as const;
    if ((read[request] ?? 0) <= (read[limit] ?? Infinity)) continue;
    wrong.push(
      `${written[request]?.where} is "${written[request]?.text}", more than ` +
        `${written[limit]?.where}, "${written[limit]?.text}"`,
    );
  }
  return read;
}
