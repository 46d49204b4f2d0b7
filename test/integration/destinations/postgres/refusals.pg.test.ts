import { Client } from 'pg';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { destination } from '../../../../connectors/destinations/postgres/destination.ts';
import { postgresContext, type ServerContext } from '../../../support/contexts.ts';
import { appended, deduped, EventLog, type Columns } from './event-log.ts';
import { newTarget } from './target.ts';

let server: ServerContext;
beforeAll(async () => {
  server = await postgresContext();
}, 120_000);
afterAll(() => server[Symbol.asyncDispose]());

const COLUMNS: Columns = {
  id: { kind: 'int64', native: 'bigint' },
  name: { kind: 'string', native: 'text' },
  doc: { kind: 'json', native: 'jsonb' },
  short: { kind: 'string', native: 'character varying(3)' },
};

describe('a value that the target cannot hold, where that stops a stream', () => {
  it.each([
    [deduped('t'), 'name', { name: 'secret\u0000' }, '22021'],
    [deduped('t'), 'doc', { doc: '{"secret": "\\u0000"}' }, '22P05'],
    [deduped('t'), 'doc', { doc: '"\\ud800 secret"' }, '22P02'],
    [deduped('t'), 'short', { short: 'secret' }, '22001'],
    [appended('t'), 'name', { name: 'secret\u0000' }, '22021'],
    [appended('t'), 'short', { short: 'secret' }, '22001'],
  ])('stops its stream alone, by column and offset: %o %s', async (stream, column, row, state) => {
    await using target = await newTarget(server, { config: { values_that_do_not_fit: 'stop' } });
    const bad = new EventLog(target.schemas, stream, COLUMNS, { firstOffset: 1000 });
    const good = new EventLog(target.schemas, deduped('good'), COLUMNS);
    for (let id = 0n; id < 300n; id++) {
      bad.create({ id, name: 'fine', doc: '{}', short: 'abc', ...(id === 217n ? row : {}) });
      good.create({ id, name: 'fine', doc: '[]', short: null });
    }
    const writer = target.writer();
    await writer.open(bad.target);
    await writer.open(good.target);
    const error = await writer.write([good.batch(), bad.batch()]).catch((e: unknown) => e);
    expect(error).toMatchObject({
      code: 'DST_VALUE',
      details: { stream: 'public.t', column, offset: 1217, partition: 0, sqlstate: state },
    });
    expect(`${String(error)} ${JSON.stringify(error)}`).not.toContain('secret');
    const count = (table: string) => target.rows(`SELECT count(*)::int AS n FROM ${table}`);
    expect([await count('t'), await count('good')]).toEqual([[{ n: 0 }], [{ n: 0 }]]);
    await writer.write([good.batch()]);
    await writer.write([bad.batch(0, 217)]);
    expect([await count('t'), await count('good')]).toEqual([[{ n: 217 }], [{ n: 300 }]]);
  });
});

