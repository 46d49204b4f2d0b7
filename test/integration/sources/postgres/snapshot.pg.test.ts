import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { postgresContext, type ServerContext } from '../../../support/contexts.ts';
import { freshDatabase, Run, sqlClient } from './capture-harness.ts';

let server: ServerContext;
beforeAll(async () => {
  server = await postgresContext();
}, 60_000);
afterAll(() => server[Symbol.asyncDispose]());

/** How often each id was created or copied. */
function counts(run: Run, into = new Map<unknown, number>()): Map<unknown, number> {
  for (const event of run.events()) {
    if (event.op !== 'c' && event.op !== 'r') continue;
    const id = event.after?.['id'];
    into.set(id, (into.get(id) ?? 0) + 1);
  }
  return into;
}

describe('postgres snapshot', () => {
  it('misses and repeats nothing under concurrent writers, first and for a stream added later', async () => {
    await using db = await freshDatabase(server, 'writers');
    await db.sql
      .query(`CREATE TABLE a (id bigserial PRIMARY KEY, w int); CREATE TABLE b (LIKE a INCLUDING ALL);
      INSERT INTO a (w) SELECT 0 FROM generate_series(1, 20000);
      INSERT INTO b (w) SELECT 0 FROM generate_series(1, 20000)`);
    let writing = true;
    const writers = [1, 2, 3].map(async (writer) => {
      const sql = await sqlClient(server, 'writers');
      while (writing) {
        await sql.query('BEGIN');
        for (let i = 0; i < 5; i++) await sql.query(`INSERT INTO a (w) VALUES (${writer})`);
        await sql.query(`INSERT INTO b (w) VALUES (${writer})`);
        await sql.query(writer === 3 ? 'ROLLBACK' : 'COMMIT');
      }
      await sql.end();
    });
    const first = await Run.open(db.config, { streams: ['a'] });
    await first.until(() => first.events().some((event) => event.op === 'c'), 'a streamed row');
    await first.close();
    const second = await Run.open(db.config, { streams: ['a', 'b'], state: first.state });
    await second.until(
      () => second.events('public.b').some((event) => event.op === 'c'),
      'a streamed row of the added stream',
    );
    writing = false;
    await Promise.all(writers);
    await second.caughtUp(db.config);
    const { rows } = await db.sql.query(
      `SELECT (SELECT count(*) FROM a) AS a, (SELECT count(*) FROM b) AS b`,
    );
    const a = counts(first);
    for (const event of second.events('public.a')) {
      const id = event.after?.['id'];
      a.set(id, (a.get(id) ?? 0) + 1);
    }
    expect([...a.values()].filter((count) => count !== 1)).toEqual([]);
    expect(a.size).toBe(Number(rows[0]['a']));
    const b = second.events('public.b').map((event) => event.after?.['id']);
    expect(b).toHaveLength(Number(rows[0]['b']));
    expect(new Set(b).size).toBe(b.length);
    await second.close();
    const slots = await db.sql.query(
      `SELECT slot_name FROM pg_replication_slots WHERE database = 'writers'`,
    );
    expect(slots.rows).toEqual([{ slot_name: 's_writers' }]);
  });

  it('says whom the slot waits for', async () => {
    await using db = await freshDatabase(server, 'waits');
    await db.sql.query('CREATE TABLE t (id int PRIMARY KEY)');
    const blocker = await sqlClient(server, 'waits');
    await blocker.query('BEGIN');
    await blocker.query('INSERT INTO t VALUES (1)');
    const run = await Run.open(db.config, { streams: ['t'] });
    await run.until(() => run.progress().waitingFor?.includes('transactions') === true, 'the wait');
    expect(run.progress().waitingFor).toMatch(/1 running, the oldest for \d+ s \(pid \d+\)/);
    const hurried = { ...(db.config['replication_method'] as object), initial_waiting_seconds: 1 };
    const second = await Run.open(
      { ...db.config, replication_method: { ...hurried, replication_slot: 's_hurried' } },
      { streams: ['t'] },
    );
    await expect(second.failed()).resolves.toMatchObject({ code: 'SRC_SLOT_WAIT' });
    const third = await Run.open(
      { ...db.config, replication_method: { ...hurried, replication_slot: 's_closed' } },
      { streams: ['t'] },
    );
    await third.until(() => third.progress().waitingFor !== undefined, 'the wait');
    await third.close();
    const slots = async () =>
      (
        await db.sql.query(
          `SELECT slot_name FROM pg_replication_slots WHERE slot_name IN ('s_hurried', 's_closed')`,
        )
      ).rows.length;
    for (let left = 1; left > 0;) left = await slots();
    await blocker.query('COMMIT');
    await blocker.end();
    await run.caughtUp(db.config);
    expect(run.total).toBe(1);
    await run.close();
  });

  it('commits a long copy in between, and begins it with a truncate after a restart', async () => {
    await using db = await freshDatabase(server, 'partial');
    await db.sql.query(`CREATE TABLE t (id int PRIMARY KEY, pad text);
      INSERT INTO t SELECT i, repeat('x', 200) FROM generate_series(1, 30000) i`);
    const first = await Run.open(db.config, {
      streams: ['t'],
      maxTransactionMs: 0,
      maxBufferedBytes: 256 * 1024,
    });
    await first.until(() => first.records.length > 0, 'rows that were committed in between');
    await first.close();
    const streams = first.state?.details['streams'] as Record<string, unknown>;
    expect(streams['public.t']).toMatchObject({ done: false, partial: true });
    const second = await Run.open(db.config, { streams: ['t'], state: first.state });
    await second.caughtUp(db.config);
    expect(second.events()[0]?.op).toBe('t');
    expect(counts(second).size).toBe(30000);
    expect(second.records).toHaveLength(30001);
    await second.close();
  });

  it('leaves nothing of a copy that was cut short, and starts it again', async () => {
    await using db = await freshDatabase(server, 'crash');
    await db.sql.query(`CREATE TABLE t (id int PRIMARY KEY, pad text);
      INSERT INTO t SELECT i, repeat('x', 200) FROM generate_series(1, 30000) i`);
    const first = await Run.open(db.config, { streams: ['t'], maxBufferedBytes: 256 * 1024 });
    await first.until(() => first.total > 1000, 'some rows');
    await first.close();
    expect(first.state).toBeNull();
    for (let sessions = ['?']; sessions.length > 0;) {
      const { rows } = await db.sql.query(
        `SELECT application_name FROM pg_stat_activity WHERE application_name LIKE 'headrace%' AND datname = 'crash'`,
      );
      sessions = rows.map((row) => row.application_name as string);
    }
    const second = await Run.open(db.config, { streams: ['t'] });
    await second.caughtUp(db.config);
    expect(second.records).toHaveLength(30000);
    await second.close();
  });

  it('stops a stream at a row that is too large, in the snapshot and in the stream', async () => {
    await using db = await freshDatabase(server, 'large');
    await db.sql
      .query(`CREATE TABLE s (id int PRIMARY KEY, a text); CREATE TABLE t (id int PRIMARY KEY, a text);
      CREATE TABLE u (id int PRIMARY KEY);
      INSERT INTO s VALUES (1, repeat('x', 100000)); INSERT INTO t VALUES (1, 'x')`);
    const run = await Run.open(db.config, { streams: ['s', 't', 'u'], maxRecordBytes: 50_000 });
    await run.caughtUp(db.config);
    expect(run.records.map((record) => record.stream)).toEqual(['public.t']);
    await db.sql.query(`INSERT INTO t VALUES (2, repeat('x', 20000000))`);
    await db.sql.query(`INSERT INTO t VALUES (3, repeat('x', 60000)); INSERT INTO u VALUES (1)`);
    await run.caughtUp(db.config);
    expect(run.records.map((record) => record.stream)).toEqual(['public.t', 'public.u']);
    const phases = run
      .progress()
      .streams.map(({ stream, phase, error }) => [stream.name, phase, error?.code]);
    expect(phases).toEqual([
      ['s', 'stopped', 'EVT_TOO_LARGE'],
      ['t', 'stopped', 'EVT_TOO_LARGE'],
      ['u', 'streaming', undefined],
    ]);
    await run.close();
  });

  it('gives up one copy after the other, and the order to end one never meets what comes behind', async () => {
    await using db = await freshDatabase(server, 'given_up');
    const names = Array.from({ length: 80 }, (_, i) => `t${i}`);
    for (const name of names) {
      await db.sql.query(`CREATE TABLE ${name} (id int PRIMARY KEY, a text);
        INSERT INTO ${name} VALUES (1, repeat('x', 100000))`);
    }
    const run = await Run.open(db.config, { streams: names, maxRecordBytes: 50_000 });
    await run.caughtUp(db.config);
    const codes = run.progress().streams.map(({ error }) => error?.code);
    expect(codes).toEqual(names.map(() => 'EVT_TOO_LARGE'));
    await run.close();
  });

  it('uses a slot and publication that somebody else made, also one older than the publication', async () => {
    await using db = await freshDatabase(server, 'dba');
    await db.sql.query(`CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (1)`);
    const method = db.config['replication_method'] as Record<string, unknown>;
    await db.sql.query(`CREATE ROLE cdc LOGIN REPLICATION; GRANT SELECT ON t TO cdc`);
    const config = {
      ...db.config,
      username: 'cdc',
      replication_method: { ...method, create: false },
    };
    await expect(Run.open(config, { streams: ['t'] })).rejects.toMatchObject({
      code: 'SRC_SLOT_MISSING',
    });
    await db.sql.query(`SELECT pg_create_logical_replication_slot('s_dba', 'pgoutput')`);
    await db.sql.query(`INSERT INTO t VALUES (2)`);
    await expect(Run.open(config, { streams: ['t'] })).rejects.toMatchObject({
      code: 'SRC_PUBLICATION_MISSING',
    });
    await db.sql.query(`CREATE PUBLICATION p_dba FOR ALL TABLES`);
    const run = await Run.open(config, { streams: ['t'] });
    await run.caughtUp(config);
    await db.sql.query(`INSERT INTO t VALUES (3)`);
    await run.caughtUp(config);
    expect(run.events().map((event) => [event.op, event.after?.['id']])).toEqual([
      ['r', 1],
      ['r', 2],
      ['c', 3],
    ]);
    await run.close();
    await db.sql.query('DROP PUBLICATION p_dba; DROP OWNED BY cdc; DROP ROLE cdc');
  });
});
