import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { source } from '../../../../connectors/sources/mysql/source.ts';
import { mysqlContext, type ServerContext } from '../../../support/contexts.ts';
import { miscounted, tableOf } from '../../../conformance/event-facts.ts';
import { randomOf } from '../../../chaos/fault-schedule.ts';
import { Run } from '../postgres/capture-harness.ts';
import {
  createDatabase,
  DATABASE,
  mysqlConfig,
  sqlClient,
  type SqlClient,
} from './mysql-harness.ts';

const RIGHTS = 'SELECT, REPLICATION SLAVE, REPLICATION CLIENT';

/** What a managed server's user has: no RELOAD, no LOCK TABLES, no BACKUP_ADMIN. */
async function plainUser(sql: SqlClient): Promise<void> {
  await sql.run(`CREATE USER plain@'%' IDENTIFIED BY 'p'`, `GRANT ${RIGHTS} ON *.* TO plain@'%'`);
}

function plainConfig(server: ServerContext): Record<string, unknown> {
  return { ...mysqlConfig(server), username: 'plain', password: 'p' };
}

function openPlain(server: ServerContext, table: string): Promise<Run> {
  return Run.open(plainConfig(server), {
    source,
    streams: [{ namespace: DATABASE, name: table }],
  });
}

async function rowsOf(sql: SqlClient, table: string): Promise<Map<string, string>> {
  const rows = await sql.run(`SELECT id, n FROM ${table}`);
  return new Map(rows.map((row) => [String(row['id']), String(row['n'])]));
}

async function filled(sql: SqlClient, table: string, rows: number): Promise<void> {
  await sql.run(
    `CREATE TABLE ${table} (id int PRIMARY KEY, n int, pad varchar(100))`,
    `SET SESSION cte_max_recursion_depth = 1000000`,
    `INSERT INTO ${table} WITH RECURSIVE s(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM s WHERE i < ${rows})
     SELECT i, 0, repeat('x', 50) FROM s`,
  );
}

interface Writing {
  readonly table: string;
  readonly sessions: number;
  readonly seed: number;
  /** Whether rows get other keys. */
  readonly rekeys: boolean;
}

/** Sessions that change few rows over and over, so that some commit is always under way. */
class Writers {
  private writing = true;
  private readonly sessions: Promise<void>[];

  constructor(server: ServerContext, plan: Writing) {
    this.sessions = Array.from({ length: plan.sessions }, (_, index) =>
      this.write(server, plan, index),
    );
  }

  private async write(server: ServerContext, plan: Writing, index: number): Promise<void> {
    const { table, rekeys } = plan;
    const sql = await sqlClient(server);
    const random = randomOf(plan.seed + index);
    for (let i = 0; this.writing; i++) {
      const own = 1_000_000 * (index + 1) + (i % 7);
      const id = 1 + Math.floor(random() * 40);
      await sql.run(
        'BEGIN',
        `UPDATE ${table} SET n = n + 1 WHERE id = ${id}`,
        ...(i % 3 === 0 ? [`INSERT IGNORE INTO ${table} VALUES (${own}, 1, 'new')`] : []),
        ...(i % 5 === 0 && rekeys ? [`UPDATE ${table} SET id = id + 500 WHERE id = ${own}`] : []),
        ...(i % 4 === 0 ? [`DELETE FROM ${table} WHERE id IN (${own}, ${own + 500})`] : []),
        'COMMIT',
      );
    }
    sql.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.writing = false;
    await Promise.all(this.sessions);
  }
}

