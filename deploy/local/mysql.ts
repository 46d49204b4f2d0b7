import { cpSync, existsSync, mkdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { userInfo } from 'node:os';
import { join, resolve } from 'node:path';
import { cacheFolder, fetchOnce, runQuietly } from './cache.ts';
import { debianCommand, debianPrograms } from './debian-programs.ts';
import { freePort } from './free-port.ts';
import { launch, type LocalServer } from './local-server.ts';

export interface MysqlOptions {
  readonly folder: string;
  readonly port?: number;
  /** Server options without the dashes, e.g. `binlog-row-image`, that replace or add to the defaults. */
  readonly settings?: Readonly<Record<string, string>>;
}

const ENVIRONMENT = { PATH: '/usr/bin:/bin', LC_ALL: 'C', TZ: 'UTC' };

/**
 * MySQL of Debian unstable (9.7 and later), root without a password, row binlog with GTIDs and full
 * metadata. The tests' first statement is the first GTID: what a start does is not logged.
 */
export async function startMysql(options: MysqlOptions): Promise<LocalServer> {
  const root = await mysqlPrograms();
  const folder = resolve(options.folder);
  const port = options.port ?? (await freePort());
  const data = join(folder, 'data');
  if (!existsSync(data)) await copyTemplate(root, data);
  const initFile = join(folder, 'init.sql');
  writeFileSync(initFile, INIT_SQL);
  const settings = {
    ...common(root),
    datadir: data,
    port: String(port),
    'server-id': String(port),
    'init-file': initFile,
    ...SERVER_SETTINGS,
    ...options.settings,
  };
  return launch({
    name: 'mysql',
    port,
    folder,
    url: `mysql://root@127.0.0.1:${port}`,
    command: mysqld(root, settings),
    environment: ENVIRONMENT,
    stopSignal: 'SIGTERM',
    ready: ({ log }) => new RegExp(`ready for connections.*port: ${port}\\b`).test(log),
  });
}

/** With name resolution off, root@localhost cannot log in by TCP. */
const INIT_SQL = `SET SESSION sql_log_bin = OFF;
CREATE USER IF NOT EXISTS 'root'@'127.0.0.1';
GRANT ALL ON *.* TO 'root'@'127.0.0.1' WITH GRANT OPTION;
`;

const SERVER_SETTINGS = {
  'bind-address': '127.0.0.1',
  // Relative to the data folder: a socket's whole path may have 107 characters only.
  socket: 'mysql.sock',
  'pid-file': 'mysqld.pid',
  mysqlx: 'OFF',
  'skip-name-resolve': 'ON',
  'secure-file-priv': '',
  'log-bin': 'binlog',
  'binlog-row-image': 'FULL',
  'binlog-row-metadata': 'FULL',
  'gtid-mode': 'ON',
  'enforce-gtid-consistency': 'ON',
};

function common(root: string): Record<string, string> {
  return {
    basedir: join(root, 'usr'),
    'plugin-dir': join(root, 'usr/lib/mysql/plugin'),
    'lc-messages-dir': join(root, 'usr/share/mysql'),
    'character-sets-dir': join(root, 'usr/share/mysql/charsets'),
    user: userInfo().username,
    'innodb-buffer-pool-size': '64M',
    'innodb-redo-log-capacity': '32M',
    'innodb-use-native-aio': 'OFF',
  };
}

function mysqld(root: string, settings: Readonly<Record<string, string>>): [string, ...string[]] {
  const options = Object.entries(settings).map(([name, value]) => `--${name}=${value}`);
  return [...debianCommand(root, 'usr/sbin/mysqld'), '--no-defaults', ...options];
}

/** The root of the unpacked MySQL, fetched when it is not in the cache. */
export function mysqlPrograms(): Promise<string> {
  return debianPrograms({
    name: 'mysql',
    suite: 'sid',
    packages: ['mysql-server-core', 'mysql-client-core'],
    skip: /^(perl.*|libperl.*|libgdbm.*|libdb5.*|gcc-.*-base|libc-gconv-modules-extra|openssl-provider-legacy)$/,
  });
}

/** Initialising takes seconds, a copy of an initialised folder a fifth of one. */
async function copyTemplate(root: string, data: string): Promise<void> {
  const template = join(cacheFolder(), 'mysql-template');
  await fetchOnce(template, async () => {
    const draft = `${template}.draft`;
    rmSync(draft, { recursive: true, force: true });
    mkdirSync(draft);
    const initialise = mysqld(root, { ...common(root), datadir: draft });
    initialise.push('--initialize-insecure');
    await runQuietly('initialising MySQL', initialise, ENVIRONMENT);
    // The server's UUID, which names its GTIDs: each copy makes its own.
    rmSync(join(draft, 'auto.cnf'), { force: true });
    renameSync(draft, template);
  });
  cpSync(template, `${data}.draft`, { recursive: true });
  renameSync(`${data}.draft`, data);
}
