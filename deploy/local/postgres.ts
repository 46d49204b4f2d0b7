import { chownSync, existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { runQuietly } from './cache.ts';
import { freePort } from './free-port.ts';
import { launch, type LocalServer } from './local-server.ts';
import { postgresPrograms, type PostgresMajor } from './postgres-programs.ts';
import { reachableData } from './reachable-folder.ts';
import { asServerUser, serverUser, type ServerUser } from './server-user.ts';

export interface PostgresOptions {
  readonly folder: string;
  readonly port?: number;
  /** Default 18. */
  readonly major?: PostgresMajor;
  /** Server settings, as in postgresql.conf, that replace or add to the defaults below. */
  readonly settings?: Readonly<Record<string, string>>;
}

const ENVIRONMENT = { PATH: '/usr/bin:/bin', LC_ALL: 'C', TZ: 'UTC' };

/** A server with superuser `postgres`, trusted without a password, ready for logical decoding. */
export async function startPostgres(options: PostgresOptions): Promise<LocalServer> {
  const user = serverUser();
  const programs = await postgresPrograms(options.major ?? 18, user);
  const port = options.port ?? (await freePort());
  const folder = resolve(options.folder);
  const data = reachableData(folder, user);
  if (!existsSync(join(data, 'PG_VERSION'))) await initialise(programs, data, user);
  const settings = { ...DEFAULT_SETTINGS, port: String(port), ...options.settings };
  const lines = Object.entries(settings).map(
    ([name, value]) => `${name} = '${value.replaceAll("'", "''")}'`,
  );
  writeFileSync(join(data, 'postgresql.auto.conf'), `${lines.join('\n')}\n`);
  const pidFile = join(data, 'postmaster.pid');
  return launch({
    name: 'postgres',
    port,
    folder,
    url: `postgresql://postgres@127.0.0.1:${port}/postgres`,
    command: asServerUser(user, [join(programs, 'postgres'), '-D', data]),
    environment: ENVIRONMENT,
    stopSignal: 'SIGINT',
    ready: ({ pid }) => isReady(pidFile, pid),
    // Otherwise a process that is given the dead one's id keeps the server from starting.
    afterKill: () => rmSync(pidFile, { force: true }),
  });
}

const DEFAULT_SETTINGS = {
  listen_addresses: '127.0.0.1',
  unix_socket_directories: '',
  wal_level: 'logical',
  max_wal_senders: '40',
  max_replication_slots: '40',
  max_connections: '200',
  wal_sender_timeout: '60s',
  shared_buffers: '128MB',
};

const OPEN = ['ready', 'standby'];

/** The postmaster writes its state into line 8 of its pid file; `standby` answers queries too. */
function isReady(pidFile: string, pid: number): boolean {
  try {
    const lines = readFileSync(pidFile, 'utf8').split('\n');
    return Number(lines[0]) === pid && OPEN.includes(lines[7]?.trim() ?? '');
  } catch {
    return false;
  }
}

async function initialise(programs: string, data: string, user: ServerUser | null): Promise<void> {
  mkdirSync(data, { recursive: true, mode: 0o700 });
  if (user !== null) chownSync(data, user.uid, user.gid);
  const options = ['--username=postgres', '--auth=trust', '--locale=C', '--encoding=UTF8'];
  const initdb = [join(programs, 'initdb'), '-D', data, '--no-sync', ...options] as const;
  await runQuietly('initialising PostgreSQL', asServerUser(user, initdb), ENVIRONMENT);
}
