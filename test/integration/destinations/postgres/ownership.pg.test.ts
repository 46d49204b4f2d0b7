import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { postgresContext, type ServerContext } from '../../../support/contexts.ts';
import { appended, deduped, EventLog, type Columns } from './event-log.ts';
import { newTarget, type TestTarget } from './target.ts';

let server: ServerContext;
beforeAll(async () => {
  server = await postgresContext();
}, 120_000);
afterAll(() => server[Symbol.asyncDispose]());

const COLUMNS: Columns = {
  id: { kind: 'int64', native: 'bigint' },
  name: { kind: 'string', native: 'text' },
};

async function filled(target: TestTarget, partition = 0) {
  const log = new EventLog(target.schemas, deduped('t'), COLUMNS, { partition });
  log.create({ id: 1n, name: 'a' });
  const writer = target.writer({ limits: { retryForMs: 0 } });
  await writer.open(log.target);
  await writer.write([log.batch()]);
  log.create({ id: 2n, name: 'b' });
  return { log, writer, next: log.batch(1) };
}

describe('what somebody else did to the target', () => {
  it.each([
    ['DROP TABLE t', 'DST_TABLE_CHANGED'],
    ['TRUNCATE t', 'DST_TABLE_CHANGED'],
    ['ALTER TABLE t RENAME TO u', 'DST_TABLE_CHANGED'],
    ['ALTER TABLE t DROP COLUMN name', 'DST_TABLE_CHANGED'],
    ['ALTER TABLE t DROP CONSTRAINT t_pkey', 'DST_KEY_MISMATCH'],
    ['DROP TABLE t; CREATE TABLE t (id bigint PRIMARY KEY, name text)', 'DST_TABLE_CHANGED'],
    ['DELETE FROM _headrace_offsets', 'DST_STATE_LOST'],
    ['DROP TABLE _headrace_offsets', 'DST_STATE_LOST'],
    ['ALTER TABLE t ALTER name TYPE integer USING 0', 'DST_SCHEMA_INCOMPATIBLE'],
  ])('%s is refused with %s, at once and after a restart', async (text, code) => {
    await using target = await newTarget(server);
    const { log, writer, next } = await filled(target);
    await target.sql.query(text);
    const running = await writer.write([next]).then(
      () => 'written',
      (error: { code: string; details: Record<string, unknown> }) => error,
    );
    // A column that got another type still takes what can be converted.
    expect(running).toMatchObject({ code: expect.stringMatching(/^DST_/) });
    // The bookkeeping table is that of all streams.
    if (text.startsWith('DROP TABLE _')) expect(running).toMatchObject({ code });
    else expect(running).toMatchObject({ details: { stream: 'public.t' } });
    await expect(target.writer().open(log.target)).rejects.toMatchObject({ code });
  });

  it('is accepted where it kept the rows: VACUUM FULL, own columns, indexes', async () => {
    await using target = await newTarget(server);
    const { log, writer, next } = await filled(target);
    await target.sql.query('ALTER TABLE t ADD COLUMN mine integer DEFAULT 7');
    await target.sql.query('VACUUM FULL t');
    await target.sql.query('CREATE INDEX ON t (name)');
    await writer.write([next]);
    expect(await target.writer().open(log.target)).toBe(log.end);
    expect(await target.rows('SELECT id, mine FROM t ORDER BY id')).toEqual([
      { id: '1', mine: 7 },
      { id: '2', mine: 7 },
    ]);
  });

  it('is noticed when the offset of one partition among several is gone', async () => {
    await using target = await newTarget(server);
    const { writer } = await filled(target, 2);
    const other = new EventLog(target.schemas, deduped('t'), COLUMNS, { partition: 1 });
    await writer.open(other.target);
    await target.sql.query('DELETE FROM _headrace_offsets WHERE partition = 1');
    await expect(target.writer().open(other.target)).rejects.toMatchObject({
      code: 'DST_STATE_LOST',
    });
    const added = new EventLog(target.schemas, deduped('t'), COLUMNS, { partition: 3 });
    expect(await target.writer().open(added.target)).toBeNull();
  });
});

