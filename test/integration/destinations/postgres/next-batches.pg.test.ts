import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { EncodedAhead } from '../../../../connectors/destinations/postgres/encoded-ahead.ts';
import { postgresContext, type ServerContext } from '../../../support/contexts.ts';
import { appended, deduped, EventLog, type Columns } from './event-log.ts';
import { newTarget } from './target.ts';

let server: ServerContext;
beforeAll(async () => {
  server = await postgresContext();
}, 120_000);
afterAll(() => server[Symbol.asyncDispose]());

const COLUMNS: Columns = {
  id: { kind: 'int32', native: 'integer' },
  name: { kind: 'string', native: 'text' },
};

describe('what was told to come next', () => {
  const used = vi.spyOn(EncodedAhead.prototype, 'take');
  const uses = () => used.mock.results.filter(({ value }) => value !== null).length;

  it('is made ready meanwhile, and anew where the table has become another one', async () => {
    await using target = await newTarget(server);
    const log = new EventLog(target.schemas, deduped('t'), COLUMNS);
    const more: Columns = { ...COLUMNS, more: { kind: 'string', native: 'text' } };
    for (let i = 0; i < 20; i++) log.create({ id: i, name: 'n' });
    log.evolve(more);
    for (let i = 20; i < 40; i++) log.create({ id: i, name: 'n', more: 'm' });
    const parts = [0, 10, 20, 30].map((at) => log.batch(at, at + 10));
    const writer = target.writer();
    await writer.open(log.target);
    used.mockClear();
    const made: number[] = [];
    for (const [i, part] of parts.entries()) {
      await writer.write([part], () => parts.slice(i + 1, i + 2));
      made.push(uses());
    }
    // The table that is opened has the newest schema's column.
    expect(made).toEqual([0, 1, 1, 2]);
    const rows = await target.rows('SELECT id, more FROM t ORDER BY id');
    expect(rows).toEqual(
      Array.from({ length: 40 }, (_, i) => ({ id: i, more: i < 20 ? null : 'm' })),
    );
  });

  it('is made anew where other records come, or a value does not fit', async () => {
    await using target = await newTarget(server);
    const short: Columns = {
      ...COLUMNS,
      short: { kind: 'string', native: 'character varying(3)' },
    };
    const log = new EventLog(target.schemas, appended('t'), short);
    for (let i = 0; i < 30; i++) log.create({ id: i, name: 'n', short: i === 25 ? 'long' : 'fit' });
    const writer = target.writer();
    await writer.open(log.target);
    used.mockClear();
    await writer.write([log.batch(0, 10)], () => [log.batch(10, 20)]);
    await writer.write([log.batch(10, 15)], () => [log.batch(15, 20)]);
    expect(uses()).toBe(0);
    const last = log.batch(20);
    await writer.write([log.batch(15, 20)], () => [last]);
    await writer.write([last]);
    const rows = await target.rows('SELECT id, short FROM t ORDER BY id');
    expect(rows).toEqual(
      Array.from({ length: 30 }, (_, i) => ({ id: i, short: i === 25 ? null : 'fit' })),
    );
  });
});

describe('two lanes', () => {
  it('fill one table from two partitions at once', async () => {
    await using target = await newTarget(server);
    const logs = [0, 1].map(
      (partition) => new EventLog(target.schemas, deduped('t'), COLUMNS, { partition }),
    );
    const writer = target.writer();
    await Promise.all(logs.map((log) => writer.open(log.target)));
    logs.forEach((log, partition) => {
      for (let i = 0; i < 2000; i++) log.create({ id: (i % 700) * 2 + partition, name: `n${i}` });
    });
    const lane = async (log: EventLog) => {
      for (let at = 0; at < 2000; at += 250) await writer.write([log.batch(at, at + 250)]);
    };
    await Promise.all(logs.map(lane));
    const [count] = await target.rows(
      `SELECT count(*)::int AS n, bool_and(name = 'n' || id/2 + CASE WHEN id/2 < 600 THEN 1400 ELSE 700 END) AS newest FROM t`,
    );
    expect(count).toEqual({ n: 1400, newest: true });
  });
});
