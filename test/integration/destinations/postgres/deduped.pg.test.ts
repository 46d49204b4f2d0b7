import { afterAll, beforeAll, describe, expect, it } from 'vitest';
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
  note: { kind: 'string', native: 'text' },
};

describe('a deduped table', () => {
  it('holds the newest event of each key, however often a key is in a batch', async () => {
    await using target = await newTarget(server);
    const log = new EventLog(target.schemas, deduped('t'), COLUMNS);
    log.create({ id: 1n, name: 'a', note: 'x' });
    log.update({ id: 1n, name: 'b', note: 'x' });
    log.create({ id: 2n, name: 'c', note: null });
    log.delete({ id: 2n });
    log.create({ id: 2n, name: 'again', note: 'n' });
    log.create({ id: 3n, name: 'gone', note: 'n' });
    log.delete({ id: 3n });
    const writer = target.writer();
    expect(await writer.open(log.target)).toBeNull();
    await writer.write([log.batch()]);
    expect(await target.rows('SELECT id, name, note FROM t ORDER BY id')).toEqual([
      { id: '1', name: 'b', note: 'x' },
      { id: '2', name: 'again', note: 'n' },
    ]);
    expect(writer.durableOffset(log.target)).toBe(log.end);
    expect(
      await target.rows('SELECT topic, partition, next_offset FROM _headrace_offsets'),
    ).toEqual([{ topic: log.topic, partition: 0, next_offset: String(log.end) }]);
  });

  it('moves a row whose key changes', async () => {
    await using target = await newTarget(server);
    const log = new EventLog(target.schemas, deduped('t'), COLUMNS);
    log.create({ id: 1n, name: 'a', note: 'x' });
    const writer = target.writer();
    await writer.open(log.target);
    await writer.write([log.batch()]);
    log.delete({ id: 1n }, { lsn: 200n, seq: 0 });
    log.create({ id: 9n, name: 'a', note: 'x' }, { lsn: 200n, seq: 1 });
    await writer.write([log.batch(1)]);
    expect(await target.rows('SELECT id, name FROM t')).toEqual([{ id: '9', name: 'a' }]);
  });

  it('keeps the cells that an update leaves unchanged, in the batch and in the table', async () => {
    await using target = await newTarget(server);
    const log = new EventLog(target.schemas, deduped('t'), COLUMNS);
    log.create({ id: 1n, name: 'a', note: 'big' });
    log.update({ id: 1n, name: 'b' }, { unchanged: ['note'] });
    log.create({ id: 2n, name: 'n', note: null });
    log.update({ id: 2n, name: 'm' }, { unchanged: ['note'] });
    log.create({ id: 3n, name: 'three', note: 'keep' });
    const writer = target.writer();
    await writer.open(log.target);
    await writer.write([log.batch()]);
    const from = log.count;
    log.update({ id: 3n, name: 'drei' }, { unchanged: ['note'] });
    log.update({ id: 3n, name: null, note: null }, { unchanged: ['note'] });
    await writer.write([log.batch(from)]);
    expect(await target.rows('SELECT id, name, note FROM t ORDER BY id')).toEqual([
      { id: '1', name: 'b', note: 'big' },
      { id: '2', name: 'm', note: null },
      { id: '3', name: null, note: 'keep' },
    ]);
  });

  it('refuses an incomplete update of a row that it does not have', async () => {
    await using target = await newTarget(server);
    const log = new EventLog(target.schemas, deduped('t'), COLUMNS);
    log.update({ id: 5n, name: 'b' }, { unchanged: ['note'] });
    const writer = target.writer();
    await writer.open(log.target);
    await expect(writer.write([log.batch()])).rejects.toMatchObject({
      code: 'DST_ROW_INCOMPLETE',
      details: { stream: 'public.t' },
    });
    expect(await target.rows('SELECT next_offset FROM _headrace_offsets')).toEqual([
      { next_offset: null },
    ]);
  });

  it('takes a new row that was gone before its large cells could be read', async () => {
    await using target = await newTarget(server);
    const log = new EventLog(target.schemas, deduped('t'), COLUMNS);
    log.create({ id: 5n, name: 'moved here' }, { unchanged: ['note'] });
    log.create({ id: 6n, name: 'moved here too' }, { unchanged: ['note'] });
    log.update({ id: 6n, name: 'and renamed' }, { unchanged: ['note'] });
    const writer = target.writer();
    await writer.open(log.target);
    await writer.write([log.batch()]);
    expect(await target.rows('SELECT id, name, note FROM t ORDER BY id')).toEqual([
      { id: '5', name: 'moved here', note: null },
      { id: '6', name: 'and renamed', note: null },
    ]);
    const from = log.count;
    log.delete({ id: 5n });
    log.delete({ id: 6n });
    await writer.write([log.batch(from)]);
    expect(await target.rows('SELECT id FROM t')).toEqual([]);
  });

  it('is emptied by TRUNCATE of what came before it, and of nothing else', async () => {
    await using target = await newTarget(server);
    const log = new EventLog(target.schemas, deduped('t'), COLUMNS);
    log.create({ id: 1n, name: 'old' });
    const writer = target.writer();
    await writer.open(log.target);
    await writer.write([log.batch()]);
    log.create({ id: 2n, name: 'old too' });
    log.truncate();
    log.create({ id: 1n, name: 'new' });
    await writer.write([log.batch(1)]);
    expect(await target.rows('SELECT id, name FROM t')).toEqual([{ id: '1', name: 'new' }]);
  });

  it('keeps deleted rows when asked to delete softly', async () => {
    await using target = await newTarget(server, { config: { cdc_deletion_mode: 'soft' } });
    const log = new EventLog(target.schemas, deduped('t'), COLUMNS);
    log.create({ id: 1n, name: 'a', note: 'x' });
    log.create({ id: 2n, name: 'b', note: 'y' });
    const writer = target.writer();
    await writer.open(log.target);
    await writer.write([log.batch()]);
    log.delete({ id: 1n }, { tsUs: 1_700_000_000_000_000n });
    await writer.write([log.batch(2)]);
    const text = `SELECT id, name, note, _ab_cdc_deleted_at AT TIME ZONE 'UTC' AS at FROM t ORDER BY id`;
    const rows = await target.rows(text);
    expect(rows.map(({ id, name, note, at }) => [id, name, note, at !== null])).toEqual([
      ['1', 'a', 'x', true],
      ['2', 'b', 'y', false],
    ]);
    const from = log.count;
    log.create({ id: 1n, name: 'back', note: 'z' });
    await writer.write([log.batch(from)]);
    expect(await target.rows('SELECT id FROM t WHERE _ab_cdc_deleted_at IS NULL')).toHaveLength(2);
  });

  it('deletes by a tombstone whose delete was compacted away', async () => {
    await using target = await newTarget(server);
    const log = new EventLog(target.schemas, deduped('t'), COLUMNS);
    log.create({ id: 1n, name: 'a' });
    log.create({ id: 2n, name: 'b' });
    const writer = target.writer();
    await writer.open(log.target);
    await writer.write([log.batch()]);
    log.tombstone({ id: 1n });
    await writer.write([log.batch(2)]);
    expect(await target.rows('SELECT id FROM t')).toEqual([{ id: '2' }]);
  });

  it('takes keys of which two spellings are equal', async () => {
    await using target = await newTarget(server);
    const columns: Columns = {
      id: { kind: 'decimal', native: 'numeric' },
      name: { kind: 'string', native: 'text' },
    };
    const log = new EventLog(target.schemas, deduped('t'), columns);
    log.create({ id: '1.0', name: 'a' });
    log.update({ id: '1.00', name: 'b' });
    const writer = target.writer();
    await writer.open(log.target);
    await writer.write([log.batch()]);
    expect(await target.rows('SELECT name FROM t')).toEqual([{ name: 'b' }]);
  });

  it('is there when the stream is empty', async () => {
    await using target = await newTarget(server);
    const log = new EventLog(target.schemas, deduped('t'), COLUMNS);
    const writer = target.writer();
    expect(await writer.open(log.target)).toBeNull();
    expect(await target.rows('SELECT * FROM t')).toEqual([]);
    await writer.close();
    expect(await target.writer().open(log.target)).toBeNull();
  });
});

