import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { armFailpoints } from '../../../../core/run/failpoints.ts';
import { postgresContext, type ServerContext } from '../../../support/contexts.ts';
import { appended, deduped, EventLog, overwritten, type Columns } from './event-log.ts';
import { newTarget, writeLog, type TestTarget } from './target.ts';

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
  price: { kind: 'decimal', native: 'numeric(5,2)', precision: 5, scale: 2 },
  day: { kind: 'date', native: 'date' },
  address: { kind: 'string', native: 'inet' },
  day_of: { kind: 'string', native: 'text' },
};
const FITS = {
  name: 'fine',
  doc: '{"a": 1}',
  short: 'abc',
  price: '123.45',
  day: 0,
  address: '10.0.0.1',
  day_of: 'x',
};

const SIZE = 'DESTINATION_FIELD_SIZE_LIMITATION';
const SERIALIZATION = 'DESTINATION_SERIALIZATION_ERROR';
const change = (field: string, reason: string) => ({ field, change: 'NULLED', reason });

/** A row's cells by its table's columns, without our own. */
async function rowsOf(target: TestTarget, where = 'true') {
  const own = Object.keys(COLUMNS).map((name) => `"${name}"`);
  return target.rows(
    `SELECT ${own.join(',')}, _airbyte_meta AS meta FROM t WHERE ${where} ORDER BY id`,
  );
}

const READ = {
  name: 'fine',
  doc: { a: 1 },
  short: 'abc',
  price: '123.45',
  day: expect.anything() as unknown,
  address: '10.0.0.1',
  day_of: 'x',
};