describe('a table that is in the way', () => {
  it('is left alone when it is not ours', async () => {
    await using target = await newTarget(server);
    await target.sql.query('CREATE TABLE t (id bigint PRIMARY KEY, name text)');
    const log = new EventLog(target.schemas, deduped('t'), COLUMNS);
    await expect(target.writer().open(log.target)).rejects.toMatchObject({
      code: 'DST_TABLE_FOREIGN',
      details: { stream: 'public.t' },
    });
  });

  it('is refused when it is that of another connection or stream', async () => {
    await using target = await newTarget(server);
    const { log, writer } = await filled(target);
    await expect(target.writer({ connectionId: 'c2' }).open(log.target)).rejects.toMatchObject({
      code: 'DST_NAME_CONFLICT',
    });
    const stream = { ...deduped('other'), name: 't' };
    const second = new EventLog(target.schemas, stream, COLUMNS);
    await expect(writer.open(second.target)).rejects.toMatchObject({ code: 'DST_NAME_CONFLICT' });
    await expect(target.writer().open(second.target)).rejects.toMatchObject({
      code: 'DST_NAME_CONFLICT',
    });
  });

  it('is refused when the mode or the key changed', async () => {
    await using target = await newTarget(server);
    const { log } = await filled(target);
    const target2 = { ...log.target, stream: appended('t') };
    await expect(target.writer().open(target2)).rejects.toMatchObject({ code: 'DST_KEY_MISMATCH' });
    const target3 = { ...log.target, stream: deduped('t', ['id', 'name']) };
    await expect(target.writer().open(target3)).rejects.toMatchObject({ code: 'DST_KEY_MISMATCH' });
  });
});

describe('names', () => {
  it('longer than 63 bytes are cut to different ones, in the middle of no character', async () => {
    await using target = await newTarget(server);
    const long = 'ü'.repeat(40);
    const columns: Columns = {
      id: { kind: 'int64', native: 'bigint' },
      [`${long}1`]: { kind: 'string', native: 'text' },
      [`${long}2`]: { kind: 'string', native: 'text' },
      xmin: { kind: 'string', native: 'text' },
      _ab_cdc_lsn: { kind: 'string', native: 'text' },
      'a"b; DROP': { kind: 'string', native: 'text' },
    };
    const writer = target.writer();
    const logs = ['1', '2'].map(
      (end) => new EventLog(target.schemas, deduped(long + end), columns),
    );
    for (const [i, log] of logs.entries()) {
      log.create({
        id: 1n,
        [`${long}1`]: 'one',
        [`${long}2`]: `two${i}`,
        xmin: 'x',
        'a"b; DROP': 'q',
      });
      await writer.open(log.target);
      await writer.write([log.batch()]);
    }
    const tables = await target.rows(
      `SELECT table_name AS t FROM information_schema.tables WHERE table_schema='public' AND table_name LIKE 'ü%' ORDER BY 1`,
    );
    expect(tables).toHaveLength(2);
    for (const { t } of tables) {
      expect(t).toMatch(/^ü{27}_[0-9a-f]{8}$/);
      const [row] = await target.rows(`SELECT * FROM "${String(t)}"`);
      expect(row).toMatchObject({ xmin_: 'x', 'a"b; DROP': 'q', _ab_cdc_lsn_: null });
      expect(Object.values(row as object)).toContain('one');
    }
  });

  it('that become one are refused', async () => {
    await using target = await newTarget(server);
    const columns: Columns = { ...COLUMNS, xmin: { kind: 'string' }, xmin_: { kind: 'string' } };
    const log = new EventLog(target.schemas, deduped('t'), columns);
    await expect(target.writer().open(log.target)).rejects.toMatchObject({
      code: 'DST_NAME_CONFLICT',
    });
  });
});
