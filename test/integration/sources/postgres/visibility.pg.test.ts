import type pg from 'pg';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { postgresContext, type ServerContext } from '../../../support/contexts.ts';
import { freshDatabase, Run, sqlClient } from './capture-harness.ts';

const ASKED = `SELECT pid FROM pg_stat_activity
  WHERE pid <> pg_backend_pid() AND query LIKE '%pg_current_snapshot%'`;

/** A session that shows the new setting may still commit at once: another process of the server
 * takes it up for all. Commits again until one waits, then lets that one go. */
async function untilCommitsWait(sql: pg.Client, writer: pg.Client): Promise<void> {
  const waiting = `SELECT pid FROM pg_stat_activity WHERE wait_event = 'SyncRep'`;
  for (let committed = true; committed;) {
    committed = false;
    const probe = writer.query(`SELECT pg_logical_emit_message(true, 'probe', '')`).then(() => {
      committed = true;
    });
    await expect
      .poll(async () => committed || (await sql.query(waiting)).rowCount === 1, { timeout: 20_000 })
      .toBe(true);
    if (committed) continue;
    await sql.query(`SELECT pg_cancel_backend(pid) FROM (${waiting}) w`);
    await probe;
    return;
  }
}

/** A transaction that stays invisible while `meanwhile` runs. */
async function held(
  sql: pg.Client,
  writer: pg.Client,
  statements: string,
  meanwhile: () => Promise<void>,
): Promise<{ done: Promise<unknown> }> {
  await sql.query(`ALTER SYSTEM SET synchronous_standby_names = 'nobody'`);
  try {
    await sql.query('SELECT pg_reload_conf()');
    await untilCommitsWait(sql, writer);
    const done = writer.query(`BEGIN; ${statements}; COMMIT`);
    await meanwhile();
    return { done };
  } finally {
    await sql.query('ALTER SYSTEM RESET synchronous_standby_names');
    await sql.query('SELECT pg_reload_conf()');
  }
}

/** A commit is in the log, and sent, before other sessions see it. Waiting for a synchronous standby
 * that does not exist makes that moment as long as the test wants. */
describe.each([18, 14] as const)('postgres %i, a commit that is not visible yet', (major) => {
  let server: ServerContext;
  beforeAll(async () => {
    server = await postgresContext({ major });
  }, 60_000);
  afterAll(() => server[Symbol.asyncDispose]());

  it('is waited for by what reads the large cells of a moved row', async () => {
    await using db = await freshDatabase(server, 'visible');
    await db.sql.query('CREATE TABLE t (id int PRIMARY KEY, big text)');
    await db.sql.query('ALTER TABLE t ALTER big SET STORAGE EXTERNAL');
    const [moved, other] = ['x'.repeat(20_000), 'y'.repeat(20_000)];
    await db.sql.query('INSERT INTO t VALUES (1, $1), (2, $2)', [moved, other]);
    const run = await Run.open(db.config, { streams: ['t'] });
    await run.caughtUp(db.config);
    const writer = await sqlClient(server, String(db.config['database']));
    const moves = 'DELETE FROM t WHERE id = 2; UPDATE t SET id = 2';
    const { done } = await held(db.sql, writer, moves, async () => {
      // The reader has looked and found the transaction still under way.
      await expect
        .poll(async () => (await db.sql.query(ASKED)).rows as unknown[], { timeout: 20_000 })
        .toHaveLength(1);
      expect((await db.sql.query('SELECT big FROM t WHERE id = 2')).rows).toEqual([{ big: other }]);
    });
    await done;
    await writer.end();
    await run.caughtUp(db.config);
    const last = run.events('public.t').at(-1);
    expect(last).toMatchObject({ op: 'c', after: { id: 2 }, unchanged: null });
    expect(last?.after?.['big'] === moved).toBe(true);
    await run.close();
  });

  it('is waited for by what compares a table with the catalog', async () => {
    await using db = await freshDatabase(server, 'altered');
    await db.sql.query('CREATE TABLE t (id int PRIMARY KEY)');
    await db.sql.query('INSERT INTO t VALUES (1)');
    const run = await Run.open(db.config, { streams: ['t'] });
    await run.caughtUp(db.config);
    const writer = await sqlClient(server, String(db.config['database']));
    const alters = `CREATE TYPE mood AS ENUM ('fine'); ALTER TABLE t ADD COLUMN more mood DEFAULT 'fine';
      INSERT INTO t VALUES (2)`;
    const { done } = await held(db.sql, writer, alters, async () => {
      await expect
        .poll(async () => (await db.sql.query(ASKED)).rows as unknown[], { timeout: 20_000 })
        .toHaveLength(1);
    });
    await done;
    await writer.end();
    await run.caughtUp(db.config);
    expect(run.progress().streams[0]?.error ?? null).toBeNull();
    expect(run.events('public.t').at(-1)?.after).toEqual({ id: 2, more: 'fine' });
    await run.close();
  });
});
