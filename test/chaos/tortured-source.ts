import type { LocalServer } from '../../deploy/local/local-server.ts';
import {
  createDatabase,
  DATABASE,
  mysqlConfig,
  sqlClient,
} from '../integration/sources/mysql/mysql-harness.ts';
import { mariadbContext, mysqlContext } from '../support/contexts.ts';
import { columnsOf } from '../support/digest.ts';
import { FaultProxy } from '../support/fault-proxy.ts';
import { cdcSourceConfig, query, type Rig } from '../support/rig.ts';
import { createMysqlTables, MysqlWriter } from './mysql-writer.ts';
import { createPostgresTables, PostgresWriter } from './postgres-writer.ts';
import type { WriterSession } from './workload.ts';

export type SourceKind = 'postgres' | 'mysql' | 'mariadb';

export type TextRow = Readonly<Record<string, string | null>>;

/** A source's server as the torture works on it, hits it and compares it with the copies. */
export interface TorturedSource extends AsyncDisposable {
  readonly kind: 'sourcePostgres' | 'sourceMysql';
  readonly namespace: string;
  readonly server: LocalServer;
  /** The network between it and Headrace, where that is hit as well. */
  readonly link: FaultProxy | null;
  readonly config: Record<string, unknown>;
  /** Whether the server keeps its log for us, up to what we acknowledged. */
  readonly hasSlot: boolean;
  createTables(): Promise<void>;
  open(): Promise<WriterSession>;
  ask(sql: string): Promise<readonly TextRow[]>;
  columnsOf(table: string): Promise<readonly string[]>;
  /** SQL for a hash of a column's text: the same as `postgresHashOf` of that text. */
  hashOf(column: string): string;
}

export const postgresHashOf = (column: string): string =>
  `encode(sha256(convert_to(${column}::text, 'UTF8')), 'hex')`;

export function postgresSource({ source }: Rig): TorturedSource {
  return {
    kind: 'sourcePostgres',
    namespace: 'public',
    server: source,
    link: null,
    config: cdcSourceConfig(source),
    hasSlot: true,
    createTables: () => createPostgresTables(source),
    open: () => PostgresWriter.open(source),
    ask: (sql) => query<Record<string, string | null>>(source, sql),
    columnsOf: (table) => columnsOf(source, table),
    hashOf: postgresHashOf,
    [Symbol.asyncDispose]: async () => {},
  };
}

/** A killed process loses nothing by it, only a power cut would: as with `fsync = off` elsewhere. */
const UNSYNCED = { 'sync-binlog': '0', 'innodb-flush-log-at-trx-commit': '2' };

export async function mysqlSource(kind: 'mysql' | 'mariadb'): Promise<TorturedSource> {
  const options = { settings: UNSYNCED };
  const server = await (kind === 'mysql' ? mysqlContext(options) : mariadbContext(options));
  const link = (await FaultProxy.listen()).to(server.port);
  (await createDatabase(server)).close();
  const ask = async (sql: string): Promise<readonly TextRow[]> => {
    const session = await sqlClient(server);
    try {
      return await session.run(sql);
    } finally {
      session.close();
    }
  };
  return {
    kind: 'sourceMysql',
    namespace: DATABASE,
    server,
    link,
    config: { ...mysqlConfig(server), host: link.host, port: link.port },
    hasSlot: false,
    createTables: () => createMysqlTables(server),
    open: () => MysqlWriter.open(server),
    ask,
    columnsOf: async (table) =>
      (
        await ask(
          `SELECT COLUMN_NAME AS name FROM information_schema.COLUMNS
           WHERE TABLE_SCHEMA = '${DATABASE}' AND TABLE_NAME = '${table}' ORDER BY ORDINAL_POSITION`,
        )
      ).map(({ name }) => name as string),
    hashOf: (column) => `SHA2(${column}, 256)`,
    async [Symbol.asyncDispose]() {
      await link[Symbol.asyncDispose]();
      await server[Symbol.asyncDispose]();
    },
  };
}
