import type { Connection } from 'mysql2';
import { connect, query, type Row } from '../../../../connectors/sources/mysql/session.ts';
import { parseConfig } from '../../../../connectors/sources/mysql/config.ts';
import { source } from '../../../../connectors/sources/mysql/source.ts';
import type { LocalServer } from '../../../../deploy/local/local-server.ts';
import { Run, type RunOptions } from '../postgres/capture-harness.ts';

export const DATABASE = 'shop';

export function mysqlConfig(server: LocalServer): Record<string, unknown> {
  return {
    host: server.host,
    port: server.port,
    database: DATABASE,
    username: 'root',
    ssl_mode: { mode: 'preferred' },
    replication_method: { method: 'CDC' },
  };
}

export interface SqlClient {
  run(...statements: string[]): Promise<Row[]>;
  close(): void;
}

export async function sqlClient(server: LocalServer, database = DATABASE): Promise<SqlClient> {
  const config = parseConfig({ ...mysqlConfig(server), database });
  const connection: Connection = await connect(config);
  return {
    async run(...statements) {
      let rows: Row[] = [];
      for (const statement of statements) rows = await query(connection, statement);
      return rows;
    },
    close: () => connection.destroy(),
  };
}

export async function createDatabase(server: LocalServer): Promise<SqlClient> {
  const first = await sqlClient(server, 'mysql');
  await first.run(`CREATE DATABASE IF NOT EXISTS ${DATABASE} CHARACTER SET utf8mb4`);
  first.close();
  return sqlClient(server);
}

export function openRun(
  server: LocalServer,
  tables: readonly string[],
  options: Omit<RunOptions, 'streams' | 'source'> = {},
): Promise<Run> {
  return Run.open(mysqlConfig(server), {
    ...options,
    source,
    streams: tables.map((name) => ({ namespace: DATABASE, name })),
  });
}
