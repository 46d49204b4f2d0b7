import { source } from '../../connectors/sources/mysql/source.ts';
import type { ServerContext } from '../support/contexts.ts';
import { until } from '../support/rig.ts';
import {
  createDatabase,
  DATABASE,
  mysqlConfig,
  sqlClient,
} from '../integration/sources/mysql/mysql-harness.ts';
import { zooRows, zooTable, type ServerKind } from '../integration/sources/mysql/value-zoo.ts';
import type { SourceSubject, SqlSession } from './source-subject.ts';

export async function mysqlSubject(
  kind: ServerKind,
  start: () => Promise<ServerContext>,
): Promise<SourceSubject> {
  const server = await start();
  (await createDatabase(server)).close();
  return {
    server,
    source,
    namespace: DATABASE,
    zoo: { table: [zooTable(kind)], rows: (firstId) => zooRows(kind, firstId) },
    lostLog: 'SRC_BINLOG_PURGED',
    config: () => mysqlConfig(server),
    session: () => sqlClient(server),
    loseLog: (sql) => purge(sql, kind),
  };
}

async function purge(sql: SqlSession, kind: ServerKind): Promise<void> {
  // By default MariaDB keeps its log until a replica is connected; 10.11 has no such setting.
  const [setting] = await sql.run(
    `SHOW GLOBAL VARIABLES LIKE 'slave_connections_needed_for_purge'`,
  );
  if (kind !== 'mysql' && setting !== undefined) {
    await sql.run('SET GLOBAL slave_connections_needed_for_purge = 0');
  }
  await sql.run('FLUSH BINARY LOGS', 'FLUSH BINARY LOGS');
  const newest = String((await sql.run('SHOW BINARY LOGS')).at(-1)?.['Log_name']);
  // MariaDB keeps what the session that has just ended was reading, until it notices that.
  await until('the purge', async () => {
    await sql.run(`PURGE BINARY LOGS TO '${newest}'`);
    return (await sql.run('SHOW BINARY LOGS'))[0]?.['Log_name'] === newest;
  });
}