describe('the first copy of MySQL without a lock', () => {
  let server: ServerContext;
  let sql: SqlClient;
  beforeAll(async () => {
    server = await mysqlContext();
    sql = await createDatabase(server);
    await plainUser(sql);
  });
  afterAll(async () => {
    sql.close();
    await server[Symbol.asyncDispose]();
  });

  it('matches the log exactly under writers, at every start', async () => {
    const seed = Math.floor(Math.random() * 2 ** 31);
    console.log(`copies beside writers by seed ${seed}`);
    await filled(sql, 'busy', 2000);
    await using writers = new Writers(server, { table: 'busy', sessions: 4, seed, rekeys: true });
    const runs: Run[] = [];
    for (let copy = 0; copy < 12; copy++) {
      const run = await openPlain(server, 'busy');
      await run.until(() => run.progress().phase === 'streaming', 'the stream');
      await run.caughtUp(plainConfig(server));
      if (copy < 11) await run.close();
      else await writers[Symbol.asyncDispose]();
      runs.push(run);
      expect(miscounted(run.events())).toEqual([]);
    }
    const last = runs.at(-1) as Run;
    await last.caughtUp(plainConfig(server));
    await last.close();
    expect(miscounted(last.events())).toEqual([]);
    expect(tableOf(last.events())).toEqual(await rowsOf(sql, 'busy'));
  });

  it('waits for a commit that stands in the log and cannot be seen yet', async () => {
    await filled(sql, 'late', 3);
    await sql.run(
      `INSTALL PLUGIN rpl_semi_sync_source SONAME 'semisync_source.so'`,
      'SET GLOBAL rpl_semi_sync_source_enabled = ON, GLOBAL rpl_semi_sync_source_timeout = 600000',
    );
    const writer = await sqlClient(server);
    const commit = writer.run('UPDATE late SET n = n + 1 WHERE id = 2');
    await untilOwned(sql);
    const run = await openPlain(server, 'late');
    await run.until(
      () => run.progress().waitingFor?.startsWith('waiting for the end of commits') === true,
      'the wait',
    );
    expect(run.events()).toEqual([]);
    await sql.run('SET GLOBAL rpl_semi_sync_source_enabled = OFF');
    await commit;
    await sql.run('UPDATE late SET n = n + 1 WHERE id = 2');
    await run.caughtUp(plainConfig(server));
    expect(run.events().map(({ op, after }) => [op, after?.['n']])).toEqual([
      ['r', 0],
      ['r', 1],
      ['r', 0],
      ['u', 2],
    ]);
    writer.close();
    await run.close();
  });

  it('waits for a quiet moment, or takes a lock, where the log does not tell how rows were', async () => {
    await filled(sql, 'parts', 500);
    await sql.run(`SET GLOBAL binlog_row_image = 'MINIMAL'`);
    await using writers = new Writers(server, {
      table: 'parts',
      sessions: 3,
      seed: 1,
      rekeys: false,
    });
    await sql.run(`GRANT LOCK TABLES ON shop.* TO plain@'%'`);
    const run = await openPlain(server, 'parts');
    await run.until(() => run.progress().phase === 'streaming', 'the stream');
    await writers[Symbol.asyncDispose]();
    await run.caughtUp(plainConfig(server));
    await run.close();
    await sql.run(
      `SET GLOBAL binlog_row_image = 'FULL'`,
      `REVOKE LOCK TABLES ON shop.* FROM plain@'%'`,
    );
    expect(miscounted(run.events())).toEqual([]);
    expect(tableOf(run.events())).toEqual(await rowsOf(sql, 'parts'));
  });
});

/** Until a transaction has its id, and is in the log with it. */
async function untilOwned(sql: SqlClient): Promise<void> {
  for (;;) {
    const [row] = await sql.run('SELECT @@global.gtid_owned AS owned');
    if (row?.['owned'] !== '') return;
  }
}

describe('the first copy of MySQL without GTIDs', () => {
  it('needs the right to lock for a moment, which the check names', async () => {
    await using server = await mysqlContext({
      settings: { 'gtid-mode': 'OFF', 'enforce-gtid-consistency': 'OFF' },
    });
    const sql = await createDatabase(server);
    await plainUser(sql);
    await filled(sql, 'plain', 3);
    const grant = `GRANT LOCK TABLES ON \`${DATABASE}\`.* TO`;
    const { ok, message } = await source.check(plainConfig(server));
    expect([ok, message]).toEqual([false, expect.stringContaining(grant)]);
    const denied = await (await openPlain(server, 'plain')).failed();
    expect(denied).toMatchObject({ code: 'SRC_PRIVILEGE' });
    expect(denied.message).toContain(grant);
    await sql.run(`${grant} plain@'%'`);
    const checked = await source.check(plainConfig(server));
    expect(checked.ok).toBe(true);
    expect(checked.warnings?.join()).toContain('LOCK TABLES');
    const run = await openPlain(server, 'plain');
    await run.until(() => run.events().length === 3, 'the copy');
    await run.close();
    sql.close();
  });
});
