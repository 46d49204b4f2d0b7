import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { postgresContext, type ServerContext } from '../../../support/contexts.ts';
import { freshDatabase, Run } from './capture-harness.ts';

let server: ServerContext;
beforeAll(async () => {
  server = await postgresContext();
}, 60_000);
afterAll(() => server[Symbol.asyncDispose]());

const TABLE = `CREATE TABLE t (id int PRIMARY KEY, a text, n int, v varchar(10), d numeric(10,2));
  INSERT INTO t VALUES (1, 'one', 1, 'v1', 1.50), (2, 'two', 2, 'v2', 2.50)`;

type Database = Awaited<ReturnType<typeof freshDatabase>>;

/** Runs DDL on a table with two copied rows, while the stream runs or while it is down; then a change
 * of one row, so that the other one is the one that no event tells of. */
async function afterDdl(
  db: Database,
  ddl: string,
  options: { down: boolean; change?: string; table?: string },
): Promise<Run> {
  await db.sql.query(options.table ?? TABLE);
  let run = await Run.open(db.config, { streams: ['t'] });
  await run.caughtUp(db.config);
  if (options.down) {
    await run.close();
    await db.sql.query(ddl);
    const change = options.change ?? 'UPDATE t SET a = a WHERE id = 1';
    if (change !== '') await db.sql.query(change);
    run = await Run.open(db.config, { streams: ['t'], state: run.state, registry: run.registry });
  } else {
    await db.sql.query(`INSERT INTO t VALUES (3)`);
    await run.caughtUp(db.config);
    await db.sql.query(ddl);
    await db.sql.query(options.change ?? 'UPDATE t SET a = a WHERE id = 1');
  }
  return run;
}

const stopped = (run: Run) => run.progress().streams[0]?.error;

let databases = 0;
const database = () => freshDatabase(server, `ddl${databases++}`);

const STOPPING: readonly [string, string, RegExp][] = [
  [
    'a column dropped and added again',
    'ALTER TABLE t DROP n; ALTER TABLE t ADD n int',
    /"n" was dropped and added again/,
  ],
  [
    'two columns that change names',
    'ALTER TABLE t RENAME a TO x; ALTER TABLE t RENAME v TO a; ALTER TABLE t RENAME x TO v; UPDATE t SET v = NULL',
    /"[av]" was dropped and added again/,
  ],
  ['a column renamed', 'ALTER TABLE t RENAME n TO m', /"n" was renamed to "m"/],
  [
    'a volatile default',
    'ALTER TABLE t ADD u text DEFAULT clock_timestamp()::text',
    /"u" was added and the table rewritten/,
  ],
  [
    'an added identity',
    'ALTER TABLE t ADD u int GENERATED ALWAYS AS IDENTITY',
    /"u" was added and the table rewritten/,
  ],
  [
    'a number that becomes text',
    'ALTER TABLE t ALTER n TYPE text',
    /"n" changed from integer to text/,
  ],
  [
    'a text that becomes a number',
    `ALTER TABLE t ALTER a TYPE int USING 7`,
    /"a" changed from text to integer/,
  ],
  ['an integer that becomes numeric', 'ALTER TABLE t ALTER n TYPE numeric', /integer to numeric/],
  ['a scale', 'ALTER TABLE t ALTER d TYPE numeric(10,3)', /numeric\(10,2\) to numeric\(10,3\)/],
  ['a shorter text', 'ALTER TABLE t ALTER v TYPE varchar(5)', /character varying\(10\) to/],
  ['a wider key', 'ALTER TABLE t ALTER id TYPE bigint', /"id" changed from integer to bigint/],
  [
    'values rewritten under the same type',
    'ALTER TABLE t ALTER n TYPE int USING n + 100',
    /"n" was rewritten/,
  ],
  [
    'no key under whole rows',
    'ALTER TABLE t REPLICA IDENTITY FULL, DROP CONSTRAINT t_pkey',
    /now has none/,
  ],
  [
    'another key',
    'ALTER TABLE t DROP CONSTRAINT t_pkey, ADD PRIMARY KEY (id, n)',
    /now has \(id, n\)/,
  ],
  [
    'another name',
    'ALTER TABLE t RENAME TO other; INSERT INTO other VALUES (9)',
    /was renamed to public.other/,
  ],
  [
    'another schema',
    'CREATE SCHEMA s; ALTER TABLE t SET SCHEMA s; INSERT INTO s.t VALUES (9)',
    /was renamed to s.t/,
  ],
];

