import { chmodSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { startKafka, type KafkaOptions } from '../../deploy/local/kafka.ts';
import type { LocalServer } from '../../deploy/local/local-server.ts';
import { startMariadb, type MariadbOptions } from '../../deploy/local/mariadb.ts';
import { startMinio, type MinioOptions } from '../../deploy/local/minio.ts';
import { startMysql, type MysqlOptions } from '../../deploy/local/mysql.ts';
import { startPostgres, type PostgresOptions } from '../../deploy/local/postgres.ts';

/**
 * A real server on a throw-away folder: `await using server = await postgresContext()`. It always
 * is the server's present incarnation: after `restart()` the same object has the new pid.
 */
export type ServerContext = LocalServer & AsyncDisposable;

type Without<T> = Omit<T, 'folder'>;

/** fsync is off: a killed process loses nothing by it, only a power cut would. */
export function postgresContext(options: Without<PostgresOptions> = {}): Promise<ServerContext> {
  const settings = { fsync: 'off', ...options.settings };
  return inThrowAwayFolder('postgres', (folder) => startPostgres({ ...options, settings, folder }));
}

export function kafkaContext(options: Without<KafkaOptions> = {}): Promise<ServerContext> {
  return inThrowAwayFolder('kafka', (folder) => startKafka({ ...options, folder }));
}

export function minioContext(options: Without<MinioOptions> = {}): Promise<ServerContext> {
  return inThrowAwayFolder('minio', (folder) => startMinio({ ...options, folder }));
}

export function mysqlContext(options: Without<MysqlOptions> = {}): Promise<ServerContext> {
  return inThrowAwayFolder('mysql', (folder) => startMysql({ ...options, folder }));
}

export function mariadbContext(options: Without<MariadbOptions> = {}): Promise<ServerContext> {
  return inThrowAwayFolder('mariadb', (folder) => startMariadb({ ...options, folder }));
}

async function inThrowAwayFolder(
  kind: string,
  start: (folder: string) => Promise<LocalServer>,
): Promise<ServerContext> {
  const folder = mkdtempSync(join(tmpdir(), `headrace-${kind}-`));
  // Entered by the account that PostgreSQL runs under when the tests are root.
  chmodSync(folder, 0o711);
  let server: LocalServer;
  try {
    server = await start(folder);
  } catch (error) {
    rmSync(folder, { recursive: true, force: true });
    throw error;
  }
  const killAtExit = () => {
    try {
      process.kill(server.pid, 'SIGKILL');
    } catch {
      // It has ended already.
    }
  };
  process.once('exit', killAtExit);
  const context: ServerContext = {
    name: server.name,
    host: server.host,
    port: server.port,
    folder: server.folder,
    url: server.url,
    get pid() {
      return server.pid;
    },
    stop: () => server.stop(),
    kill: () => server.kill(),
    async restart() {
      server = await server.restart();
      return context;
    },
    async [Symbol.asyncDispose]() {
      process.removeListener('exit', killAtExit);
      await server.kill();
      rmSync(folder, { recursive: true, force: true });
    },
  };
  return context;
}
