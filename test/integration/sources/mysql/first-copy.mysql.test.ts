import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { source } from '../../../../connectors/sources/mysql/source.ts';
import { mysqlContext, type ServerContext } from '../../../support/contexts.ts';
import { miscounted, tableOf } from '../../../conformance/event-facts.ts';
import {
  filled,
  firstCopySuite,
  ONE_PHASE,
  openPlain,
  plainConfig,
  plainUser,
  rowsOf,
  TWO_PHASES,
  Writers,
} from './first-copy-suite.ts';
import { createDatabase, DATABASE, sqlClient, type SqlClient } from './mysql-harness.ts';

firstCopySuite('MySQL', mysqlContext, [ONE_PHASE, TWO_PHASES]);

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

  it('stops at an XA transaction older than the copy where it may not be told of it, as the check says', async () => {
    await filled(sql, 'xa', 1);
    const owner = await sqlClient(server);
    await owner.run(`XA START 'older'`, 'INSERT INTO xa VALUES (2, 0, NULL)', `XA END 'older'`);
    await owner.run(`XA PREPARE 'older'`);
    owner.close();
    const { ok, warnings } = await source.check(plainConfig(server));
    expect([ok, warnings?.join()]).toEqual([true, expect.stringContaining('XA_RECOVER_ADMIN')]);
    const run = await openPlain(server, 'xa');
    await run.until(() => run.progress().phase === 'streaming', 'the stream');
    await sql.run(`XA COMMIT 'older'`);
    await run.until(() => run.progress().streams[0]?.phase === 'stopped', 'the stop');
    expect(run.progress().streams[0]?.error).toMatchObject({ code: 'SRC_LOG_INCOMPLETE' });
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
