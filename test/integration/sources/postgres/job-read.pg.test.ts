import type pg from 'pg';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { postgresContext, type ServerContext } from '../../../support/contexts.ts';
import { source } from '../../../../connectors/sources/postgres/source.ts';
import type { SourceState } from '../../../../connectors/spi/source.ts';
import { sqlClient, type Run, type SeenEnvelope } from './capture-harness.ts';
import { openJobRun, type JobRunOptions } from './job-harness.ts';

const FOREVER = { timeout: 120_000 };

describe('streams read by jobs', FOREVER, () => {
  let server: ServerContext;
  let sql: pg.Client;
  let config: Record<string, unknown>;

  beforeAll(async () => {
    server = await postgresContext();
    sql = await sqlClient(server);
    await sql.query(`CREATE ROLE reader LOGIN PASSWORD 'secret'`);
    for (const [name, value] of Object.entries(HOSTILE)) {
      await sql.query(`ALTER ROLE reader SET ${name} = '${value}'`);
    }
    await sql.query(`ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO reader`);
    config = {
      host: server.host,
      port: server.port,
      database: 'postgres',
      username: 'reader',
      password: 'secret',
      ssl_mode: { mode: 'disable' },
      replication_method: { method: 'Standard' },
    };
  });

  afterAll(async () => {
    await sql.end();
    await server[Symbol.asyncDispose]();
  });

  const read = async (options: JobRunOptions): Promise<Run> => {
    const run = await openJobRun(config, options);
    await run.finished;
    if (run.failure !== null) throw run.failure;
    return run;
  };

  it('are checked and discovered with no right but SELECT', async () => {
    await sql.query(
      `CREATE TABLE seen (id int PRIMARY KEY, tag uuid, n float8, updated_at timestamptz)`,
    );
    const found = (await source.discover(config)).find(({ stream }) => stream.name === 'seen');
    expect(found).toMatchObject({
      sourceDefinedCursor: false,
      cursors: ['id', 'updated_at'],
      defaultCursor: 'updated_at',
      primaryKey: ['id'],
    });
    expect(found?.warning).toContain('CREATE INDEX ON public.seen ("updated_at")');
    const checked = await source.check(config);
    expect(checked).toMatchObject({ ok: true });
    expect(checked.warnings?.join()).toContain('the cursor updated_at has no index');
    await sql.query(`CREATE INDEX ON seen (updated_at)`);
    const again = (await source.discover(config)).find(({ stream }) => stream.name === 'seen');
    expect(again?.warning).toBeUndefined();
  });

  it('stand between the marks of a generation, exact and in pieces by any key', async () => {
    await sql.query(`CREATE TYPE mood AS ENUM ('sad', 'ok')`);
    await sql.query(`CREATE TABLE many (b text, a numeric, mood mood, at timestamptz, bytes bytea,
      PRIMARY KEY (b, a))`);
    await sql.query(`INSERT INTO many SELECT E'x\\t\\'' || i % 7, i::numeric / 3, 'ok', 'infinity', '\\x00ff'
      FROM generate_series(1, 25000) i`);
    const run = await read({ job: '1', streams: [{ name: 'many' }], maxTransactionMs: 1 });
    const events = run.events();
    expect(marksOf(events)).toEqual(['t true 1', 'm last 1']);
    expect(new Set(events.map(({ source: { epoch } }) => epoch))).toEqual(new Set([1]));
    const rows = events.filter(({ op }) => op === 'r').map(({ after }) => JSON.stringify(after));
    expect(rows.length).toBe(25_000);
    expect(new Set(rows).size).toBe(25_000);
    expect(events.at(5)?.after).toMatchObject({ mood: 'ok', at: 'infinity' });
    expect(run.state).toMatchObject({ position: '1', epoch: 1 });
    expect(run.batches.filter(({ state }) => state !== null).length).toBeGreaterThan(2);
    expect(run.progress()).toMatchObject({ phase: 'read', readThrough: '1' });
  });

  it('go on in the same generation where a crash left them, and begin a further one for a new job', async () => {
    await sql.query(`CREATE TABLE big (id int PRIMARY KEY, v text)`);
    await sql.query(`INSERT INTO big SELECT i, 'v' || i FROM generate_series(1, 35000) i`);
    const streams = [{ name: 'big' }];
    const first = await openJobRun(config, { job: '1', streams, maxTransactionMs: 1 });
    await first.until(() => first.batches.some(({ state }) => state !== null));
    await first.close();
    const left = first.events().length;
    expect(left).toBeGreaterThan(10_000);
    expect(left).toBeLessThan(35_002);
    const { state, registry } = first;
    await sql.query(`INSERT INTO big VALUES (35001, 'late')`);
    const second = await read({ job: '1', streams, state, registry, maxTransactionMs: 1 });
    const whole = [...first.events(), ...second.events()];
    expect(marksOf(whole)).toEqual(['t true 1', 'm last 1']);
    const ids = whole.filter(({ op }) => op === 'r').map(({ after }) => after?.['id']);
    expect(ids).toEqual(Array.from({ length: 35_001 }, (_, i) => i + 1));
    const other = await read({ job: '2', streams, state, registry });
    expect(marksOf(other.events())).toEqual(['t true 2', 'm last 2']);
    expect(other.events().length).toBe(35_003);
    const done = await read({ job: '2', streams, state: other.state, registry });
    expect(done.events()).toEqual([]);
    expect(done.progress().readThrough).toBe('2');
  });

  it('refuse a generation that is empty after one that was not, until it is wished for', async () => {
    await sql.query(`CREATE TABLE little (id int PRIMARY KEY); CREATE TABLE fine (id int)`);
    await sql.query(`INSERT INTO little VALUES (1); INSERT INTO fine VALUES (1)`);
    const streams = [{ name: 'little' }, { name: 'fine' }];
    const full = await read({ job: '1', streams });
    await sql.query(`DELETE FROM little`);
    const { registry, state } = full;
    const refused = await read({ job: '2', streams, state, registry });
    expect(refused.progress().streams.map(({ phase, error }) => [phase, error?.code])).toEqual([
      ['stopped', 'SRC_REFRESH_EMPTY'],
      ['read', undefined],
    ]);
    expect(refused.records.map(({ stream }) => stream)).toEqual(Array(3).fill('public.fine'));
    expect(refused.progress()).toMatchObject({ phase: 'read', readThrough: '1' });
    const wished = await read({
      job: '3',
      streams: [{ name: 'little', copy: '3' }],
      state: refused.state,
      registry,
    });
    expect(marksOf(wished.events())).toHaveLength(2);
    const after = await read({ job: '4', streams, state: wished.state, registry });
    expect(after.progress().readThrough).toBe('4');
  });

  it('leave nothing behind of a stream that cannot be read', async () => {
    await sql.query(`CREATE TABLE bad (id int, v text); CREATE TABLE good (id int)`);
    await sql.query(`INSERT INTO bad SELECT i, repeat('x', 1000) FROM generate_series(1, 30000) i`);
    await sql.query(`INSERT INTO bad VALUES (0, repeat('x', 9000000))`);
    await sql.query(`INSERT INTO good VALUES (1)`);
    const run = await read({ job: '1', streams: [{ name: 'bad' }, { name: 'good' }] });
    expect(run.progress().streams[0]?.error?.code).toBe('EVT_TOO_LARGE');
    expect(run.records.map(({ stream }) => stream)).toEqual(Array(3).fill('public.good'));
  });

  describe('by a cursor', () => {
    let state: SourceState | null;
    let registry: Run['registry'] | undefined;
    let job: number;
    const incremental = { syncMode: 'incremental', cursor: 'updated_at' } as const;

    const next = async (name: string, more: object = {}): Promise<SeenEnvelope[]> => {
      job++;
      const run = await read({
        job: String(job).padStart(4, '0'),
        streams: [{ name, ...incremental, ...more }],
        state,
        ...(registry === undefined ? {} : { registry }),
      });
      const [stream] = run.progress().streams;
      expect(stream?.error).toBeUndefined();
      ({ state, registry } = run);
      return run.events();
    };

    const fresh = (): void => {
      [state, registry, job] = [null, undefined, 0];
    };

    const values = (events: readonly SeenEnvelope[]) =>
      events.map(({ op, after }) => `${op} ${String(after?.['id'])}`).toSorted();

    it('take a late commit with an older value once, by a savepoint too, and nothing twice', async () => {
      fresh();
      await sql.query(
        `CREATE TABLE late (id int, updated_at timestamptz); CREATE INDEX ON late (updated_at)`,
      );
      await sql.query(
        `INSERT INTO late SELECT i, now() - interval '1 day' FROM generate_series(1, 3) i`,
      );
      const open = await sqlClient(server);
      await open.query(`BEGIN; INSERT INTO late VALUES (10, now()); SAVEPOINT s`);
      await open.query(`INSERT INTO late VALUES (11, now() - interval '1 hour')`);
      await sql.query(`INSERT INTO late VALUES (20, now() + interval '1 second')`);
      expect(values(await next('late'))).toEqual(['r 1', 'r 2', 'r 20', 'r 3']);
      await sql.query(`INSERT INTO late VALUES (21, now())`);
      expect(values(await next('late'))).toEqual(['r 21']);
      await open.query(`COMMIT`);
      await open.end();
      expect(values(await next('late'))).toEqual(['r 10', 'r 11']);
      expect(values(await next('late'))).toEqual([]);
      await sql.query(`UPDATE late SET updated_at = now() WHERE id = 10`);
      expect(values(await next('late'))).toEqual(['r 10']);
      expect(values(await next('late'))).toEqual([]);
    });

    it('take rows without a place in the order when they are written', async () => {
      fresh();
      await sql.query(`CREATE TABLE odd (id int PRIMARY KEY, updated_at timestamp)`);
      await sql.query(
        `INSERT INTO odd VALUES (1, NULL), (2, 'infinity'), (3, '9999-12-31'), (4, '-infinity')`,
      );
      expect(values(await next('odd'))).toEqual(['r 1', 'r 2', 'r 3', 'r 4']);
      await sql.query(`INSERT INTO odd VALUES (5, now()), (6, NULL), (7, '-infinity')`);
      expect(values(await next('odd'))).toEqual(['r 5', 'r 6', 'r 7']);
      // As if the reads lay far enough apart for a floor.
      state = aged(state as SourceState);
      await sql.query(
        `INSERT INTO odd VALUES (8, now()), (9, NULL), (10, '-infinity'), (11, 'infinity')`,
      );
      expect(values(await next('odd'))).toEqual(['r 10', 'r 11', 'r 8', 'r 9']);
      expect(values(await next('odd'))).toEqual([]);
    });

    it('read by a number, begin anew behind a truncate, and win over what was read before', async () => {
      fresh();
      await sql.query(`CREATE TABLE counted (id bigint PRIMARY KEY, v text)`);
      await sql.query(`INSERT INTO counted SELECT i, 'v' FROM generate_series(1, 12000) i`);
      const by = { cursor: 'id' };
      expect(await next('counted', by)).toHaveLength(12_000);
      await sql.query(`INSERT INTO counted VALUES (12001, 'v')`);
      expect(values(await next('counted', by))).toEqual(['r 12001']);
      await sql.query(`DELETE FROM counted WHERE id > 2`);
      const again = await next('counted', { ...by, copy: '3' });
      expect(again.map(({ op }) => op)).toEqual(['t', 'r', 'r']);
      const epochs = again.map(({ source: { epoch } }) => epoch);
      expect(new Set(epochs)).toEqual(new Set([3]));
      const seqs = again.map(({ source: { seq } }) => seq);
      expect(new Set(seqs).size).toBe(3);
      expect(await next('counted', { ...by, copy: '3' })).toEqual([]);
    });

    it('stop at a column that cannot be one', async () => {
      await sql.query(`CREATE TABLE tagged (id int, tag uuid)`);
      for (const cursor of ['tag', 'nothing']) {
        const run = await read({ job: '1', streams: [{ name: 'tagged', ...incremental, cursor }] });
        expect(run.progress().streams[0]?.error?.code).toBe('SRC_COLUMN_UNUSABLE');
      }
      const key = { syncMode: 'full_refresh', key: ['gone'] } as const;
      const run = await read({ job: '1', streams: [{ name: 'tagged', ...key }] });
      expect(run.progress().streams[0]?.error?.code).toBe('SRC_COLUMN_UNUSABLE');
    });
  });
});

const HOSTILE = {
  client_encoding: 'LATIN1',
  datestyle: 'German',
  timezone: 'America/New_York',
  search_path: 'nowhere',
  statement_timeout: '1ms',
  bytea_output: 'escape',
  default_transaction_isolation: 'serializable',
  standard_conforming_strings: 'off',
  enable_indexscan: 'off',
};

function marksOf(events: readonly SeenEnvelope[]): string[] {
  return events
    .filter(({ op }) => op !== 'r')
    .map(({ op, source: { snapshot, epoch } }) => `${op} ${String(snapshot)} ${String(epoch)}`);
}

/** The state as if its reads had been made an hour before one another. */
function aged(state: SourceState): SourceState {
  const copy = structuredClone(state) as SourceState & {
    details: { streams: Record<string, { cursor: { reads: { at: number }[] } }> };
  };
  for (const { cursor } of Object.values(copy.details.streams)) {
    cursor.reads.forEach((each, index) => (each.at -= (cursor.reads.length - index) * 3_600_000));
  }
  return copy;
}
