import { chmodSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { startKafka, startKafkaCluster, type KafkaOptions } from '../../deploy/local/kafka.ts';
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

/** Three brokers, 1 to 3 in this order. */
export async function kafkaClusterContext(
  settings: Readonly<Record<string, string>> = {},
): Promise<{ readonly brokers: readonly LocalServer[]; readonly url: string } & AsyncDisposable> {
  const folder = throwAwayFolder('kafka-cluster');
  const brokers = await startKafkaCluster({ folder, count: 3, settings });
  const killAtExit = (): void => brokers.forEach(killNow);
  process.once('exit', killAtExit);
  return {
    brokers: brokers.map((broker, index) => ({
      ...broker,
      stop: () => (brokers[index] as LocalServer).stop(),
      kill: () => (brokers[index] as LocalServer).kill(),
      restart: async () => (brokers[index] = await (brokers[index] as LocalServer).restart()),
    })),
    url: brokers.map(({ url }) => url).join(','),
    async [Symbol.asyncDispose]() {
      process.removeListener('exit', killAtExit);
      await Promise.all(brokers.map((broker) => broker.kill()));
      rmSync(folder, { recursive: true, force: true });
    },
  };
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
  const folder = throwAwayFolder(kind);
  let server: LocalServer;
  try {
    server = await start(folder);
  } catch (error) {
    rmSync(folder, { recursive: true, force: true });
    throw error;
  }
  const killAtExit = (): void => killNow(server);
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

function throwAwayFolder(kind: string): string {
  const folder = mkdtempSync(join(tmpdir(), `headrace-${kind}-`));
  // Entered by the account that PostgreSQL runs under when the tests are root.
  chmodSync(folder, 0o711);
  return folder;
}

function killNow({ pid }: LocalServer): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch {
    // It has ended already.
  }
}
