import { join, resolve } from 'node:path';
import { PipelineError } from '../../core/errors/pipeline-error.ts';
import { withLock } from './cache.ts';
import { freePort, portIsFree } from './free-port.ts';
import { startKafka } from './kafka.ts';
import { readServerRecord, STOP_TIMEOUT_MS } from './local-server.ts';
import type { LocalServer, ServerRecord } from './local-server.ts';
import { startMariadb } from './mariadb.ts';
import { MINIO_ACCESS_KEY, MINIO_SECRET_KEY, startMinio } from './minio.ts';
import { startMysql } from './mysql.ts';
import { startPostgres } from './postgres.ts';
import { endProcess, isAlive } from './process.ts';

interface StackKind {
  /** Taken when it is free and the server has none from an earlier start. */
  readonly preferredPort: number;
  readonly credentials: { readonly username: string; readonly password: string } | null;
  start(place: { readonly folder: string; readonly port: number }): Promise<LocalServer>;
}

const KINDS = {
  kafka: { preferredPort: 29_092, credentials: null, start: startKafka },
  minio: {
    preferredPort: 29_000,
    credentials: { username: MINIO_ACCESS_KEY, password: MINIO_SECRET_KEY },
    start: startMinio,
  },
  postgres: {
    preferredPort: 25_432,
    credentials: { username: 'postgres', password: '' },
    start: startPostgres,
  },
  mysql: {
    preferredPort: 23_306,
    credentials: { username: 'root', password: '' },
    start: startMysql,
  },
  mariadb: {
    preferredPort: 23_307,
    credentials: { username: 'root', password: '' },
    start: startMariadb,
  },
} as const satisfies Record<string, StackKind>;

export type StackServerName = keyof typeof KINDS;

export const STACK_SERVER_NAMES = Object.keys(KINDS) as readonly StackServerName[];
export const DEFAULT_STACK: readonly StackServerName[] = ['kafka', 'minio', 'postgres'];

/** One line of `headrace stack status --json`. */
export interface StackServer {
  readonly name: StackServerName;
  readonly running: boolean;
  readonly host: string;
  readonly port: number;
  /** `host:port` for Kafka, a URL with its scheme for the others. */
  readonly url: string;
  readonly pid: number | null;
  readonly folder: string;
  readonly credentials: { readonly username: string; readonly password: string } | null;
}

export interface StackOptions {
  /** HEADRACE_HOME: servers live in `<home>/stack/<name>`. */
  readonly home: string;
  /** Told about each step; progress, not an answer. */
  report(line: string): void;
}

/**
 * Starts the servers side by side as detached processes; one that runs already is left alone. A
 * server keeps its port and data from one `up` to the next. When one fails, the others stay up and
 * its error is thrown. An unknown name throws CFG_INVALID_STACK before anything starts.
 */
export async function stackUp(
  names: readonly string[],
  options: StackOptions,
): Promise<StackServer[]> {
  const wanted = names.length === 0 ? DEFAULT_STACK : names.map(knownName);
  const folder = join(resolve(options.home), 'stack');
  return withLock(join(folder, 'up'), 'starts the local stack', async () => {
    const results = await Promise.allSettled(wanted.map((name) => startOne(name, options)));
    for (const result of results) if (result.status === 'rejected') throw result.reason;
    return stackStatus(options.home);
  });
}

function knownName(name: string): StackServerName {
  if (Object.hasOwn(KINDS, name)) return name as StackServerName;
  throw new PipelineError(
    'CFG_INVALID_STACK',
    `there is no server '${name}' in the local stack; it has ${STACK_SERVER_NAMES.join(', ')}`,
  );
}

async function startOne(name: StackServerName, options: StackOptions): Promise<void> {
  const folder = serverFolder(options.home, name);
  const earlier = readServerRecord(folder);
  if (earlier !== null && isAlive(earlier.process)) {
    options.report(`${name} runs already: ${earlier.url}`);
    return;
  }
  options.report(`starting ${name} ...`);
  const server = await KINDS[name].start({ folder, port: await choosePort(name, earlier) });
  options.report(`${name} is ready: ${server.url}`);
}

async function choosePort(name: StackServerName, earlier: ServerRecord | null): Promise<number> {
  for (const port of [earlier?.port, KINDS[name].preferredPort]) {
    if (port !== undefined && (await portIsFree(port))) return port;
  }
  return freePort();
}

/** Every server that was ever started under this home and not deleted, running or not. */
export function stackStatus(home: string): StackServer[] {
  return STACK_SERVER_NAMES.flatMap((name) => {
    const folder = serverFolder(home, name);
    const record = readServerRecord(folder);
    return record === null ? [] : [describe(name, folder, record)];
  });
}

function describe(name: StackServerName, folder: string, record: ServerRecord): StackServer {
  const running = isAlive(record.process);
  return {
    name,
    running,
    host: '127.0.0.1',
    port: record.port,
    url: record.url,
    pid: running ? record.process.pid : null,
    folder,
    credentials: KINDS[name].credentials,
  };
}

/** Stops what runs, side by side; the data stay. */
export async function stackDown(home: string): Promise<void> {
  await Promise.all(
    STACK_SERVER_NAMES.map(async (name) => {
      const record = readServerRecord(serverFolder(home, name));
      if (record !== null) await endProcess(record.process, record.stopSignal, STOP_TIMEOUT_MS);
    }),
  );
}

function serverFolder(home: string, name: StackServerName): string {
  return join(resolve(home), 'stack', name);
}
