import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { armFailpoints } from '../../../../core/run/failpoints.ts';
import type { PostgresWriter } from '../../../../connectors/destinations/postgres/writer.ts';
import { postgresContext, type ServerContext } from '../../../support/contexts.ts';
import { appended, deduped, EventLog, overwritten, type Columns } from './event-log.ts';
import { newTarget, type TestTarget } from './target.ts';

let server: ServerContext;
beforeAll(async () => {
  server = await postgresContext();
}, 120_000);
afterAll(() => server[Symbol.asyncDispose]());

const COLUMNS: Columns = {
  id: { kind: 'int32', native: 'integer' },
  name: { kind: 'string', native: 'text' },
  doc: { kind: 'json', native: 'jsonb' },
};
const CONFIGS = {
  typed: {},
  raw: { normalization: 'none' },
  basic: { normalization: 'basic' },
  classic: { normalization: { option: 'classic', scd: true } },
  v2: { normalization: 'v2' },
} as const;
type Kind = keyof typeof CONFIGS;
const CASES = (Object.keys(CONFIGS) as Kind[]).flatMap((kind) =>
  [appended('t'), deduped('t')].map((stream) => [kind, stream.mode, stream] as const),
);

const TABLES: Record<Kind, readonly string[]> = {
  typed: ['t'],
  raw: ['_airbyte_raw_t'],
  basic: ['_airbyte_raw_t', 't', 't_doc_tags'],
  // Versions are kept of deduped rows only.
  classic: ['t', '_airbyte_raw_t', 't_doc', 't_doc_tags', 't_scd'],
  v2: ['t', 'airbyte_internal.public_raw__stream_t'],
};

/** Columns that say when a row was written, and what is made of that. */
const WRITTEN = [
  '_airbyte_emitted_at',
  '_airbyte_normalized_at',
  '_airbyte_unique_key_scd',
  '_airbyte_extracted_at',
  '_airbyte_loaded_at',
];

/** Rows that change, leave cells out, go and come back. */
function fill(log: EventLog): void {
  for (let id = 0; id < 40; id++) {
    log.create({ id, name: `n${id}`, doc: `{"tags": [{"t": "a${id}"}, {"t": "b"}]}` });
  }
  for (let id = 0; id < 40; id += 3) log.update({ id, name: 'touched' }, { unchanged: ['doc'] });
  for (let id = 0; id < 40; id += 4) log.delete({ id });
  log.create({ id: 4, name: 'back', doc: '{"tags": []}' });
}

/** All rows but for when they were written. */
async function contents(target: TestTarget, kind: Kind): Promise<unknown> {
  const all: Record<string, unknown> = {};
  for (const table of TABLES[kind]) {
    const [there] = await target.rows(`SELECT to_regclass('${table}') IS NOT NULL AS yes`);
    if (there?.['yes'] !== true) continue;
    const rows = await target.rows(
      `SELECT to_jsonb(r) - '{${WRITTEN.join(',')}}'::text[] AS row FROM ${table} r`,
    );
    all[table] = rows.map(({ row }) => JSON.stringify(row)).toSorted();
  }
  return all;
}

async function deliver(writer: PostgresWriter, log: EventLog, size = 7): Promise<void> {
  const next = writer.durableOffset(log.target);
  let from = log.offsets.findIndex((offset) => offset >= next);
  if (from === -1) return;
  for (; from < log.count; from += size) {
    await writer.write([log.batch(from, Math.min(log.count, from + size))]);
  }
}

/** Opens with an order and delivers from where the writer says. */
async function replay(
  target: TestTarget,
  log: EventLog,
  order: { id: string; from: number; rebuild: boolean },
): Promise<PostgresWriter> {
  const writer = target.writer({ limits: { retryForMs: 0 } });
  const next = await writer.open({ ...log.target, replay: { ...order, until: log.end } });
  await writer.opened(log.topic);
  const first = log.offsets.findIndex((offset) => offset >= (next ?? 0));
  for (let from = first; from !== -1 && from < log.count; from += 7) {
    await writer.write([log.batch(from, Math.min(log.count, from + 7))]);
  }
  return writer;
}

async function staging(target: TestTarget): Promise<unknown> {
  return target.rows(`SELECT relname FROM pg_class WHERE relname LIKE '\\_headrace\\_new%'`);
}

