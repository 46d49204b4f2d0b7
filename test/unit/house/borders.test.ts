import { posix } from 'node:path';
import { describe, expect, test } from 'vitest';
import { importsOf, PROGRAM_FOLDERS, sourceFiles, type SourceFile } from './source-files.ts';

const MAY_IMPORT: Record<string, readonly string[]> = {
  core: ['core'],
  schemas: ['core', 'schemas'],
  topics: ['core', 'schemas', 'topics'],
  connectors: ['core', 'schemas', 'connectors'],
  services: ['core', 'schemas', 'topics', 'connectors', 'services', 'deploy'],
};

/** Siblings below these are strangers to each other. */
const APART = ['connectors/sources', 'connectors/destinations', 'services'];
/** The places that know all siblings by design: the program's own commands and the list of connectors. */
const MAY_KNOW_ALL = ['services/main.ts', 'services/cli/', 'connectors/registry.ts'];

/** Who speaks to what: a package used elsewhere is a border crossed. */
const DRIVERS: Record<string, readonly string[]> = {
  kafkajs: ['topics'],
  pg: ['connectors/sources/postgres', 'connectors/destinations/postgres', 'core/store'],
  '@electric-sql/pglite': ['core/store'],
  mysql2: ['connectors/sources/mysql'],
  mongodb: ['connectors/sources/mongodb'],
  '@aws-sdk/client-s3': ['connectors/destinations/s3'],
  '@aws-sdk/lib-storage': ['connectors/destinations/s3'],
  hyparquet: ['connectors/destinations/s3'],
  'hyparquet-writer': ['connectors/destinations/s3'],
  avsc: ['schemas'],
  fastify: ['services'],
  '@fastify/swagger': ['services/api'],
  commander: ['services'],
  pino: ['core/observe'],
  'prom-client': ['core/observe'],
};

const files = sourceFiles([...PROGRAM_FOLDERS]);

function below(path: string, folder: string): boolean {
  return path === folder || path.startsWith(`${folder}/`);
}

function targetOf(file: SourceFile, specifier: string): string | null {
  if (!specifier.startsWith('.')) return null;
  return posix.normalize(posix.join(posix.dirname(file.path), specifier));
}

function siblingOf(path: string, parent: string): string | null {
  return below(path, parent) ? (path.slice(parent.length + 1).split('/')[0] ?? null) : null;
}

function crossesUpward(file: SourceFile, target: string): boolean {
  const [from = '', to = ''] = [file.path.split('/')[0], target.split('/')[0]];
  return !(MAY_IMPORT[from] ?? []).includes(to);
}

function meetsASibling(file: SourceFile, target: string): boolean {
  if (MAY_KNOW_ALL.some((place) => file.path.startsWith(place))) return false;
  return APART.some((parent) => {
    const [from, to] = [siblingOf(file.path, parent), siblingOf(target, parent)];
    return from !== null && to !== null && from !== to;
  });
}

function misplacedDriver(file: SourceFile, specifier: string): boolean {
  const parts = specifier.split('/');
  const name = specifier.startsWith('@') ? parts.slice(0, 2).join('/') : (parts[0] ?? '');
  const homes = DRIVERS[name];
  return homes !== undefined && !homes.some((home) => below(file.path, home));
}

function offences(isOffence: (file: SourceFile, specifier: string) => boolean): string[] {
  return files.flatMap((file) =>
    importsOf(file)
      .filter((specifier) => isOffence(file, specifier))
      .map((specifier) => `${file.path} imports ${specifier}`),
  );
}

describe('borders between folders', () => {
  test('there are files to look at', () => {
    expect(files.length).toBeGreaterThan(10);
    expect(files.flatMap(importsOf).length).toBeGreaterThan(files.length);
  });

  test('imports point down: core, schemas, topics or connectors, services', () => {
    const upward = offences((file, specifier) => {
      const target = targetOf(file, specifier);
      return target !== null && crossesUpward(file, target);
    });
    expect(upward).toEqual([]);
  });

  test('connectors and services do not import their siblings', () => {
    const sideways = offences((file, specifier) => {
      const target = targetOf(file, specifier);
      return target !== null && meetsASibling(file, target);
    });
    expect(sideways).toEqual([]);
  });

  test('a driver is imported in its own folder only', () => {
    expect(offences(misplacedDriver)).toEqual([]);
  });

  test('process.env is read by core/config only; a command hands it over whole', () => {
    const readers = files
      .filter((file) => !below(file.path, 'core/config'))
      .filter((file) =>
        file.text.replaceAll('loadSettings(process.env)', '').includes('process.env'),
      )
      .map((file) => file.path);
    expect(readers).toEqual([]);
  });
});