describe('postgres DDL that cannot be carried', () => {
  for (const down of [false, true]) {
    it.each(STOPPING)(
      `PG-16: stops by name: %s (${down ? 'while down' : 'live'})`,
      async (name, ddl, what) => {
        await using db = await database();
        const change = name === 'another key' ? { change: 'UPDATE t SET a = a WHERE id = 1' } : {};
        const moved = name.startsWith('another name') || name.startsWith('another schema');
        const noNull = name === 'another key' || name === 'an added identity';
        const run = await afterDdl(db, noNull ? `DELETE FROM t WHERE id = 3; ${ddl}` : ddl, {
          down,
          ...change,
          ...(moved ? { change: 'SELECT 1' } : {}),
        });
        await run.until(() => stopped(run) !== undefined, `the stop after ${name}`);
        expect(stopped(run)?.message).toMatch(what);
        await run.until(
          () => JSON.stringify(run.state?.details).includes('stopped'),
          'the stored stop',
        );
        await run.close();
      },
    );
  }
});

describe('postgres DDL that is carried', () => {
  const CARRIED: readonly [string, string][] = [
    [
      'NOT NULL set and taken',
      'DELETE FROM t WHERE id = 3; ALTER TABLE t ALTER n SET NOT NULL; ALTER TABLE t ALTER n DROP NOT NULL',
    ],
    ['a column dropped', 'ALTER TABLE t DROP n'],
    [
      'a check added and dropped',
      'ALTER TABLE t ADD CONSTRAINT c CHECK (n < 1000); ALTER TABLE t DROP CONSTRAINT c',
    ],
    ['a comment', `COMMENT ON COLUMN t.n IS 'text'`],
    ['a rewrite', 'VACUUM FULL t'],
    ['a wider integer', 'ALTER TABLE t ALTER n TYPE bigint'],
    ['a longer text', 'ALTER TABLE t ALTER v TYPE varchar(20)'],
    ['an unlimited text', 'ALTER TABLE t ALTER v TYPE text'],
    ['more digits', 'ALTER TABLE t ALTER d TYPE numeric(14,2)'],
    ['whole rows as identity', 'ALTER TABLE t REPLICA IDENTITY FULL'],
  ];

  for (const down of [false, true]) {
    it.each(CARRIED)(`goes on: %s (${down ? 'while down' : 'live'})`, async (_name, ddl) => {
      await using db = await database();
      const run = await afterDdl(db, ddl, { down });
      await run.caughtUp(db.config);
      expect(stopped(run)).toBeUndefined();
      expect(run.events().at(-1)).toMatchObject({ op: 'u', after: { id: 1 } });
      await run.close();
    });
  }

  it('tells what older rows have in a column that was added with a default', async () => {
    await using db = await database();
    const run = await afterDdl(
      db,
      `ALTER TABLE t ADD c text NOT NULL DEFAULT 'it''s', ADD w timestamptz DEFAULT '2024-03-31 02:30:00+00',
        ADD k bigint[] DEFAULT '{1,NULL}', ADD z int`,
      { down: false },
    );
    await run.caughtUp(db.config);
    const columns = run.registry.schemas.at(-1)?.columns ?? [];
    const initial = Object.fromEntries(
      columns.map((column) => [column.name, column.initial?.text]),
    );
    expect(initial).toMatchObject({
      c: `it's`,
      w: '2024-03-31T02:30:00.000000Z'.replace('.000000', ''),
      k: '{1,NULL}',
    });
    expect([initial['z'], initial['a']]).toEqual([undefined, undefined]);
    await run.close();
    // A rewrite takes the value out of the catalog; it stays known.
    await db.sql.query('VACUUM FULL t');
    await db.sql.query('ALTER TABLE t ADD y int; UPDATE t SET y = 1 WHERE id = 2');
    const { state, registry } = run;
    const second = await Run.open(db.config, { streams: ['t'], state, registry });
    await second.caughtUp(db.config);
    expect(stopped(second)).toBeUndefined();
    const later = new Map(registry.schemas.at(-1)?.columns.map((each) => [each.name, each]));
    expect(later.get('c')?.initial?.text).toBe(`it's`);
    expect(later.get('y')?.initial).toBeUndefined();
    await second.close();
  });

  it('carries a column that is added to an emptied table', async () => {
    await using db = await database();
    const run = await afterDdl(db, 'TRUNCATE t; ALTER TABLE t ADD y int', {
      down: true,
      change: 'INSERT INTO t (id) VALUES (7)',
    });
    await run.caughtUp(db.config);
    expect(run.events().map(({ op }) => op)).toEqual(['t', 'c']);
    await run.close();
  });
});

