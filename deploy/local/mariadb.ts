import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync } from 'node:fs';
import { userInfo } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { PipelineError } from '../../core/errors/pipeline-error.ts';
import { debianCommand, debianPrograms } from './debian-programs.ts';
import { freePort } from './free-port.ts';
import { launch, type LocalServer } from './local-server.ts';

/** The releases that can be had: Debian 12's and Debian 13's. */
export type MariadbRelease = '10.11' | '11.8';

export interface MariadbOptions {
  readonly folder: string;
  /** 11.8 when none is given. */
  readonly release?: MariadbRelease;
  readonly port?: number;
  /** Server options without the dashes that replace or add to the defaults. */
  readonly settings?: Readonly<Record<string, string>>;
}

const ENVIRONMENT = { PATH: '/usr/bin:/bin', LC_ALL: 'C', TZ: 'UTC' };

/** MariaDB of Debian, root without a password, row binlog with GTIDs and full metadata. */
export async function startMariadb(options: MariadbOptions): Promise<LocalServer> {
  const root = await mariadbPrograms(options.release);
  const folder = resolve(options.folder);
  const port = options.port ?? (await freePort());
  const data = join(folder, 'data');
  if (!existsSync(data)) initialise(root, data);
  const settings = {
    ...common(root),
    datadir: data,
    tmpdir: temporary(folder),
    port: String(port),
    'server-id': String(port),
    ...SERVER_SETTINGS,
    ...options.settings,
  };
  return launch({
    name: 'mariadb',
    port,
    folder,
    url: `mysql://root@127.0.0.1:${port}`,
    command: mariadbd(root, settings),
    environment: ENVIRONMENT,
    stopSignal: 'SIGTERM',
    ready: ({ log }) => new RegExp(`port: ${port}\\b`).test(log),
  });
}

const SERVER_SETTINGS = {
  'bind-address': '127.0.0.1',
  // Relative to the data folder: a socket's whole path may have 107 characters only.
  socket: 'mariadb.sock',
  'pid-file': 'mariadbd.pid',
  'skip-name-resolve': 'ON',
  'log-bin': 'binlog',
  'binlog-format': 'ROW',
  'binlog-row-image': 'FULL',
  'binlog-row-metadata': 'FULL',
  'log-slave-updates': 'ON',
  'gtid-strict-mode': 'ON',
};

/** Messages, character sets and scripts; 10.11 keeps them under the older name. */
function shareFolder(root: string): string {
  const newer = join(root, 'usr/share/mariadb');
  return existsSync(newer) ? newer : join(root, 'usr/share/mysql');
}

/** A starting server removes what it takes for its own leftovers, so that none shares another's. */
function temporary(folder: string): string {
  const path = join(folder, 'tmp');
  mkdirSync(path, { recursive: true });
  return path;
}

function common(root: string): Record<string, string> {
  return {
    basedir: join(root, 'usr'),
    'plugin-dir': join(root, 'usr/lib/mysql/plugin'),
    'lc-messages-dir': shareFolder(root),
    'character-sets-dir': join(shareFolder(root), 'charsets'),
    user: userInfo().username,
    'innodb-buffer-pool-size': '64M',
    'innodb-log-file-size': '16M',
  };
}

function mariadbd(root: string, settings: Readonly<Record<string, string>>): [string, ...string[]] {
  const options = Object.entries(settings).map(([name, value]) => `--${name}=${value}`);
  return [...debianCommand(root, 'usr/sbin/mariadbd'), '--no-defaults', ...options];
}

const PROGRAMS: Readonly<
  Record<MariadbRelease, { readonly name: string; readonly suite: string }>
> = {
  '10.11': { name: 'mariadb-10.11', suite: 'bookworm' },
  '11.8': { name: 'mariadb', suite: 'trixie' },
};

/** The root of the unpacked MariaDB, fetched when it is not in the cache. */
export function mariadbPrograms(release: MariadbRelease = '11.8'): Promise<string> {
  return debianPrograms({
    ...PROGRAMS[release],
    packages: ['mariadb-server-core', 'mariadb-client-core'],
    skip: /^(gcc-.*-base|perl.*|libperl.*)$/,
  });
}

/** In this order: later scripts use what earlier ones make. */
const BOOTSTRAP_SCRIPTS = [
  /^(mariadb|mysql)_system_tables\.sql$/,
  /^(mariadb|mysql)_performance_tables\.sql$/,
  /^(mariadb|mysql)_system_tables_data\.sql$/,
  /^maria_add_gis_sp_bootstrap\.sql$/,
  /^(mariadb|mysql)_sys_schema\.sql$/,
];

/** The install program of the distribution starts others by name, which unpacked ones cannot do. */
function initialise(root: string, data: string): void {
  const draft = `${data}.draft`;
  rmSync(draft, { recursive: true, force: true });
  mkdirSync(draft, { recursive: true });
  const share = shareFolder(root);
  const files = readdirSync(share);
  const scripts = BOOTSTRAP_SCRIPTS.flatMap((pattern) =>
    files.filter((name) => pattern.test(name)).map((name) => readFileSync(join(share, name))),
  );
  const [program, ...args] = mariadbd(root, {
    ...common(root),
    datadir: draft,
    tmpdir: temporary(dirname(data)),
  });
  const { status, stderr } = spawnSync(program, [...args, '--bootstrap'], {
    input: [BOOTSTRAP_START, ...scripts].join('\n'),
    env: ENVIRONMENT,
    encoding: 'utf8',
  });
  if (status !== 0) {
    const tail = stderr.trimEnd().split('\n').slice(-12).join('\n');
    throw new PipelineError('STACK_SERVER_FAILED', `initialising MariaDB failed:\n${tail}`);
  }
  renameSync(draft, data);
}

/** No anonymous users; root by an empty password, not by the account of the operating system. */
const BOOTSTRAP_START = `CREATE DATABASE mysql;
USE mysql;
SET @skip_auth_anonymous = 1;
SET @auth_root_socket = NULL;
SET @current_hostname = 'localhost';
`;
