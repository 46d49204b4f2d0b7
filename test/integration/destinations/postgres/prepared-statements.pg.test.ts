import { Client } from 'pg';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { exchange, type Statement } from '../../../../connectors/destinations/postgres/exchange.ts';
import { prepareOn } from '../../../../connectors/destinations/postgres/prepared-statements.ts';
import { postgresContext, type ServerContext } from '../../../support/contexts.ts';
import { deduped, EventLog } from './event-log.ts';
import { newTarget } from './target.ts';

let server: ServerContext;
beforeAll(async () => {
  server = await postgresContext();
}, 120_000);
afterAll(() => server[Symbol.asyncDispose]());

async function session(): Promise<Client> {
  const { host, port } = server;
  const client = new Client({ host, port, user: 'postgres', database: 'postgres' });
  await client.connect();
  return client;
}

async function kept(client: Client): Promise<string[]> {
  const { rows } = await client.query<{ statement: string }>(
    'SELECT statement FROM pg_prepared_statements ORDER BY name',
  );
  return rows.map(({ statement }) => statement);
}

const ONE: Statement = { text: 'SELECT $1::int + 1', values: ['1'], isRepeated: true };
const TWO: Statement = { text: 'SELECT $1::int * 2', values: ['4'], isRepeated: true };
const FAILS: Statement = { text: 'SELECT 1/$1::int', values: ['0'] };

describe('statements that come with every batch', () => {
  it('are parsed once by a session, however often they come', async () => {
    const client = await session();
    await prepareOn(client);
    for (let i = 0; i < 3; i++) {
      const [one, two, again] = await exchange(client, [ONE, TWO, ONE]);
      expect([one?.rows, two?.rows, again?.rows]).toEqual([[['2']], [['8']], [['2']]]);
    }
    expect(await kept(client)).toEqual([ONE.text, TWO.text]);
    await client.end();
  });

  it('go on after a failure before, between and behind them', async () => {
    const client = await session();
    await prepareOn(client);
    for (const flight of [
      [FAILS, ONE, TWO],
      [ONE, FAILS, TWO],
      [ONE, TWO, FAILS],
    ]) {
      await expect(exchange(client, flight)).rejects.toMatchObject({ code: '22012' });
      const [one, two] = await exchange(client, [ONE, TWO]);
      expect([one?.rows, two?.rows]).toEqual([[['2']], [['8']]]);
    }
    await client.end();
  });

  it('are as many as a session may keep, the others come whole', async () => {
    const client = await session();
    await prepareOn(client);
    const many = Array.from({ length: 600 }, (_, i) => ({ text: `SELECT ${i}`, isRepeated: true }));
    for (let i = 0; i < 2; i++) {
      const results = await exchange(client, many);
      expect(results.map(({ rows }) => Number(rows[0]?.[0]))).toEqual(many.map((_, n) => n));
    }
    expect(await kept(client)).toHaveLength(500);
    await client.end();
  });

  it('are not kept where another process answers than the one that was announced', async () => {
    const client = await session();
    // What a pooler does: the process it tells of is none of the server's.
    (client as unknown as { processID: number }).processID = -1;
    await prepareOn(client);
    await exchange(client, [ONE, ONE]);
    expect(await kept(client)).toEqual([]);
    await client.end();
  });

  it('follow a table that changes beneath them', async () => {
    await using target = await newTarget(server);
    const log = new EventLog(target.schemas, deduped('t'), {
      id: { kind: 'int32', native: 'integer' },
      name: { kind: 'string', native: 'text' },
    });
    for (let i = 0; i < 12; i++) log.create({ id: i, name: `n${i}` });
    const writer = target.writer();
    await writer.open(log.target);
    for (let at = 0; at < 6; at++) await writer.write([log.batch(at, at + 1)]);
    await target.sql.query('ALTER TABLE t ADD COLUMN extra int DEFAULT 7');
    await target.sql.query('CREATE INDEX ON t (name)');
    await target.sql.query('ALTER TABLE t ALTER COLUMN id TYPE bigint');
    await expect(writer.write([log.batch(6, 7)])).resolves.toBeUndefined();
    await writer.write([log.batch(7)]);
    const rows = await target.rows('SELECT id::int, name, extra FROM t ORDER BY id');
    expect(rows).toEqual(Array.from({ length: 12 }, (_, id) => ({ id, name: `n${id}`, extra: 7 })));
  });
});