describe('an append table', () => {
  it('has a row per change, marks deletes and names what an update left out', async () => {
    await using target = await newTarget(server);
    const log = new EventLog(target.schemas, appended('t'), COLUMNS);
    log.create({ id: 1n, name: 'a', note: 'x' });
    log.update({ id: 1n, name: 'b' }, { unchanged: ['note'] });
    log.update({ id: 1n, name: 'c' }, { unchanged: ['note'], before: { id: 1n, note: 'x' } });
    log.delete({ id: 1n, name: 'c', note: 'x' });
    log.truncate();
    const writer = target.writer();
    await writer.open(log.target);
    await writer.write([log.batch()]);
    const rows = await target.rows(
      `SELECT name, note, _ab_cdc_lsn::text lsn, _ab_cdc_deleted_at IS NOT NULL AS deleted,
        _headrace_unchanged AS unchanged FROM t ORDER BY _ab_cdc_lsn`,
    );
    expect(rows).toEqual([
      { name: 'a', note: 'x', lsn: '101', deleted: false, unchanged: null },
      { name: 'b', note: null, lsn: '102', deleted: false, unchanged: ['note'] },
      { name: 'c', note: 'x', lsn: '103', deleted: false, unchanged: null },
      { name: 'c', note: 'x', lsn: '104', deleted: true, unchanged: null },
    ]);
  });

  it('is filled by COPY with the same rows as by INSERT, ids from the offsets', async () => {
    await using target = await newTarget(server);
    const logs = ['small', 'large'].map(
      (name) => new EventLog(target.schemas, appended(name), COLUMNS),
    );
    const writer = target.writer();
    for (const log of logs) {
      await writer.open(log.target);
      for (let i = 0; i < 120; i++) log.create({ id: BigInt(i), name: i % 3 ? 'ä' : null });
    }
    const [small, large] = logs as [EventLog, EventLog];
    for (let i = 0; i < 120; i += 10) await writer.write([small.batch(i, i + 10)]);
    await writer.write([large.batch()]);
    const text = (name: string) => `SELECT id, name, note, _ab_cdc_lsn FROM ${name} ORDER BY id`;
    expect(await target.rows(text('large'))).toEqual(await target.rows(text('small')));
    const [ids] = await target.rows(
      `SELECT count(DISTINCT _airbyte_ab_id) AS n, bool_and(substr(_airbyte_ab_id::text,15,1)='8') AS v FROM large`,
    );
    expect(ids).toEqual({ n: '120', v: true });
  });
});