describe('a constraint that somebody added', () => {
  it('PT-03: stops the stream by its name', async () => {
    await using target = await newTarget(server);
    const log = new EventLog(target.schemas, deduped('t'), COLUMNS);
    const writer = target.writer();
    await writer.open(log.target);
    await target.sql.query(`ALTER TABLE t ADD CONSTRAINT no_bob CHECK (name <> 'bob')`);
    log.create({ id: 1n, name: 'bob' });
    const error = await writer.write([log.batch()]).catch((e: unknown) => e);
    expect(error).toMatchObject({
      code: 'DST_CONSTRAINT',
      details: { stream: 'public.t', constraint: 'no_bob' },
    });
    expect(String(error)).not.toMatch(/bob\b(?!")/);
    await target.sql.query('ALTER TABLE t DROP CONSTRAINT no_bob');
    await writer.write([log.batch()]);
    expect(await target.rows('SELECT name FROM t')).toEqual([{ name: 'bob' }]);
  });
});

describe('a lock that somebody holds', () => {
  it('is waited for; then the holder is named', async () => {
    await using target = await newTarget(server);
    const log = new EventLog(target.schemas, deduped('t'), COLUMNS);
    log.create({ id: 1n, name: 'a' });
    const writer = target.writer({ limits: { lockTimeoutMs: 200, retryForMs: 500 } });
    await writer.open(log.target);
    await target.sql.query('BEGIN');
    await target.sql.query('LOCK TABLE t IN SHARE MODE');
    const [self] = await target.rows('SELECT pg_backend_pid() AS pid');
    await expect(writer.write([log.batch()])).rejects.toMatchObject({
      code: 'DST_BLOCKED',
      details: { stream: 'public.t', blockedBy: String(self?.['pid']) },
    });
    const again = writer.write([log.batch()]);
    await target.sql.query('COMMIT');
    await again;
    expect(await target.rows('SELECT name FROM t')).toEqual([{ name: 'a' }]);
  });
});

describe('the server', () => {
  it('that is restarted costs nothing but time', async () => {
    await using own = await postgresContext();
    await using target = await newTarget(own);
    const log = new EventLog(target.schemas, appended('t'), COLUMNS);
    log.create({ id: 1n, name: 'a' });
    log.create({ id: 2n, name: 'b' });
    const writer = target.writer();
    await writer.open(log.target);
    await writer.write([log.batch(0, 1)]);
    await own.kill();
    const written = writer.write([log.batch(1)]);
    await own.restart();
    await written;
    const check = new Client({ ...target.config, user: 'postgres' } as object);
    await check.connect();
    const { rows } = await check.query('SELECT id FROM t ORDER BY id');
    await check.end();
    expect(rows).toEqual([{ id: '1' }, { id: '2' }]);
  });

  it('that became read-only is waited for', async () => {
    await using target = await newTarget(server);
    const log = new EventLog(target.schemas, deduped('t'), COLUMNS);
    log.create({ id: 1n, name: 'a' });
    await target.writer().open(log.target);
    const database = String(target.config['database']);
    await target.sql.query(`ALTER DATABASE ${database} SET default_transaction_read_only = on`);
    const writer = target.writer({ limits: { retryForMs: 100 } });
    await expect(writer.open(log.target)).rejects.toMatchObject({ code: 'DST_READ_ONLY' });
    await target.sql.query(`ALTER DATABASE ${database} RESET default_transaction_read_only`);
    const later = target.writer();
    await later.open(log.target);
    await later.write([log.batch()]);
    expect(await target.rows('SELECT id FROM t')).toEqual([{ id: '1' }]);
  });

  it('that is away is named as that', async () => {
    const config = { host: '127.0.0.1', port: 1, database: 'x', username: 'u', schema: 'public' };
    const result = await destination.check(config);
    expect(result.ok).toBe(false);
    expect(result.message).toContain('ECONNREFUSED');
    expect(result.message).toContain('127.0.0.1:1/x');
  });
});

describe('the check', () => {
  it('passes where tables can be made, and leaves nothing behind', async () => {
    await using target = await newTarget(server, { config: { schema: 'landing' } });
    expect(await destination.check(target.config)).toMatchObject({ ok: true });
    await target.sql.query('CREATE SCHEMA landing');
    expect(await destination.check(target.config)).toMatchObject({ ok: true });
    expect(await target.rows(`SELECT * FROM pg_tables WHERE schemaname='landing'`)).toEqual([]);
    const tls = { ...target.config, ssl_mode: { mode: 'prefer' } };
    expect(await destination.check(tls)).toMatchObject({ ok: true });
  });

  it('names what is missing and the statement that mends it', async () => {
    await using target = await newTarget(server);
    const user = `poor_${String(target.config['database']).slice(2, 12)}`;
    await target.sql.query(`CREATE ROLE ${user} LOGIN`);
    await target.sql.query('CREATE SCHEMA closed');
    await target.sql.query(`CREATE SCHEMA open AUTHORIZATION ${user}`);
    const poor = { ...target.config, username: user };
    const results = await Promise.all([
      destination.check({ ...poor, schema: 'absent' }),
      destination.check({ ...poor, schema: 'closed' }),
      destination.check({ ...target.config, database: 'nowhere' }),
      destination.check({ ...target.config, ssl_mode: { mode: 'require' } }),
      destination.check({ ...target.config, port: 'x', host: '' }),
      destination.check({
        ...poor,
        schema: 'open',
        normalization: 'v2',
        raw_data_schema: 'closed',
      }),
    ]);
    expect(results.map(({ ok }) => ok)).toEqual([false, false, false, false, false, false]);
    const [absent, closed, nowhere, tls, wrong, raw] = results.map(({ message }) => message);
    expect(raw).toBe(closed);
    expect(absent).toContain(`CREATE SCHEMA "absent" AUTHORIZATION "${user}"`);
    expect(closed).toContain(`GRANT USAGE, CREATE ON SCHEMA "closed" TO "${user}"`);
    expect(nowhere).toContain('Create the database');
    expect(tls).toContain('ssl_mode');
    expect(wrong).toContain('host is missing');
  });

  it('PG-12: refuses a deduped stream without a key', () => {
    const config = { host: 'h', database: 'd', username: 'u' };
    expect(() => destination.validateStream(config, deduped('t', []))).toThrow(/primary key/);
    expect(() => destination.validateStream(config, deduped('t'))).not.toThrow();
    expect(() => destination.validateStream(config, appended('t', []))).not.toThrow();
  });
});
