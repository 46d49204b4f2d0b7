import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  createDatabase,
  DATABASE,
  mysqlConfig,
  sqlClient,
  type SqlClient,
} from '../integration/sources/mysql/mysql-harness.ts';
import { mysqlContext, type ServerContext } from '../support/contexts.ts';
import {
  createDestination,
  createSource,
  postgresConfig,
  query,
  startRig,
  statusOf,
  sync,
  until,
  type Rig,
} from '../support/rig.ts';
import { connectWithModes } from '../support/sync-modes.ts';

const TABLES = ['replaces', 'merges', 'adds'] as const;

describe('streams of MySQL read by sync jobs', () => {
  let rig: Rig;
  let server: ServerContext;
  let sql: SqlClient;
  let destinationId: string;

  beforeAll(async () => {
    [rig, server] = await Promise.all([
      startRig({ roles: ['api', 'scheduler', 'source', 'sink'] }),
      mysqlContext(),
    ]);
    sql = await createDatabase(server);
    await sql.run(
      `CREATE USER reader@'%' IDENTIFIED BY 'secret'`,
      `GRANT SELECT ON ${DATABASE}.* TO reader@'%'`,
    );
    for (const table of TABLES) {
      await sql.run(
        `CREATE TABLE ${table} (id bigint unsigned PRIMARY KEY, v decimal(30,10),
           updated_at timestamp(6) DEFAULT now(6), KEY (updated_at))`,
        `INSERT INTO ${table} (id, v) VALUES (1, 1.5), (2, 2.5), (18446744073709551615, 0.1)`,
      );
    }
    await query(rig.target, `CREATE SCHEMA jobs`);
    destinationId = await createDestination(rig, 'postgres', {
      ...postgresConfig(rig.target),
      schema: 'jobs',
    });
  }, 180_000);

  afterAll(async () => {
    sql.close();
    await Promise.all([rig[Symbol.asyncDispose](), server[Symbol.asyncDispose]()]);
  });

  const rows = async (table: string): Promise<string[]> =>
    (
      await query<{ row: string }>(
        rig.target,
        `SELECT id || ' ' || v AS row FROM jobs.${table} ORDER BY id, v`,
      )
    ).map(({ row }) => row);

  const succeeded = async (connectionId: string): Promise<void> => {
    const { job, attempts } = await sync(rig, connectionId);
    expect(job.status, JSON.stringify(attempts)).toBe('succeeded');
  };

  const FIRST = ['1 1.5000000000', '2 2.5000000000', '18446744073709551615 0.1000000000'];

  it('are replaced as a whole, merged and added to with no right but SELECT', async () => {
    const sourceId = await createSource(
      rig,
      {
        ...mysqlConfig(server),
        username: 'reader',
        password: 'secret',
        replication_method: { method: 'STANDARD' },
      },
      'sourceMysql',
    );
    const connectionId = await connectWithModes(rig, { sourceId, destinationId }, DATABASE, {
      replaces: ['full_refresh', 'overwrite'],
      merges: ['incremental', 'append_dedup'],
      adds: ['incremental', 'append', { cursorField: ['updated_at'] }],
    });
    await succeeded(connectionId);
    for (const table of TABLES) expect(await rows(table), table).toEqual(FIRST);
    const late = await sqlClient(server);
    const lateRow = `(id, v, updated_at) VALUES (4, 4, now(6) - INTERVAL 1 MINUTE)`;
    await late.run('BEGIN', `INSERT INTO adds ${lateRow}`, `INSERT INTO merges ${lateRow}`);
    for (const table of TABLES) {
      await sql.run(
        `UPDATE ${table} SET v = 7, updated_at = now(6) WHERE id = 1`,
        `DELETE FROM ${table} WHERE id = 2`,
      );
    }
    await succeeded(connectionId);
    const [, two, last] = FIRST as [string, string, string];
    expect(await rows('replaces')).toEqual(['1 7.0000000000', last]);
    expect(await rows('merges')).toEqual(['1 7.0000000000', two, last]);
    expect(await rows('adds')).toEqual([FIRST[0], '1 7.0000000000', two, last]);
    await late.run('COMMIT');
    late.close();
    await succeeded(connectionId);
    await succeeded(connectionId);
    expect(await rows('merges')).toEqual(['1 7.0000000000', two, '4 4.0000000000', last]);
    const added = [FIRST[0], '1 7.0000000000', two, '4 4.0000000000', last];
    expect(await rows('adds')).toEqual(added);
  });

  it('may be refreshed as a whole beside others that follow the log', async () => {
    await query(rig.target, `CREATE SCHEMA mixed`);
    const mixed = { ...postgresConfig(rig.target), schema: 'mixed' };
    const ends = {
      sourceId: await createSource(rig, mysqlConfig(server), 'sourceMysql'),
      destinationId: await createDestination(rig, 'postgres', mixed),
    };
    const connectionId = await connectWithModes(rig, ends, DATABASE, {
      replaces: ['full_refresh', 'overwrite'],
      merges: ['incremental', 'append_dedup'],
    });
    await until('the log', async () => {
      const { sourceReport } = await statusOf(rig, connectionId);
      return sourceReport?.streams.some(({ phase }) => phase === 'streaming') === true;
    });
    await succeeded(connectionId);
    for (const table of ['replaces', 'merges']) {
      const there = await sql.run(`SELECT id FROM ${table} ORDER BY id`);
      const here = `SELECT id::text FROM mixed.${table} ORDER BY ${table}.id`;
      expect(await query(rig.target, here), table).toEqual(there);
    }
    await sql.run('DELETE FROM replaces WHERE id = 1', 'DELETE FROM merges WHERE id = 1');
    await succeeded(connectionId);
    for (const table of ['replaces', 'merges']) {
      expect(await query(rig.target, `SELECT 1 FROM mixed.${table} WHERE id = 1`)).toEqual([]);
    }
  });
});
