import { realpathSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { execFileSync } from 'node:child_process';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { SourceState } from '../../../../connectors/spi/source.ts';
import { postgresContext, type ServerContext } from '../../../support/contexts.ts';
import { configOf, freshDatabase, Run, sqlClient } from './capture-harness.ts';

let server: ServerContext;
beforeAll(async () => {
  server = await postgresContext({ settings: { wal_sender_timeout: '4s' } });
}, 60_000);
afterAll(() => server[Symbol.asyncDispose]());

const withDetails = (state: SourceState | null, details: Record<string, unknown>): SourceState => ({
  ...(state as SourceState),
  details: { ...state?.details, ...details },
});

describe('postgres restarts', () => {
  it('PG-11: cuts a huge transaction and goes on behind what was committed of it', async () => {
    await using db = await freshDatabase(server, 'huge');
    await db.sql.query(
      'CREATE TABLE t (id int PRIMARY KEY, pad text); CREATE TABLE u (id int PRIMARY KEY)',
    );
    const first = await Run.open(db.config, { streams: ['t', 'u'], maxBufferedBytes: 1024 * 1024 });
    await first.caughtUp(db.config);
    await db.sql.query(`BEGIN; INSERT INTO u VALUES (1); UPDATE u SET id = 2;
      INSERT INTO t SELECT i, repeat('x', 100) FROM generate_series(1, 200000) i; TRUNCATE u; COMMIT`);
    await first.until(() => first.total > 60_000, 'some chunks');
    await first.close();
    expect(first.state?.details['chunk']).toMatchObject({ resume: first.state?.position });
    expect(BigInt(`0x${first.state?.position}`)).toBeLessThan(
      first.events()[0]?.source['lsn'] as bigint,
    );
    expect(Math.max(...first.batches.map((batch) => batch.bytes))).toBeLessThan(1.3 * 1024 * 1024);
    const wrong = { ...(first.state?.details['chunk'] as object), check: 1 };
    const third = await Run.open(db.config, {
      streams: ['t', 'u'],
      state: withDetails(first.state, { chunk: wrong }),
    });
    await expect(third.failed()).resolves.toMatchObject({ code: 'SRC_REPLAY_MISMATCH' });
    await db.sql.query('CREATE TABLE v (id int PRIMARY KEY); INSERT INTO v VALUES (1)');
    // The copy of a stream that is added now commits before the transaction comes again.
    const second = await Run.open(db.config, { streams: ['t', 'u', 'v'], state: first.state });
    await second.caughtUp(db.config);
    const copied = second.events('public.v');
    expect(copied.map((event) => event.op)).toEqual(['r']);
    const events = [...first.events(), ...second.events()].filter((event) => event.op !== 'r');
    const seqs = events.map((event) => event.source['seq'] as number);
    expect(seqs).toEqual(Array.from({ length: 200_004 }, (_, index) => index + 1));
    expect(new Set(events.map((event) => event.source['lsn'])).size).toBe(1);
    expect(second.state?.details['chunk']).toBeUndefined();
    await second.close();
  });

  it('outlives a stalled consumer, and the slot does not move meanwhile', async () => {
    await using db = await freshDatabase(server, 'stalled');
    await db.sql.query('CREATE TABLE t (id int PRIMARY KEY, pad text)');
    const run = await Run.open(db.config, { streams: ['t'], maxBufferedBytes: 512 * 1024 });
    await run.caughtUp(db.config);
    const slot = async () =>
      (
        await db.sql.query(
          `SELECT active_pid, confirmed_flush_lsn FROM pg_replication_slots WHERE slot_name = 's_stalled'`,
        )
      ).rows[0];
    let release = () => {};
    run.stallUntil(new Promise((resolve) => (release = resolve)));
    await db.sql.query(`INSERT INTO t SELECT i, repeat('x', 1000) FROM generate_series(1, 100) i`);
    await run.until(() => run.total >= 100, 'what was asked for before the stall');
    await db.sql.query(
      `INSERT INTO t SELECT i, repeat('x', 1000) FROM generate_series(101, 20000) i`,
    );
    const { rows } = await db.sql.query('SELECT pg_current_wal_lsn() AS lsn, now() AS at');
    const before = await slot();
    const started = Date.now();
    while (Date.now() - started < 9_000) await db.sql.query('SELECT pg_sleep(0.5)');
    const after = await slot();
    expect(after.active_pid).toBe(before.active_pid);
    const { rows: passed } = await db.sql.query('SELECT $1::pg_lsn < $2::pg_lsn AS behind', [
      after.confirmed_flush_lsn,
      rows[0].lsn,
    ]);
    expect(passed[0].behind).toBe('t');
    release();
    await run.caughtUp(db.config);
    expect(run.total).toBe(20_000);
    expect(run.failure).toBeNull();
    await run.close();
  });

  it('PG-03, PG-04, PG-06, PG-07: refuses to go on over a gap, each with its code', async () => {
    await using db = await freshDatabase(server, 'codes');
    await db.sql.query('CREATE TABLE t (id int PRIMARY KEY)');
    const first = await Run.open(db.config, { streams: ['t'] });
    await first.caughtUp(db.config);
    // The slot stays below the row's transaction, which therefore comes again and is compared.
    first.acknowledging = false;
    await db.sql.query('INSERT INTO t VALUES (1)');
    await first.until(() => first.total === 1, 'the row');
    await first.close();
    const { state } = first;
    const reopen = (changed: SourceState | null = state) =>
      Run.open(db.config, { streams: ['t'], state: changed });
    const refused = (code: string, changed: SourceState | null = state) =>
      expect(reopen(changed)).rejects.toMatchObject({ code });
    await refused('SRC_IDENTITY_CHANGED', withDetails(state, { systemId: '1' }));
    await refused('SRC_IDENTITY_CHANGED', withDetails(state, { timeline: 7 }));
    await refused('SRC_IDENTITY_CHANGED', withDetails(state, { slot: 'another' }));
    await refused('SRC_POSITION_AHEAD', {
      ...(state as SourceState),
      position: '00000FFF00000000',
    });
    await refused('SRC_SLOT_AHEAD', { ...(state as SourceState), position: '0000000000000001' });
    await db.sql.query(`ALTER PUBLICATION p_codes SET (publish = 'insert')`);
    await refused('SRC_PUBLICATION_MISSING');
    await db.sql.query(
      `ALTER PUBLICATION p_codes SET (publish = 'insert, update, delete, truncate')`,
    );
    const anchor = state?.details['anchor'] as Record<string, unknown>;
    const otherHistory = await reopen(withDetails(state, { anchor: { ...anchor, xid: 5 } }));
    await expect(otherHistory.failed()).resolves.toMatchObject({ code: 'SRC_IDENTITY_CHANGED' });
    const same = await reopen();
    await same.caughtUp(db.config);
    expect(same.total).toBe(0);
    await same.close();
    await db.sql.query(`SELECT pg_drop_replication_slot('s_codes')`);
    await refused('SRC_SLOT_MISSING');
    await db.sql.query(`INSERT INTO t VALUES (2)`);
    await db.sql.query(`SELECT pg_create_logical_replication_slot('s_codes', 'pgoutput')`);
    await refused('SRC_SLOT_AHEAD');
    await db.sql.query('DROP PUBLICATION p_codes');
    await refused('SRC_SLOT_AHEAD');
  });

  it('says so when the publication was away while changes were made', async () => {
    await using db = await freshDatabase(server, 'away');
    await db.sql.query('CREATE TABLE t (id int PRIMARY KEY)');
    const first = await Run.open(db.config, { streams: ['t'] });
    await first.caughtUp(db.config);
    await first.close();
    await db.sql.query('DROP PUBLICATION p_away');
    await expect(Run.open(db.config, { streams: ['t'], state: first.state })).rejects.toMatchObject(
      { code: 'SRC_PUBLICATION_MISSING' },
    );
    await db.sql.query('INSERT INTO t VALUES (1)');
    await db.sql.query('CREATE PUBLICATION p_away FOR TABLE t');
    const second = await Run.open(db.config, { streams: ['t'], state: first.state });
    expect(second.progress().streams[0]?.error?.code).toBe('SRC_PUBLICATION_MISSING');
    await second.close();
    await db.sql.query('DROP PUBLICATION p_away');
  });

  it('stops a stream that was dropped or unpublished, and goes on with the others', async () => {
    await using db = await freshDatabase(server, 'gone');
    await db.sql.query(`CREATE TABLE a (id int PRIMARY KEY); CREATE TABLE b (id int PRIMARY KEY);
      CREATE TABLE c (id int PRIMARY KEY); CREATE TABLE d (id int PRIMARY KEY)`);
    const first = await Run.open(db.config, { streams: ['a', 'b', 'c', 'd'] });
    await first.caughtUp(db.config);
    await db.sql.query('INSERT INTO a VALUES (1); INSERT INTO b VALUES (1)');
    await db.sql.query('DROP TABLE a; ALTER PUBLICATION p_gone DROP TABLE b');
    const stopped = (run: Run) =>
      Object.fromEntries(
        run.progress().streams.map(({ stream, error }) => [stream.name, error?.code]),
      );
    await first.until(() => stopped(first)['b'] !== undefined, 'the look at the catalog');
    await first.caughtUp(db.config);
    expect(stopped(first)).toEqual({
      a: 'SRC_STREAM_GONE',
      b: 'SRC_PUBLICATION_MISSING',
      c: undefined,
      d: undefined,
    });
    expect(first.total).toBe(2);
    await first.close();
    await db.sql.query(
      'ALTER TABLE c DROP CONSTRAINT c_pkey; DROP TABLE d; CREATE TABLE d (id int PRIMARY KEY)',
    );
    await db.sql.query('INSERT INTO c VALUES (1)');
    const second = await Run.open(db.config, { streams: ['a', 'b', 'c', 'd'], state: first.state });
    await second.caughtUp(db.config);
    expect(stopped(second)).toEqual({
      a: 'SRC_STREAM_GONE',
      b: 'SRC_PUBLICATION_MISSING',
      c: 'SRC_NO_REPLICA_IDENTITY',
      d: 'SRC_STREAM_GONE',
    });
    await second.until(() => {
      const streams = second.state?.details['streams'] as Record<string, { stopped?: unknown }>;
      return (
        streams['public.c']?.stopped !== undefined && streams['public.d']?.stopped !== undefined
      );
    }, 'the stops to be stored');
    await second.close();
  });

  it('acknowledges an idle position, so that foreign log is not kept', async () => {
    await using db = await freshDatabase(server, 'idle');
    await db.sql.query('CREATE TABLE t (id int PRIMARY KEY); CREATE TABLE other (id int)');
    const run = await Run.open(db.config, { streams: ['t'] });
    await run.caughtUp(db.config);
    await db.sql.query('INSERT INTO other SELECT * FROM generate_series(1, 10000)');
    const { rows } = await db.sql.query('SELECT pg_current_wal_lsn() AS lsn');
    for (let moved = false; !moved;) {
      await run.until(() => true);
      const answer = await db.sql.query(
        `SELECT confirmed_flush_lsn >= $1 AS moved, pg_sleep(0.2) FROM pg_replication_slots WHERE slot_name = 's_idle'`,
        [rows[0].lsn],
      );
      moved = answer.rows[0].moved === 't';
    }
    await run.close();
    const again = await Run.open(db.config, { streams: ['t'], state: run.state });
    await again.caughtUp(db.config);
    await again.close();
  });

  it('PG-01, PG-05, PG-07: notices a lost slot, a killed server and a server restored from an older copy', async () => {
    await using own = await postgresContext({
      settings: { max_slot_wal_keep_size: '16MB', min_wal_size: '32MB', max_wal_size: '32MB' },
    });
    const config = configOf(own);
    let sql = await sqlClient(own);
    await sql.query('CREATE TABLE t (id int PRIMARY KEY)');
    const first = await Run.open(config, { streams: ['t'] });
    await first.caughtUp(config);
    await sql.query('INSERT INTO t VALUES (1)');
    await first.until(() => first.total === 1, 'the first row');
    await first.close();
    await sql.end();
    const data = realpathSync(join(own.folder, 'data'));
    await own.stop();
    execFileSync('cp', ['-a', data, `${data}.copy`]);
    await own.restart();

    sql = await sqlClient(own);
    const second = await Run.open(config, { streams: ['t'], state: first.state });
    await second.caughtUp(config);
    await sql.query('INSERT INTO t VALUES (2)');
    await second.until(() => second.total === 1, 'the second row');
    await own.kill();
    await expect(second.failed()).resolves.toMatchObject({ code: 'SRC_CONNECTION_LOST' });
    await own.restart();
    sql = await sqlClient(own);
    const third = await Run.open(config, { streams: ['t'], state: second.state });
    await sql.query('INSERT INTO t VALUES (3)');
    await third.until(() => third.total === 1, 'the third row');
    expect(third.events()[0]?.after).toEqual({ id: 3 });
    await third.close();
    await sql.end();

    await own.stop();
    rmSync(data, { recursive: true });
    execFileSync('cp', ['-a', `${data}.copy`, data]);
    await own.restart();
    await expect(Run.open(config, { streams: ['t'], state: third.state })).rejects.toMatchObject({
      code: 'SRC_POSITION_AHEAD',
    });
    sql = await sqlClient(own);
    for (let i = 0; i < 60; i++) await sql.query(`INSERT INTO t VALUES (${100 + i})`);
    await sql.query('CREATE TABLE filler AS SELECT generate_series(1, 20000) AS i');
    const restored = await Run.open(config, { streams: ['t'], state: third.state });
    await expect(restored.failed()).resolves.toMatchObject({ code: 'SRC_IDENTITY_CHANGED' });
    expect(restored.total).toBe(0);

    for (let i = 0; i < 6; i++) {
      await sql.query('INSERT INTO filler SELECT generate_series(1, 200000)');
      await sql.query('SELECT pg_switch_wal()');
      await sql.query('CHECKPOINT');
    }
    await expect(Run.open(config, { streams: ['t'], state: third.state })).rejects.toMatchObject({
      code: 'SRC_SLOT_LOST',
    });
    await sql.end();
    rmSync(`${data}.copy`, { recursive: true });
  });
});
