import { readdir, readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { parse } from 'yaml';
import { PipelineError } from '../../core/errors/pipeline-error.ts';
import { mapSecrets } from '../../connectors/spi/secret-fields.ts';
import type { ActorEntry, ConfigDocument, ConnectionEntry } from './config-file.ts';
import { CONNECTION_FIELDS } from './config-file.ts';
import { operationsOf } from './airbyte-operations.ts';
import { streamEntries, type DeployedConnection, type Kind } from './deployed-config.ts';

type Fields = Readonly<Record<string, unknown>>;

export interface Imported {
  readonly file: ConfigDocument;
  /** What the file cannot say, one sentence each. */
  readonly notes: readonly string[];
}

/** Where a variable of Airbyte's is read from when it becomes a reference. */
export interface Variables {
  /** Of a variable; undefined when it is not set. */
  valueOf(name: string): string | undefined;
  /** HEADRACE_SECRET_ENV_PREFIX. */
  readonly secretPrefix: string;
}

/** A source, a destination or a connection as Airbyte has it, whichever way it was written down. */
interface Found {
  readonly sources: ActorEntry[];
  readonly destinations: ActorEntry[];
  readonly connections: ConnectionEntry[];
  readonly notes: string[];
}

/**
 * What an Airbyte holds as a file for `headrace apply`: of a folder of octavia's, or of files with the
 * answers of `sources/list`, `destinations/list`, `connections/list` and `operations/list`. Throws
 * CFG_INVALID_FILE.
 */
export async function importAirbyte(
  paths: readonly string[],
  variables: Variables,
): Promise<Imported> {
  const found: Found = { sources: [], destinations: [], connections: [], notes: [] };
  const answers: Record<string, Fields[]> = {};
  for (const path of paths) {
    if (await isFolder(path)) await readOctavia(path, variables, found);
    else await readAnswers(path, answers);
  }
  takeAnswers(answers, found);
  const { notes, ...file } = found;
  if (Object.values(file).every((entries) => entries.length === 0)) {
    throw invalid(paths.join(', '), 'holds no source, destination or connection of Airbyte');
  }
  return { file, notes };
}

async function isFolder(path: string): Promise<boolean> {
  try {
    return (await stat(path)).isDirectory();
  } catch (cause) {
    throw invalid(path, 'cannot be read', cause);
  }
}

async function readOctavia(root: string, variables: Variables, found: Found): Promise<void> {
  const names = new Map<string, string>();
  for (const kind of ['source', 'destination'] as const) {
    for (const [path, given] of await octaviaFiles(root, `${kind}s`)) {
      const name = textOf(given, 'resource_name', path);
      names.set(path, name);
      const configuration = withVariables(fieldsOf(given, 'configuration', path), variables, path);
      const definition = textOf(given, 'definition_id', path);
      found[`${kind}s`].push({ name, definition, configuration });
    }
  }
  for (const [path, given] of await octaviaFiles(root, 'connections')) {
    const end = (kind: Kind): string => {
      const file = textOf(given, `${kind}_configuration_path`, path).replace(/^\.\//, '');
      const name = names.get(file);
      if (name === undefined) throw invalid(path, `names ${file}, which is not there`);
      return name;
    };
    const ends = { source: end('source'), destination: end('destination') };
    const configuration = camelCase(fieldsOf(given, 'configuration', path)) as Fields;
    const name = textOf(given, 'resource_name', path);
    const operations = withVariables({ operations: configuration['operations'] }, variables, path);
    takeConnection({ ...configuration, ...operations, name }, ends, path, found);
  }
}

/** By their paths from the root, as octavia's own files name them. */
async function octaviaFiles(root: string, folder: string): Promise<[string, Fields][]> {
  const names = await readdir(join(root, folder)).catch(() => []);
  const files: [string, Fields][] = [];
  for (const name of names.toSorted()) {
    const path = `${folder}/${name}/configuration.yaml`;
    const text = await readFile(join(root, path), 'utf8').catch(() => null);
    if (text !== null) files.push([path, parsed(text, path)]);
  }
  return files;
}

async function readAnswers(path: string, answers: Record<string, Fields[]>): Promise<void> {
  const document = parsed(await readFile(path, 'utf8'), path);
  for (const kind of ['sources', 'destinations', 'connections', 'operations']) {
    const listed = document[kind];
    if (Array.isArray(listed)) answers[kind] = [...(answers[kind] ?? []), ...listed];
  }
}

function takeAnswers(answers: Readonly<Record<string, Fields[]>>, found: Found): void {
  const names = new Map<unknown, string>();
  for (const kind of ['source', 'destination'] as const) {
    const where = `${kind}s`;
    for (const actor of answers[where] ?? []) {
      const name = textOf(actor, 'name', where);
      names.set(actor[`${kind}Id`], name);
      const configuration = { ...fieldsOf(actor, 'connectionConfiguration', where) };
      const definition = textOf(actor, `${kind}DefinitionId`, where);
      found[where as 'sources'].push({ name, definition, configuration });
    }
  }
  for (const connection of answers['connections'] ?? []) {
    const end = (kind: Kind): string => {
      const name = names.get(connection[`${kind}Id`]);
      const what = `connection ${String(connection['name'])} has a ${kind} that is not in the files`;
      if (name === undefined) throw invalid('connections', what);
      return name;
    };
    const ends = { source: end('source'), destination: end('destination') };
    const operations = listedOperations(connection, answers['operations'] ?? []);
    takeConnection({ ...connection, operations }, ends, 'connections', found);
  }
}

/** Those a connection names by id; one that no answer has is left as its id alone. */
function listedOperations({ operations, operationIds }: Fields, listed: Fields[]): unknown {
  if (operations !== undefined || !Array.isArray(operationIds)) return operations;
  return operationIds.map(
    (id: unknown) => listed.find(({ operationId }) => operationId === id) ?? { operationId: id },
  );
}

function takeConnection(
  given: Fields,
  ends: Readonly<Record<Kind, string>>,
  where: string,
  found: Found,
): void {
  const connection = withoutNulls({ ...given, ...scheduleOf(given) }) as Fields;
  const name = textOf(connection, 'name', where);
  const fields = CONNECTION_FIELDS.filter((field) => connection[field] !== undefined);
  const { streams } = fieldsOf(connection, 'syncCatalog', where);
  if (!Array.isArray(streams)) throw invalid(where, 'has no streams in its catalog');
  found.connections.push({
    name,
    ...ends,
    ...Object.fromEntries(fields.map((field) => [field, connection[field]])),
    streams: streamEntries(connection as unknown as DeployedConnection),
    ...operationsOf(connection, `connection ${name}`, found.notes),
  });
}

/** Airbyte's older form has an interval and nothing else. */
function scheduleOf({ schedule, scheduleType }: Fields): Fields {
  if (scheduleType !== undefined && scheduleType !== null) return {};
  return schedule === undefined || schedule === null
    ? { scheduleType: 'manual' }
    : { scheduleType: 'basic', scheduleData: { basicSchedule: schedule } };
}

/**
 * `${NAME}`: in a secret field a reference to our own kind of variable, for a secret is not to stand in
 * a file; elsewhere what the environment has.
 */
function withVariables(
  configuration: Fields,
  { valueOf, secretPrefix }: Variables,
  path: string,
): Record<string, unknown> {
  const reference = (value: unknown): unknown =>
    typeof value === 'string'
      ? value.replace(/^\$\{(\w+)\}$/, (_, name: string) => `\${env:${secretPrefix}${name}}`)
      : value;
  const referred = mapSecrets({ connectionSpecification: {} }, { ...configuration }, reference);
  const filled = (value: unknown): unknown =>
    typeof value === 'string'
      ? value.replaceAll(/\$\{(\w+)\}/g, (_, name: string) => {
          const text = valueOf(name);
          if (text === undefined)
            throw invalid(path, `needs the variable ${name}, which is not set`);
          return text;
        })
      : value;
  return mapTexts(referred, filled) as Record<string, unknown>;
}

function mapTexts(value: unknown, change: (text: unknown) => unknown): unknown {
  if (Array.isArray(value)) return value.map((each) => mapTexts(each, change));
  if (typeof value !== 'object' || value === null) return change(value);
  return Object.fromEntries(
    Object.entries(value).map(([name, each]) => [name, mapTexts(each, change)]),
  );
}

/** octavia writes `sync_mode` where the API has `syncMode`. */
function camelCase(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(camelCase);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(
    Object.entries(value).map(([name, each]) => [
      name.replaceAll(/_([a-z])/g, (_, letter: string) => letter.toUpperCase()),
      camelCase(each),
    ]),
  );
}

function withoutNulls(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(withoutNulls);
  if (typeof value !== 'object' || value === null) return value;
  const given = Object.entries(value).filter(([, each]) => each !== null);
  return Object.fromEntries(given.map(([name, each]) => [name, withoutNulls(each)]));
}

function parsed(text: string, path: string): Fields {
  let document: unknown;
  try {
    document = parse(text);
  } catch (cause) {
    throw invalid(path, 'is neither YAML nor JSON', cause);
  }
  if (typeof document !== 'object' || document === null) throw invalid(path, 'is no mapping');
  return document as Fields;
}

function textOf(fields: Fields, field: string, path: string): string {
  const value = fields[field];
  if (typeof value !== 'string' || value === '') throw invalid(path, `has no ${field}`);
  return value;
}

function fieldsOf(fields: Fields, field: string, path: string): Fields {
  const value = fields[field];
  if (typeof value !== 'object' || value === null) throw invalid(path, `has no ${field}`);
  return value as Fields;
}

function invalid(path: string, why: string, cause?: unknown): PipelineError {
  return new PipelineError('CFG_INVALID_FILE', `${path} ${why}`, { cause });
}
