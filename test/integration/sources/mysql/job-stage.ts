import { source } from '../../../../connectors/sources/mysql/source.ts';
import type { ServerContext } from '../../../support/contexts.ts';
import type { Run } from '../postgres/capture-harness.ts';
import { openJobRun, type JobRunOptions } from '../postgres/job-harness.ts';
import { createDatabase, DATABASE, mysqlConfig, type SqlClient } from './mysql-harness.ts';
import type { ServerKind } from './value-zoo.ts';

/** Settings of a server or a user that must change nothing. */
const HOSTILE: Readonly<Record<ServerKind, readonly string[]>> = {
  mysql: [
    "SET GLOBAL time_zone = '-05:00'",
    "SET GLOBAL sql_mode = 'ANSI_QUOTES,NO_BACKSLASH_ESCAPES,PAD_CHAR_TO_FULL_LENGTH'",
    'SET GLOBAL sql_select_limit = 3',
    'SET GLOBAL max_execution_time = 1',
  ],
  mariadb: [
    "SET GLOBAL time_zone = '-05:00'",
    "SET GLOBAL sql_mode = 'ORACLE,PAD_CHAR_TO_FULL_LENGTH'",
    'SET GLOBAL sql_select_limit = 3',
    'SET GLOBAL max_statement_time = 0.001',
  ],
};

/** A server with such settings, and a user who may only read. */
export class JobStage {
  readonly server: ServerContext;
  readonly sql: SqlClient;
  private readonly kind: ServerKind;

  private constructor(kind: ServerKind, server: ServerContext, sql: SqlClient) {
    this.kind = kind;
    this.server = server;
    this.sql = sql;
  }

  static async start(kind: ServerKind, start: () => Promise<ServerContext>): Promise<JobStage> {
    const server = await start();
    const sql = await createDatabase(server);
    await sql.run(
      `CREATE USER reader@'%' IDENTIFIED BY 'secret'`,
      `GRANT SELECT ON ${DATABASE}.* TO reader@'%'`,
      ...HOSTILE[kind],
    );
    return new JobStage(kind, server, sql);
  }

  async end(): Promise<void> {
    this.sql.close();
    await this.server[Symbol.asyncDispose]();
  }

  /** The configuration of a source that is read by queries. */
  standard(method: object = {}): Record<string, unknown> {
    return {
      ...mysqlConfig(this.server),
      username: 'reader',
      password: 'secret',
      replication_method: { method: 'STANDARD', ...method },
    };
  }

  open(options: JobRunOptions, config = this.standard()): Promise<Run> {
    return openJobRun(config, options, { source, namespace: DATABASE });
  }

  /** To the end of the job's read. */
  async read(options: JobRunOptions, config = this.standard()): Promise<Run> {
    const run = await this.open(options, config);
    await run.finished;
    if (run.failure !== null) throw run.failure;
    return run;
  }

  /** Inserts a row for each `i` of a range. */
  fill(table: string, from: number, to: number, cells: string): Promise<unknown> {
    const limit = this.kind === 'mysql' ? 'cte_max_recursion_depth' : 'max_recursive_iterations';
    return this.sql.run(
      `SET SESSION ${limit} = 1000000`,
      `INSERT INTO ${table} WITH RECURSIVE n AS (SELECT ${from} AS i UNION ALL SELECT i + 1 FROM n WHERE i < ${to})
         SELECT ${cells} FROM n`,
    );
  }
}
