import { afterAll, beforeAll, expect, it } from 'vitest';
import { postgresContext, type ServerContext } from '../../../support/contexts.ts';
import { freshDatabase, Registry, Run } from './capture-harness.ts';

let server: ServerContext;
beforeAll(async () => {
  server = await postgresContext({ settings: { autovacuum: 'off' } });
}, 60_000);
afterAll(() => server[Symbol.asyncDispose]());

/** Counts what is compiled: each registers its table's schema. */
class CountedRegistry extends Registry {
  compiled = 0;

  constructor() {
    super();
    const { register } = this;
    this.register = (schema) => {
      this.compiled++;
      return register(schema);
    };
  }
}

/** After ANALYZE the server describes a table again, in the same words: autovacuum does that to all busy
 * tables in turn. */
it('tables that ANALYZE had described again are not compiled again', async () => {
  await using db = await freshDatabase(server, 'described');
  const tables = ['t0', 't1', 't2'];
  for (const table of tables) {
    await db.sql.query(`CREATE TABLE ${table} (id int PRIMARY KEY, a text)`);
  }
  const registry = new CountedRegistry();
  const run = await Run.open(db.config, { streams: tables, registry });
  await run.caughtUp(db.config);
  // A second reader of the same log, to count the descriptions.
  await db.sql.query(`SELECT pg_create_logical_replication_slot('witness', 'pgoutput')`);
  const write = async (id: number): Promise<void> => {
    for (const table of tables) await db.sql.query(`INSERT INTO ${table} VALUES (${id}, 'a')`);
    await run.caughtUp(db.config);
  };
  await write(1);
  const compiled = registry.compiled;
  for (let id = 2; id <= 4; id++) {
    await db.sql.query('ANALYZE t0, t1, t2');
    await write(id);
  }
  const { rows } = await db.sql.query(`SELECT count(*) AS descriptions
    FROM pg_logical_slot_get_binary_changes('witness', NULL, NULL, 'proto_version', '1',
      'publication_names', 'p_described') AS message WHERE get_byte(data, 0) = ascii('R')`);
  await db.sql.query(`SELECT pg_drop_replication_slot('witness')`);
  expect(Number((rows[0] as { descriptions: string }).descriptions)).toBe(12);
  expect(registry.compiled).toBe(compiled);
  for (const table of tables) {
    expect(run.events(`public.${table}`).map(({ after }) => after?.['id'])).toEqual([1, 2, 3, 4]);
  }
  await run.close();
});

const CHANGES: readonly [string, string, RegExp | null][] = [
  [
    'a column dropped and added',
    'ALTER TABLE t DROP a; ALTER TABLE t ADD a text',
    /"a" was dropped/,
  ],
  [
    'a column rewritten in its type',
    `ALTER TABLE t ALTER a TYPE text USING upper(a)`,
    /"a" was rewritten/,
  ],
  ['NOT NULL', 'ALTER TABLE t ALTER a SET NOT NULL', null],
  ['an index more', 'CREATE INDEX ON t (a)', null],
  ['a full vacuum', 'VACUUM FULL t', null],
];

it.each(CHANGES)('%s between two descriptions alike is seen', async (name, ddl, error) => {
  await using db = await freshDatabase(server, `alike${CHANGES.findIndex(([n]) => n === name)}`);
  await db.sql.query('CREATE TABLE t (id int PRIMARY KEY, a text)');
  const registry = new CountedRegistry();
  const run = await Run.open(db.config, { streams: ['t'], registry });
  await run.caughtUp(db.config);
  await db.sql.query(`INSERT INTO t VALUES (1, 'a'), (2, 'b')`);
  await db.sql.query('ANALYZE t');
  await db.sql.query(`INSERT INTO t VALUES (3, 'c')`);
  await run.caughtUp(db.config);
  const compiled = registry.compiled;
  for (const statement of ddl.split('; ')) await db.sql.query(statement);
  await db.sql.query(`INSERT INTO t VALUES (4, 'd')`);
  await run.caughtUp(db.config);
  const stopped = run.progress().streams[0]?.error?.message ?? null;
  if (error === null) {
    expect(stopped).toBeNull();
    expect(registry.compiled).toBe(compiled + 1);
    expect(run.events('public.t').map(({ after }) => after?.['id'])).toEqual([1, 2, 3, 4]);
  } else expect(stopped).toMatch(error);
  await run.close();
});