describe('postgres partitions that come and go', () => {
  const PARTS = `CREATE TABLE t (id int, r text, PRIMARY KEY (id, r)) PARTITION BY LIST (r);
    CREATE TABLE t_a PARTITION OF t FOR VALUES IN ('a'); INSERT INTO t VALUES (1, 'a')`;

  it.each([
    ['a detached one', 'ALTER TABLE t DETACH PARTITION t_a', /partition public.t_a was detached/],
    ['a dropped one', 'DROP TABLE t_a', /a partition was dropped/],
    [
      'one that comes with rows',
      `CREATE TABLE t_c (id int, r text, PRIMARY KEY (id, r)); INSERT INTO t_c VALUES (7, 'c');
       ALTER TABLE t ATTACH PARTITION t_c FOR VALUES IN ('c')`,
      /partition public.t_c was attached with rows/,
    ],
    [
      'one that is made, filled and attached in one transaction',
      `BEGIN; CREATE TABLE t_c (id int, r text, PRIMARY KEY (id, r)); INSERT INTO t_c VALUES (7, 'c');
       ALTER TABLE t ATTACH PARTITION t_c FOR VALUES IN ('c'); COMMIT`,
      /partition public.t_c was attached with rows/,
    ],
  ])('stops for %s', async (_name, ddl, what) => {
    await using db = await database();
    const run = await afterDdl(db, `CREATE TABLE t_b PARTITION OF t FOR VALUES IN ('b'); ${ddl}`, {
      down: true,
      table: PARTS,
      change: `INSERT INTO t VALUES (2, 'b')`,
    });
    await run.until(() => stopped(run) !== undefined, 'the stop');
    expect(stopped(run)?.message).toMatch(what);
    await run.close();
  });

  it('goes on with a new one, and with a default in all of them', async () => {
    await using db = await database();
    const run = await afterDdl(
      db,
      `BEGIN; CREATE TABLE t_b PARTITION OF t FOR VALUES IN ('b'); INSERT INTO t VALUES (3, 'b'); COMMIT;
       ALTER TABLE t ADD c int DEFAULT 9`,
      { down: true, table: PARTS, change: `INSERT INTO t VALUES (2, 'b')` },
    );
    await run.caughtUp(db.config);
    expect(stopped(run)).toBeUndefined();
    expect(run.events()).toMatchObject([
      { op: 'c', after: { id: 3, r: 'b' } },
      { op: 'c', after: { id: 2, r: 'b', c: 9 } },
    ]);
    const added = run.registry.schemas.at(-1)?.columns.find(({ name }) => name === 'c');
    expect(added?.initial?.text).toBe('9');
    await run.close();
  });
});

describe('a publication without one of the tables', () => {
  const without = async (narrow: string, stateful: boolean): Promise<void> => {
    await using db = await database();
    const { replication_method: method } = db.config as {
      replication_method: Record<string, unknown>;
    };
    const config = { ...db.config, replication_method: { ...method, create: false } };
    const { publication, replication_slot: slot } = method;
    await db.sql.query('CREATE TABLE t (id int PRIMARY KEY); CREATE TABLE u (id int PRIMARY KEY)');
    await db.sql.query(`CREATE PUBLICATION ${publication} FOR TABLE t${stateful ? ', u' : ''}`);
    await db.sql.query(`SELECT pg_create_logical_replication_slot('${slot}', 'pgoutput')`);
    let run: Run | null = null;
    if (stateful) {
      run = await Run.open(config, { streams: ['t', 'u'] });
      await run.caughtUp(config);
      await run.close();
    }
    await db.sql.query(narrow.replace('PUBLICATION p', `PUBLICATION ${publication}`));
    const next = await Run.open(config, { streams: ['t', 'u'], state: run?.state ?? null });
    await next.caughtUp(config);
    await db.sql.query('INSERT INTO t VALUES (1)');
    await next.until(() => next.total === 1, 'the other stream');
    const [t, u] = next.progress().streams;
    expect([t?.error, u?.phase]).toEqual([undefined, 'stopped']);
    expect(u?.error?.code).toMatch(/^SRC_(PUBLICATION_MISSING|STREAM_GONE)$/);
    await next.close();
  };

  it('stops that stream only, on a first start', () => without('SELECT 1', false));
  it('stops that stream only, narrowed while down', () =>
    without('ALTER PUBLICATION p DROP TABLE u', true));
  it('stops a table dropped while down', () => without('DROP TABLE u', true));
});