describe.each(CASES)('a replay into %s tables, %s', (kind, _mode, stream) => {
  it('in place changes nothing, from wherever it begins', async () => {
    await using target = await newTarget(server, { config: CONFIGS[kind] });
    const log = new EventLog(target.schemas, stream, COLUMNS);
    fill(log);
    const first = target.writer();
    await first.open(log.target);
    await deliver(first, log);
    const before = await contents(target, kind);
    for (const [n, from] of [0, 45, 1000].entries()) {
      const writer = await replay(target, log, { id: `r${n}`, from, rebuild: false });
      expect(await contents(target, kind)).toEqual(before);
      // The order is carried out once.
      expect(await target.writer().open(log.target)).toBe(log.end);
      await writer.close();
    }
    const last = await replay(target, log, { id: 'last', from: 3, rebuild: false });
    log.create({ id: 100, name: 'new', doc: null });
    await deliver(last, log);
    expect(await contents(target, kind)).not.toEqual(before);
    await expect(first.write([log.batch(log.count - 1)])).rejects.toMatchObject({
      code: 'SNK_FENCED',
    });
  });

  it('rebuilds beside the live tables, whenever it is killed', async () => {
    await using target = await newTarget(server, { config: CONFIGS[kind] });
    const log = new EventLog(target.schemas, stream, COLUMNS);
    fill(log);
    const first = target.writer();
    await first.open(log.target);
    await deliver(first, log);
    const before = await contents(target, kind);
    const [main] = TABLES[kind] as readonly [string];
    const [id, at] =
      kind === 'v2'
        ? ['_airbyte_raw_id', '_airbyte_extracted_at']
        : ['_airbyte_ab_id', '_airbyte_emitted_at'];
    await target.sql.query(`CREATE VIEW v AS SELECT ${id} FROM ${main}`);
    // What a repair by hand has spoilt shows until the rebuilt table takes its place.
    await target.sql.query(`UPDATE ${main} SET ${at} = 'epoch'`);
    const spoilt = `SELECT count(*)::int AS n FROM ${main} WHERE ${at} = 'epoch'`;
    const [{ n }] = (await target.rows(spoilt)) as [{ n: number }];
    for (let hits = 1; hits <= 5; hits += 2) {
      armFailpoints({
        failpoints: `destination.postgres.after_commit=${hits}*error`,
        failpointsAllowed: true,
      });
      await expect(replay(target, log, { id: 'r', from: 0, rebuild: true })).rejects.toThrow();
      armFailpoints({ failpoints: null, failpointsAllowed: false });
      expect(await target.rows(spoilt)).toEqual([{ n }]);
    }
    const writer = await replay(target, log, { id: 'r', from: 0, rebuild: true });
    expect(writer.durableOffset(log.target)).toBe(log.end);
    expect(await target.rows(spoilt)).toEqual([{ n: 0 }]);
    expect(await contents(target, kind)).toEqual(before);
    expect(await staging(target)).toEqual([]);
    const [view] = await target.rows('SELECT count(*)::int AS n FROM v');
    expect(view).toEqual({ n });
    log.create({ id: 100, name: 'new', doc: null });
    await deliver(writer, log);
    expect(await contents(target, kind)).not.toEqual(before);
  });

  it('mends what was truncated or forgotten', async () => {
    await using target = await newTarget(server, { config: CONFIGS[kind] });
    const log = new EventLog(target.schemas, stream, COLUMNS);
    fill(log);
    const first = target.writer();
    await first.open(log.target);
    await deliver(first, log);
    await first.close();
    const before = await contents(target, kind);
    const main = kind === 'raw' ? '_airbyte_raw_t' : 't';
    await target.sql.query(`TRUNCATE ${main}`);
    await expect(target.writer().open(log.target)).rejects.toMatchObject({
      code: 'DST_TABLE_CHANGED',
    });
    await replay(target, log, { id: 'r1', from: 0, rebuild: false });
    expect(await contents(target, kind)).toEqual(before);
    await target.sql.query('DELETE FROM _headrace_offsets');
    await expect(target.writer().open(log.target)).rejects.toMatchObject({
      code: 'DST_STATE_LOST',
    });
    await replay(target, log, { id: 'r2', from: 0, rebuild: false });
    expect(await contents(target, kind)).toEqual(before);
    await target.sql.query(`DROP TABLE ${main}`);
    await replay(target, log, { id: 'r3', from: 0, rebuild: true });
    expect(await contents(target, kind)).toEqual(before);
  });
});

describe('a replay', () => {
  it('of several partitions ends when the last one is there', async () => {
    await using target = await newTarget(server);
    const logs = [0, 1].map(
      (partition) => new EventLog(target.schemas, deduped('t'), COLUMNS, { partition }),
    ) as [EventLog, EventLog];
    const [a, b] = logs;
    for (let id = 0; id < 20; id++) logs[id % 2]!.create({ id, name: 'n', doc: null });
    const first = target.writer();
    for (const log of logs) await first.open(log.target);
    await first.write(logs.map((log) => log.batch()));
    const second = target.writer();
    for (const log of logs) {
      const order = { id: 'r', from: 0, until: log.end, rebuild: true };
      expect(await second.open({ ...log.target, replay: order })).toBe(0);
    }
    await second.opened(a.topic);
    await second.write([a.batch()]);
    expect(await staging(target)).toHaveLength(2);
    expect(second.durableOffset(a.target)).toBe(0);
    await second.write([b.batch()]);
    expect(await staging(target)).toEqual([]);
    expect(second.durableOffset(a.target)).toBe(a.end);
    expect(await target.rows('SELECT count(*)::int AS n FROM t')).toEqual([{ n: 20 }]);
  });

  it('of nothing at all ends by itself', async () => {
    await using target = await newTarget(server);
    const log = new EventLog(target.schemas, deduped('t'), COLUMNS);
    const writer = target.writer();
    await writer.open(log.target);
    await writer.close();
    const second = await replay(target, log, { id: 'r', from: 0, rebuild: true });
    expect(await staging(target)).toEqual([]);
    log.create({ id: 1, name: 'a', doc: null });
    await second.write([log.batch()]);
    expect(await target.rows('SELECT id FROM t')).toEqual([{ id: 1 }]);
  });

  it('of whole copies shows the last one again', async () => {
    await using target = await newTarget(server);
    const log = new EventLog(target.schemas, overwritten('t'), COLUMNS);
    log.generation(1, [{ id: 1, name: 'a', doc: null }]);
    log.generation(
      2,
      [2, 3, 4].map((id) => ({ id, name: 'b', doc: null })),
    );
    const first = target.writer();
    await first.open(log.target);
    await deliver(first, log);
    for (const [n, from] of [0, 1, 4].entries()) {
      await target.sql.query(`UPDATE t SET name = 'spoilt'`);
      await replay(target, log, { id: `r${n}`, from, rebuild: n === 2 });
      expect(await target.rows('SELECT id, name FROM t ORDER BY id')).toEqual(
        [2, 3, 4].map((id) => ({ id, name: from === 4 ? 'spoilt' : 'b' })),
      );
    }
  });
});