describe('a value that does not fit its column', () => {
  it.each(
    [deduped('t'), appended('t'), overwritten('t')].flatMap((stream) =>
      [1, 300].map((records) => [stream.mode, records, stream] as const),
    ),
  )(
    'becomes NULL and is recorded, of every type: %s, %i a batch',
    async (mode, records, stream) => {
      await using target = await newTarget(server);
      const log = new EventLog(target.schemas, stream, COLUMNS, { firstOffset: 1000 });
      const bad = new Map<bigint, [Record<string, unknown>, ReturnType<typeof change>[]]>([
        [0n, [{ name: 'secret\u0000' }, [change('name', SERIALIZATION)]]],
        [1n, [{ doc: '{"secret": "\\u0000"}' }, [change('doc', SERIALIZATION)]]],
        [2n, [{ doc: '"\\ud800 secret"' }, [change('doc', SERIALIZATION)]]],
        [3n, [{ short: 'secret' }, [change('short', SIZE)]]],
        [4n, [{ price: '1234.5' }, [change('price', SIZE)]]],
        [5n, [{ day: 2_147_000_000 }, [change('day', SIZE)]]],
        [6n, [{ address: 'secret' }, [change('address', SERIALIZATION)]]],
        [
          7n,
          [
            { name: '\u0000', short: 'secret', price: '-99999', day_of: 'a\u0000' },
            [
              change('name', SERIALIZATION),
              change('short', SIZE),
              change('price', SIZE),
              change('day_of', SERIALIZATION),
            ],
          ],
        ],
      ]);
      if (mode === 'overwrite') log.truncate({ snapshot: 'true' });
      for (let id = 0n; id < Math.max(8, records); id++) {
        log.create({ id, ...FITS, ...bad.get(id)?.[0] });
      }
      if (mode === 'overwrite') log.endGeneration(0);
      const writer = target.writer();
      await writer.open(log.target);
      for (let from = 0; from < log.offsets.length; from += records) {
        await writer.write([log.batch(from, Math.min(from + records, log.offsets.length))]);
      }
      const rows = await rowsOf(target);
      expect(rows).toHaveLength(Math.max(8, records));
      for (const { id, meta, ...row } of rows) {
        const [given = {}, changes = []] = bad.get(BigInt(String(id))) ?? [];
        const gone = Object.fromEntries(Object.keys(given).map((name) => [name, null]));
        expect([id, row]).toEqual([id, { ...READ, ...gone }]);
        expect([id, meta]).toEqual([id, changes.length === 0 ? null : { changes }]);
      }
      const counts: Record<string, number> = {};
      for (const [of, fields] of target.nulled) {
        expect(of).toBe('public.t');
        for (const [field, n] of Object.entries(fields)) counts[field] = (counts[field] ?? 0) + n;
      }
      expect(counts).toEqual({
        name: 2,
        doc: 2,
        short: 2,
        price: 2,
        day: 1,
        address: 1,
        day_of: 1,
      });
    },
  );

  it('gives its table the column for that only when it is needed', async () => {
    await using target = await newTarget(server);
    const log = new EventLog(target.schemas, deduped('t'), COLUMNS);
    log.create({ id: 1n, ...FITS });
    await writeLog(target, log);
    const columns = () =>
      target.rows(
        `SELECT data_type AS type FROM information_schema.columns WHERE column_name='_airbyte_meta'`,
      );
    expect(await columns()).toEqual([]);
    log.create({ id: 2n, ...FITS, short: 'long' });
    await writeLog(target, log, 1);
    expect(await columns()).toEqual([{ type: 'jsonb' }]);
    // It is no column of the source's to a writer that finds it.
    log.create({ id: 3n, ...FITS, short: 'long' });
    await writeLog(target, log, 2);
    expect(
      await target.rows('SELECT id FROM t WHERE _airbyte_meta IS NOT NULL ORDER BY id'),
    ).toEqual([{ id: '2' }, { id: '3' }]);
  });

  it('is forgotten with the next one that fits, and kept where only others are sent', async () => {
    await using target = await newTarget(server);
    const log = new EventLog(target.schemas, deduped('t'), COLUMNS);
    const writer = target.writer();
    await writer.open(log.target);
    log.create({ id: 1n, ...FITS, name: '\u0000', short: 'long' });
    await writer.write([log.batch()]);
    const meta = async () => (await rowsOf(target))[0]?.['meta'];
    const [name, short] = [change('name', SERIALIZATION), change('short', SIZE)];
    expect(await meta()).toEqual({ changes: [name, short] });
    log.update({ id: 1n, ...FITS }, { unchanged: ['name', 'short'] });
    await writer.write([log.batch(1)]);
    expect(await meta()).toEqual({ changes: [name, short] });
    log.update({ id: 1n, ...FITS, price: '99999' }, { unchanged: ['name'] });
    await writer.write([log.batch(2)]);
    expect(await meta()).toEqual({ changes: [name, change('price', SIZE)] });
    log.update({ id: 1n, ...FITS }, { unchanged: ['name'] });
    await writer.write([log.batch(3)]);
    expect(await meta()).toEqual({ changes: [name] });
    log.update({ id: 1n, ...FITS });
    await writer.write([log.batch(4)]);
    expect(await rowsOf(target)).toEqual([{ id: '1', ...READ, meta: null }]);
  });

  it('is found where the events of its row are in one batch, and in none of another row', async () => {
    await using target = await newTarget(server);
    const log = new EventLog(target.schemas, deduped('t'), COLUMNS);
    const writer = target.writer();
    await writer.open(log.target);
    log.create({ id: 1n, ...FITS, name: '\u0000' });
    log.update({ id: 1n, ...FITS, short: 'long' }, { unchanged: ['name'] });
    log.create({ id: 2n, ...FITS, name: '\u0000' });
    log.update({ id: 2n, ...FITS });
    log.create({ id: 3n, ...FITS, name: '\u0000' });
    log.delete({ id: 3n });
    await writer.write([log.batch()]);
    expect(
      (await rowsOf(target)).map(({ id, name, short, meta }) => [id, name, short, meta]),
    ).toEqual([
      ['1', null, null, { changes: [change('name', SERIALIZATION), change('short', SIZE)] }],
      ['2', 'fine', 'abc', null],
    ]);
  });

  it('is the same when the batch is delivered again, cut otherwise', async () => {
    await using target = await newTarget(server);
    const log = new EventLog(target.schemas, appended('t'), COLUMNS);
    for (let id = 0n; id < 60n; id++)
      log.create({ id, ...FITS, ...(id % 7n === 3n ? { short: 'long' } : {}) });
    const first = target.writer();
    await first.open(log.target);
    await first.write([log.batch(0, 33)]);
    const second = target.writer();
    expect(await second.open(log.target)).toBe(33);
    await second.write([log.batch(20, 60)]);
    await expect(first.write([log.batch(33, 60)])).rejects.toMatchObject({ code: 'SNK_FENCED' });
    const found = await target.rows(
      'SELECT count(*)::int AS n, count(short)::int AS short, count(_airbyte_meta)::int AS meta FROM t',
    );
    expect(found).toEqual([{ n: 60, short: 51, meta: 9 }]);
  });

  it.each([
    'destination.postgres.before_apply',
    'destination.postgres.rows_applied',
    'destination.postgres.offset_stored',
    'destination.postgres.commit_sent',
    'destination.postgres.after_commit',
  ])('is NULL once, whatever fails meanwhile: %s', async (failpoint) => {
    await using target = await newTarget(server);
    const log = new EventLog(target.schemas, appended('t'), COLUMNS);
    log.create({ id: 1n, ...FITS });
    log.create({ id: 2n, ...FITS, short: 'long' });
    const writer = target.writer();
    await writer.open(log.target);
    armFailpoints({ failpoints: `${failpoint}=error`, failpointsAllowed: true });
    await expect(writer.write([log.batch()])).rejects.toThrow();
    armFailpoints({ failpoints: '', failpointsAllowed: true });
    await writer.write([log.batch()]);
    const rows = await target.rows(
      'SELECT id, short, _airbyte_meta IS NOT NULL AS told FROM t ORDER BY 1',
    );
    expect(rows).toEqual([
      { id: '1', short: 'abc', told: false },
      { id: '2', short: null, told: true },
    ]);
    expect(writer.durableOffset(log.target)).toBe(log.end);
  });

  it('may be in every row of a batch', async () => {
    await using target = await newTarget(server);
    const log = new EventLog(target.schemas, deduped('t'), COLUMNS);
    for (let id = 0n; id < 200n; id++) log.create({ id, ...FITS, short: 'long' });
    await writeLog(target, log);
    expect(target.nulled).toEqual([['public.t', { short: 200 }]]);
    expect(await target.rows('SELECT count(*)::int AS n FROM t WHERE short IS NULL')).toEqual([
      { n: 200 },
    ]);
  });

  it('fits again where somebody had narrowed the column', async () => {
    await using target = await newTarget(server);
    const log = new EventLog(target.schemas, deduped('t'), { ...COLUMNS, n: { kind: 'int64' } });
    const writer = target.writer();
    await writer.open(log.target);
    await target.sql.query('ALTER TABLE t ALTER COLUMN n TYPE smallint');
    log.create({ id: 1n, ...FITS, n: 70_000n });
    await writer.write([log.batch()]);
    expect(await target.rows('SELECT n FROM t')).toEqual([{ n: '70000' }]);
    expect(target.nulled).toEqual([]);
  });
});

