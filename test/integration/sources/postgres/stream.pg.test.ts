import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { postgresContext, type ServerContext } from '../../../support/contexts.ts';
import { freshDatabase, Run, type SeenEnvelope } from './capture-harness.ts';

const ops = (events: readonly SeenEnvelope[]) => events.map((event) => event.op).join('');

describe.each([18, 16, 14] as const)('postgres %i stream', (major) => {
  let server: ServerContext;
  beforeAll(async () => {
    server = await postgresContext({ major });
  }, 60_000);
  afterAll(() => server[Symbol.asyncDispose]());

  it('carries insert, update, delete, key change and truncate after the snapshot', async () => {
    await using db = await freshDatabase(server, 'basic');
    await db.sql.query('CREATE TABLE t (id bigint PRIMARY KEY, a text, b int)');
    await db.sql.query(`INSERT INTO t VALUES (1, 'one', 1), (2, null, 2)`);
    const run = await Run.open(db.config, { streams: ['t'], partitions: 3 });
    await run.until(() => run.records.length === 2, 'the snapshot');
    expect(ops(run.events())).toBe('rr');
    expect(run.events().every((event) => event.source['snapshot'] === 'true')).toBe(true);
    await db.sql.query(`INSERT INTO t VALUES (3, 'three', 3)`);
    await db.sql.query(`UPDATE t SET b = 20 WHERE id = 2`);
    await db.sql.query(`UPDATE t SET id = 30 WHERE id = 3`);
    await db.sql.query(`DELETE FROM t WHERE id = 1`);
    await db.sql.query(`TRUNCATE t`);
    await run.caughtUp(db.config);
    const streamed = run.records.slice(2);
    const seen = streamed.map(({ key, value }) => ({
      key,
      op: value?.op ?? 'tombstone',
      before: value?.before,
      after: value?.after,
    }));
    const whole = (id: bigint, a: string | null, b: number) => ({ id, a, b });
    expect(seen).toHaveLength(4 + 1 + 1 + 1 + 3);
    expect(seen).toContainEqual({
      key: { id: 3n },
      op: 'c',
      before: null,
      after: whole(3n, 'three', 3),
    });
    expect(seen).toContainEqual({
      key: { id: 2n },
      op: 'u',
      before: null,
      after: whole(2n, null, 20),
    });
    for (const id of [3n, 1n]) {
      const before = { id, a: null, b: null };
      expect(seen).toContainEqual({ key: { id }, op: 'd', before, after: null });
      expect(seen).toContainEqual({
        key: { id },
        op: 'tombstone',
        before: undefined,
        after: undefined,
      });
    }
    expect(seen).toContainEqual({
      key: { id: 30n },
      op: 'c',
      before: null,
      after: whole(30n, 'three', 3),
    });
    const truncates = streamed.filter(({ value }) => value?.op === 't');
    expect(truncates.map(({ partition }) => partition).sort()).toEqual([0, 1, 2]);
    const identities = run
      .events()
      .filter(({ source }) => source['snapshot'] === 'false')
      .map(({ source }) => `${source['lsn']}/${source['seq']}`);
    expect(new Set(identities).size).toBe(identities.length);
    await run.close();
  });

  it('PG-09: delivers a transaction that was open across a restart', async () => {
    await using db = await freshDatabase(server, 'opentx');
    await db.sql.query('CREATE TABLE t (id int PRIMARY KEY)');
    await using other = await freshDatabase(server, 'opentx2');
    const first = await Run.open(db.config, { streams: ['t'] });
    await first.caughtUp(db.config);
    const pg = await import('pg');
    const session = new pg.default.Client({
      host: server.host,
      port: server.port,
      user: 'postgres',
      database: 'opentx',
    });
    await session.connect();
    await session.query('BEGIN');
    await session.query('INSERT INTO t VALUES (1)');
    await db.sql.query('INSERT INTO t VALUES (2)');
    await first.until(() => first.total === 1, 'the short transaction');
    await first.caughtUp(db.config);
    await first.close();
    await session.query('COMMIT');
    await session.end();
    const second = await Run.open(db.config, { streams: ['t'], state: first.state });
    await second.caughtUp(db.config);
    expect(second.events().map((event) => event.after?.['id'])).toEqual([1]);
    await second.close();
    expect(other.config['database']).toBe('opentx2');
  });

  it('keeps unchanged TOAST cells apart from null, and reads them at a key change', async () => {
    await using db = await freshDatabase(server, 'toast');
    await db.sql.query('CREATE TABLE t (id int PRIMARY KEY, n int, big text)');
    await db.sql.query('ALTER TABLE t ALTER big SET STORAGE EXTERNAL');
    await db.sql.query('CREATE TABLE f (id int PRIMARY KEY, n int, big text)');
    await db.sql.query('ALTER TABLE f ALTER big SET STORAGE EXTERNAL, REPLICA IDENTITY FULL');
    const big = 'x'.repeat(20_000);
    await db.sql.query('INSERT INTO t VALUES (1, 1, $1)', [big]);
    await db.sql.query('INSERT INTO f VALUES (1, 1, $1)', [big]);
    const run = await Run.open(db.config, { streams: ['t', 'f'] });
    await run.caughtUp(db.config);
    await db.sql.query('UPDATE t SET n = 2');
    await db.sql.query('UPDATE t SET id = 2');
    await run.caughtUp(db.config);
    await db.sql.query('UPDATE f SET n = 2');
    await db.sql.query('UPDATE f SET id = 2');
    await db.sql.query('UPDATE t SET id = 3; DELETE FROM t');
    await run.caughtUp(db.config);
    const t = run.events('public.t').slice(1);
    expect(ops(t)).toBe('udcdcd');
    expect(t[0]).toMatchObject({ after: { n: 2, big: null }, unchanged: ['big'] });
    expect(t[2]).toMatchObject({ after: { id: 2, big }, unchanged: null });
    // The row was gone before its cells could be read.
    expect(t[4]).toMatchObject({ after: { id: 3, big: null }, unchanged: ['big'] });
    const f = run.events('public.f').slice(1);
    expect(ops(f)).toBe('udc');
    expect(f[0]).toMatchObject({ before: { n: 1, big }, after: { n: 2, big }, unchanged: null });
    expect(f[2]).toMatchObject({ after: { id: 2, big }, unchanged: null });
    await run.close();
  });

  it('follows DDL between and inside transactions', async () => {
    await using db = await freshDatabase(server, 'ddl');
    await db.sql.query('CREATE TABLE t (id int PRIMARY KEY, a text)');
    const run = await Run.open(db.config, { streams: ['t'] });
    await run.caughtUp(db.config);
    await db.sql.query(`INSERT INTO t VALUES (1, 'a')`);
    await db.sql.query(`ALTER TABLE t ADD b int`);
    await db.sql.query(`INSERT INTO t VALUES (2, 'a', 2)`);
    await db.sql.query(`BEGIN; INSERT INTO t VALUES (3, 'a', 3); ALTER TABLE t ADD c bool;
      INSERT INTO t VALUES (4, 'a', 4, true); ALTER TABLE t DROP a;
      INSERT INTO t VALUES (5, 5, false); COMMIT`);
    await db.sql.query('VACUUM FULL t');
    await db.sql.query(`INSERT INTO t VALUES (6, 6, false)`);
    await run.caughtUp(db.config);
    expect(run.events().map((event) => event.after)).toEqual([
      { id: 1, a: 'a' },
      { id: 2, a: 'a', b: 2 },
      { id: 3, a: 'a', b: 3 },
      { id: 4, a: 'a', b: 4, c: true },
      { id: 5, b: 5, c: false },
      { id: 6, b: 6, c: false },
    ]);
    await run.close();
  });

  it('sees nothing of rolled back, empty and foreign transactions, and one stream of partitions', async () => {
    await using db = await freshDatabase(server, 'misc');
    await db.sql
      .query(`CREATE TABLE p (id int, region text, PRIMARY KEY (region, id)) PARTITION BY LIST (region);
      CREATE TABLE p_eu PARTITION OF p FOR VALUES IN ('eu');
      CREATE TABLE p_us PARTITION OF p FOR VALUES IN ('us');
      CREATE TABLE other (id int PRIMARY KEY);
      INSERT INTO p VALUES (1, 'eu'), (2, 'us')`);
    const run = await Run.open(db.config, { streams: ['p'] });
    await run.caughtUp(db.config);
    await db.sql.query(`BEGIN; INSERT INTO p VALUES (9, 'eu'); ROLLBACK`);
    await db.sql.query(`BEGIN; SAVEPOINT s; INSERT INTO p VALUES (8, 'eu'); ROLLBACK TO s;
      INSERT INTO other VALUES (1); COMMIT`);
    await db.sql.query(`INSERT INTO p VALUES (3, 'us')`);
    await db.sql.query(`UPDATE p SET region = 'eu' WHERE id = 3`);
    await run.caughtUp(db.config);
    expect(ops(run.events())).toBe('rrcdc');
    expect(new Set(run.records.map((record) => record.stream))).toEqual(new Set(['public.p']));
    expect(run.records[2]?.key).toEqual({ region: 'us', id: 3 });
    await run.close();
  });

  it('PG-12: captures inserts of a table without a key, whose own updates keep working', async () => {
    await using db = await freshDatabase(server, 'keyless');
    await db.sql.query('CREATE TABLE k (a int); CREATE TABLE t (id int PRIMARY KEY)');
    await db.sql.query('INSERT INTO k VALUES (1)');
    const run = await Run.open(db.config, { streams: ['k', 't'] });
    await run.caughtUp(db.config);
    await db.sql.query('INSERT INTO k VALUES (2)');
    await db.sql.query('UPDATE k SET a = 3 WHERE a = 1');
    await run.caughtUp(db.config);
    expect(run.records.map(({ key, value }) => [key, value?.op, value?.after])).toEqual([
      [null, 'r', { a: 1 }],
      [null, 'c', { a: 2 }],
    ]);
    await run.close();
  });
});
