import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { source } from '../../../../connectors/sources/postgres/source.ts';
import { freePort } from '../../../../deploy/local/free-port.ts';
import { postgresContext, type ServerContext } from '../../../support/contexts.ts';
import { configOf, freshDatabase } from './capture-harness.ts';

let server: ServerContext;
beforeAll(async () => {
  server = await postgresContext();
}, 60_000);
afterAll(() => server[Symbol.asyncDispose]());

describe('postgres check and discover', () => {
  it('passes with create, and names each missing thing with its statement without', async () => {
    await using db = await freshDatabase(server, 'chk');
    await db.sql
      .query(`CREATE TABLE t (id int PRIMARY KEY, twice int GENERATED ALWAYS AS (id * 2) STORED);
      CREATE TABLE k (a int); CREATE ROLE weak LOGIN; GRANT USAGE ON SCHEMA public TO weak`);
    const good = await source.check(db.config);
    expect(good).toMatchObject({ ok: true });
    expect(good.warnings?.join('\n')).toContain(
      'public.t: generated columns are not captured: twice',
    );
    expect(good.warnings?.join('\n')).toContain('ALTER TABLE public.k REPLICA IDENTITY FULL');
    const method = db.config['replication_method'] as Record<string, unknown>;
    const bad = await source.check({
      ...db.config,
      username: 'weak',
      schemas: ['public', 'nowhere'],
      replication_method: { ...method, create: false },
    });
    expect(bad.ok).toBe(false);
    for (const part of [
      'schema nowhere does not exist',
      'GRANT SELECT ON public.k, public.t',
      'ALTER ROLE "weak" REPLICATION',
      `SELECT pg_create_logical_replication_slot('s_chk', 'pgoutput')`,
      'CREATE PUBLICATION "p_chk" FOR TABLE ONLY "public"."t"',
    ]) {
      expect(bad.message).toContain(part);
    }
    const weak = await source.check({ ...db.config, username: 'weak' });
    expect(weak.message).toContain('GRANT CREATE ON DATABASE chk TO weak');
    await db.sql.query('REVOKE ALL ON SCHEMA public FROM weak; DROP ROLE weak');
  });

  it('tells host, database and role apart', async () => {
    const codeOf = async (change: Record<string, unknown>) =>
      (await source.check(configOf(server, change))).message.split(':')[0];
    expect(await codeOf({ port: await freePort() })).toBe('SRC_UNREACHABLE');
    expect(await codeOf({ database: 'nowhere' })).toBe('SRC_DATABASE_MISSING');
    expect(await codeOf({ username: 'nobody' })).toBe('SRC_AUTH_FAILED');
    expect(await codeOf({ ssl_mode: { mode: 'require' } })).toBe('SRC_TLS_FAILED');
    expect(await codeOf({ ssl_mode: { mode: 'prefer' }, database: 'nowhere' })).toBe(
      'SRC_DATABASE_MISSING',
    );
    expect(await codeOf({ port: 0 })).toBe('CFG_INVALID_CONNECTOR');
  });

  it('asks for wal_level logical', async () => {
    await using small = await postgresContext({ settings: { wal_level: 'replica' } });
    const result = await source.check(configOf(small));
    expect(result.message).toContain('ALTER SYSTEM SET wal_level = logical');
  });

  it('discovers tables, keys and types; releases what it made', async () => {
    await using db = await freshDatabase(server, 'disc');
    await db.sql
      .query(`CREATE TABLE t (b int, a bigint, at timestamptz, n numeric(5,1), j jsonb, PRIMARY KEY (a, b));
      CREATE TABLE p (id int PRIMARY KEY) PARTITION BY RANGE (id);
      CREATE TABLE p1 PARTITION OF p DEFAULT; CREATE TABLE k (a text); CREATE VIEW v AS SELECT 1`);
    const streams = await source.discover(db.config);
    expect(streams.map(({ stream }) => stream.name)).toEqual(['k', 'p', 't']);
    expect(streams[0]?.warning).toContain('REPLICA IDENTITY FULL');
    expect(streams[2]).toEqual({
      stream: { namespace: 'public', name: 't' },
      jsonSchema: {
        type: 'object',
        properties: {
          b: { type: 'number', airbyte_type: 'integer' },
          a: { type: 'number', airbyte_type: 'integer' },
          at: { type: 'string', format: 'date-time', airbyte_type: 'timestamp_with_timezone' },
          n: { type: 'number' },
          j: { type: 'string' },
        },
      },
      primaryKey: ['a', 'b'],
      supportedSyncModes: ['full_refresh', 'incremental'],
      sourceDefinedCursor: true,
      cursors: [],
    });
  });
});
