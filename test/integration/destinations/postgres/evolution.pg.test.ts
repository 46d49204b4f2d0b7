import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { postgresContext, type ServerContext } from '../../../support/contexts.ts';
import type { ColumnType } from '../../../../schemas/values/column-type.ts';
import { deduped, EventLog, type Columns } from './event-log.ts';
import { newTarget } from './target.ts';

let server: ServerContext;
beforeAll(async () => {
  server = await postgresContext();
}, 120_000);
afterAll(() => server[Symbol.asyncDispose]());

const ID: Columns = { id: { kind: 'int64', native: 'bigint' } };
const TEXT: ColumnType = { kind: 'string', native: 'text' };

describe('a change of the schema', () => {
  it('adds columns, keeps dropped ones, and takes both versions in one batch', async () => {
    await using target = await newTarget(server);
    const log = new EventLog(target.schemas, deduped('t'), { ...ID, old: TEXT });
    log.create({ id: 1n, old: 'a' });
    log.create({ id: 2n, old: 'b' });
    const writer = target.writer();
    await writer.open(log.target);
    await writer.write([log.batch()]);
    log.evolve({ ...ID, fresh: { kind: 'int32', native: 'integer' } });
    log.create({ id: 3n, fresh: 3 });
    log.update({ id: 1n, fresh: 1 });
    log.evolve({ ...ID, old: TEXT });
    log.create({ id: 4n, old: 'd' });
    await writer.write([log.batch(2)]);
    const text = 'SELECT id, old, fresh FROM t ORDER BY id';
    expect(await target.rows(text)).toEqual([
      { id: '1', old: null, fresh: 1 },
      { id: '2', old: 'b', fresh: null },
      { id: '3', old: null, fresh: 3 },
      { id: '4', old: 'd', fresh: null },
    ]);
    const again = target.writer();
    await again.open(log.target);
    log.evolve({ ...ID, fresh: { kind: 'int32', native: 'integer' } });
    log.update({ id: 4n, fresh: 4 });
    await again.write([log.batch(5)]);
    const [row] = await target.rows('SELECT old, fresh FROM t WHERE id=4');
    expect(row).toEqual({ old: null, fresh: 4 });
  });

  const widenings: [ColumnType, unknown, ColumnType, unknown, string][] = [
    [
      { kind: 'int16', native: 'smallint' },
      1,
      { kind: 'int32', native: 'integer' },
      70000,
      'integer',
    ],
    [
      { kind: 'int32', native: 'integer' },
      1,
      { kind: 'int64', native: 'bigint' },
      2n ** 60n,
      'bigint',
    ],
    [
      { kind: 'int64', native: 'bigint' },
      -5n,
      { kind: 'decimal', native: 'numeric' },
      '1.5',
      'numeric',
    ],
    [
      { kind: 'int64', native: 'bigint' },
      2n ** 62n,
      { kind: 'decimal', native: 'numeric(5,2)' },
      '1.50',
      'numeric',
    ],
    [
      { kind: 'decimal', native: 'numeric(5,2)' },
      '1.50',
      { kind: 'decimal', native: 'numeric(9,4)' },
      '12345.6789',
      'numeric(9,4)',
    ],
    [
      { kind: 'string', native: 'character varying(3)' },
      'abc',
      { kind: 'string', native: 'text' },
      'abcd',
      'text',
    ],
    [
      { kind: 'float32', native: 'real' },
      1.5,
      { kind: 'float64', native: 'double precision' },
      0.1,
      'double precision',
    ],
  ];
  it.each(widenings)('widens %o with %s to %o', async (from, before, to, after, ddl) => {
    await using target = await newTarget(server);
    const log = new EventLog(target.schemas, deduped('t'), { ...ID, c: from });
    log.create({ id: 1n, c: before });
    const writer = target.writer();
    await writer.open(log.target);
    await writer.write([log.batch()]);
    log.create({ id: 2n, c: before });
    log.evolve({ ...ID, c: to });
    log.create({ id: 3n, c: after });
    await writer.write([log.batch(1)]);
    const { rows } = await target.sql.query(`SELECT c = $1::${ddl} AS same FROM t WHERE id < 3`, [
      String(before),
    ]);
    expect(rows.map(({ same }: { same: boolean }) => same)).toEqual([true, true]);
    const [type] = await target.rows(
      `SELECT format_type(atttypid, atttypmod) AS type FROM pg_attribute WHERE attrelid='t'::regclass AND attname='c'`,
    );
    expect(type).toEqual({ type: ddl });
    const [last] = await target.rows('SELECT c::text FROM t WHERE id=3');
    expect(last).toEqual({ c: String(after) });
  });

  it('that would lose values is refused by column, and nothing of the batch is written', async () => {
    await using target = await newTarget(server);
    const log = new EventLog(target.schemas, deduped('t'), { ...ID, c: TEXT });
    log.create({ id: 1n, c: 'a' });
    const writer = target.writer();
    await writer.open(log.target);
    await writer.write([log.batch()]);
    log.create({ id: 2n, c: 'b' });
    log.evolve({ ...ID, c: { kind: 'int32', native: 'integer' } });
    log.create({ id: 3n, c: 3 });
    await expect(writer.write([log.batch(1)])).rejects.toMatchObject({
      code: 'DST_SCHEMA_INCOMPATIBLE',
      message: expect.stringContaining('column "c" is text in the destination and became integer'),
      details: { stream: 'public.t', column: 'c' },
    });
    expect(await target.rows('SELECT id FROM t')).toEqual([{ id: '1' }]);
    await writer.write([log.batch(1, 2)]);
    expect(await target.rows('SELECT id FROM t ORDER BY id')).toEqual([{ id: '1' }, { id: '2' }]);
  });

  it('waits for a reader that holds the table, without holding up others for long', async () => {
    await using target = await newTarget(server);
    const log = new EventLog(target.schemas, deduped('t'), { ...ID, c: TEXT });
    log.create({ id: 1n, c: 'a' });
    const writer = target.writer();
    await writer.open(log.target);
    await writer.write([log.batch()]);
    await target.sql.query('BEGIN');
    await target.sql.query('SELECT * FROM t');
    log.evolve({ ...ID, c: TEXT, d: TEXT });
    log.create({ id: 2n, c: 'b', d: 'd' });
    const written = writer.write([log.batch(1)]);
    // The first attempt gives up after two seconds; the reader goes on meanwhile.
    for (;;) {
      const [waits] = await target.rows(
        `SELECT count(*)::int AS n FROM pg_locks WHERE NOT granted AND relation='t'::regclass`,
      );
      if (waits?.['n'] === 1) break;
    }
    await target.sql.query('COMMIT');
    await written;
    expect(await target.rows('SELECT d FROM t WHERE id=2')).toEqual([{ d: 'd' }]);
  });
});