describe('a value that does not fit and may not be NULL', () => {
  it('stops the stream, alone, where it is of the key', async () => {
    await using target = await newTarget(server);
    const columns: Columns = { id: { kind: 'string', native: 'text' }, name: { kind: 'string' } };
    for (const stream of [deduped('t'), appended('u')]) {
      const log = new EventLog(target.schemas, stream, columns);
      log.create({ id: 'a', name: 'x' });
      log.create({ id: 'b\u0000', name: 'x\u0000' });
      const writer = target.writer();
      await writer.open(log.target);
      await expect(writer.write([log.batch()])).rejects.toMatchObject({
        code: 'DST_VALUE',
        details: { stream: `public.${stream.name}`, offset: 1, column: 'id', sqlstate: '22021' },
      });
    }
  });

  it('stops the stream where somebody made the column NOT NULL', async () => {
    await using target = await newTarget(server);
    const log = new EventLog(target.schemas, deduped('t'), COLUMNS);
    const writer = target.writer();
    await writer.open(log.target);
    await target.sql.query('ALTER TABLE t ALTER COLUMN short SET NOT NULL');
    log.create({ id: 1n, ...FITS });
    log.create({ id: 2n, ...FITS, short: 'long' });
    const error = await writer.write([log.batch()]).catch((e: unknown) => e);
    expect(error).toMatchObject({ code: 'DST_VALUE', details: { column: 'short', offset: 1 } });
    expect(String(error)).toContain('NOT NULL');
    await target.sql.query('ALTER TABLE t ALTER COLUMN short DROP NOT NULL');
    await writer.write([log.batch()]);
    expect(await target.rows('SELECT id, short FROM t ORDER BY id')).toEqual([
      { id: '1', short: 'abc' },
      { id: '2', short: null },
    ]);
  });

  it('stops the stream where the source has a column of the name of the record', async () => {
    await using target = await newTarget(server);
    const log = new EventLog(target.schemas, deduped('t'), {
      ...COLUMNS,
      _airbyte_meta: { kind: 'json', native: 'jsonb' },
    });
    log.create({ id: 1n, ...FITS, short: 'long', _airbyte_meta: '{}' });
    await expect(writeLog(target, log)).rejects.toMatchObject({
      code: 'DST_VALUE',
      details: { column: 'short', offset: 0 },
    });
  });
});
