import { Client } from 'pg';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { armFailpoints } from '../../../../core/run/failpoints.ts';
import type { PostgresWriter } from '../../../../connectors/destinations/postgres/writer.ts';
import { postgresContext, type ServerContext } from '../../../support/contexts.ts';
import { EventLog, overwritten, type Columns, type Row } from './event-log.ts';
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

function* rows(count: number, name: string): Generator<Row> {
  for (let id = 0; id < count; id++) {
    yield { id, name, doc: JSON.stringify({ a: id, tags: [{ t: name }, { t: 'x' }] }) };
  }
}

const CONFIGS = {
  typed: {},
  raw: { normalization: 'none' },
  basic: { normalization: 'basic' },
  classic: { normalization: 'classic' },
  v2: { normalization: 'v2' },
} as const;
type Kind = keyof typeof CONFIGS;

/** Tables of stream `t`, and how many rows of each name a copy of n rows has there. */
const TABLES: Record<Kind, readonly (readonly [string, string, number])[]> = {
  typed: [['t', 'name', 1]],
  raw: [['_airbyte_raw_t', `_airbyte_data->>'name'`, 1]],
  basic: [
    ['_airbyte_raw_t', `_airbyte_data->>'name'`, 1],
    ['t', 'name', 1],
    ['t_doc_tags', `nullif(t, 'x')`, 1],
  ],
  classic: [
    ['_airbyte_raw_t', `_airbyte_data->>'name'`, 1],
    ['t', 'name', 1],
    ['t_doc_tags', `nullif(t, 'x')`, 1],
  ],
  v2: [
    ['airbyte_internal.public_raw__stream_t', `_airbyte_data->>'name'`, 1],
    ['t', 'name', 1],
  ],
};

async function expectCopy(target: TestTarget, kind: Kind, copy: Record<string, number>) {
  for (const [table, name, times] of TABLES[kind]) {
    const found = await target.rows(
      `SELECT ${name} AS name, count(*)::int AS n FROM ${table} WHERE ${name} IS NOT NULL GROUP BY 1`,
    );
    const counts = Object.fromEntries(found.map((row) => [row['name'], row['n']]));
    const expected = Object.entries(copy).map(([key, n]) => [key, n * times]);
    expect(counts, table).toEqual(Object.fromEntries(expected));
  }
}

async function stagingTables(target: TestTarget): Promise<unknown[]> {
  const found = await target.rows(`SELECT relname FROM pg_class WHERE relname LIKE '%_new_%'`);
  return found.map((row) => row['relname']);
}

/** Writes what the log has more than before, in pieces of `size` records. */
async function deliver(writer: PostgresWriter, log: EventLog, size = 1000): Promise<void> {
  const next = writer.durableOffset(log.target);
  let from = log.offsets.findIndex((offset) => offset >= next);
  if (from === -1) return;
  for (; from < log.count; from += size) {
    await writer.write([log.batch(from, Math.min(log.count, from + size))]);
  }
}

describe.each(Object.keys(CONFIGS) as Kind[])('overwrite, %s tables', (kind) => {
  it('shows whole generations only', async () => {
    await using target = await newTarget(server, { config: CONFIGS[kind] });
    const log = new EventLog(target.schemas, overwritten('t'), COLUMNS);
    const writer = target.writer();
    await writer.open(log.target);
    const [live] = TABLES[kind][0] as readonly [string, string, number];
    expect(await target.rows(`SELECT * FROM ${live}`)).toEqual([]);
    log.beginGeneration(1);
    for (const row of rows(300, 'a')) log.copied(row, 1);
    await deliver(writer, log, 70);
    await expectCopy(target, kind, {});
    log.endGeneration(1);
    await deliver(writer, log);
    await expectCopy(target, kind, { a: 300 });
    expect(await stagingTables(target)).toEqual([]);

    // An unfinished generation leaves the old rows; the next one replaces what it left.
    log.beginGeneration(2);
    for (const row of rows(50, 'lost')) log.copied(row, 2);
    await deliver(writer, log, 20);
    await expectCopy(target, kind, { a: 300 });
    await writer.close();
    const second = target.writer();
    await second.open(log.target);
    log.generation(3, rows(120, 'b'));
    await deliver(second, log, 50);
    await expectCopy(target, kind, { b: 120 });

    // Several generations in one batch, an empty one among them.
    log.generation(4, rows(10, 'c'));
    log.generation(5, []);
    log.beginGeneration(6);
    for (const row of rows(5, 'd')) log.copied(row, 6);
    await deliver(second, log);
    await expectCopy(target, kind, {});
    log.endGeneration(6);
    await deliver(second, log);
    await expectCopy(target, kind, { d: 5 });
    expect(await stagingTables(target)).toEqual([]);
  });

  it('keeps views, grants and indexes, and the old copy when a batch fails', async () => {
    await using target = await newTarget(server, { config: CONFIGS[kind] });
    const log = new EventLog(target.schemas, overwritten('t'), COLUMNS);
    const writer = target.writer();
    await writer.open(log.target);
    log.generation(1, rows(20, 'a'));
    await deliver(writer, log);
    const [table, name] = TABLES[kind][0] as readonly [string, string, number];
    await target.sql.query(`CREATE VIEW v AS SELECT ${name} AS name FROM ${table}`);
    await target.sql.query(`CREATE INDEX by_name ON ${table} ((${name}))`);
    await target.sql.query(`GRANT SELECT ON ${table} TO PUBLIC`);
    const aclOf = `SELECT c.oid::int, relacl::text, (SELECT count(*)::int FROM pg_index WHERE indrelid=c.oid) AS n
      FROM pg_class c WHERE relname='${table}'`;
    const before = await target.rows(aclOf);

    await target.sql.query(`ALTER TABLE ${table} ADD CONSTRAINT short CHECK (length(${name}) < 3)`);
    log.generation(2, rows(30, 'long'));
    await expect(deliver(writer, log)).rejects.toMatchObject({ code: 'DST_CONSTRAINT' });
    await expectCopy(target, kind, { a: 20 });
    await target.sql.query(`ALTER TABLE ${table} DROP CONSTRAINT short`);
    await deliver(writer, log);
    await expectCopy(target, kind, { long: 30 });
    expect(await target.rows(aclOf)).toEqual(before);
    expect(await target.rows('SELECT count(*)::int AS n FROM v')).toEqual([{ n: 30 }]);
  });

  it('takes a new schema in the middle of a copy, and a changed one with the next', async () => {
    await using target = await newTarget(server, { config: CONFIGS[kind] });
    const log = new EventLog(target.schemas, overwritten('t'), COLUMNS);
    const writer = target.writer();
    await writer.open(log.target);
    log.generation(1, rows(3, 'a'));
    log.beginGeneration(2);
    for (const row of rows(4, 'b')) log.copied(row, 2);
    await deliver(writer, log);
    log.evolve({ ...COLUMNS, more: { kind: 'int64', native: 'bigint' } });
    log.copied({ id: 9, name: 'b', doc: '{"z": [{"k": 1}], "tags": [{"t": "b"}]}', more: 7n }, 2);
    await deliver(writer, log);
    await expectCopy(target, kind, { a: 3 });
    log.endGeneration(2);
    await deliver(writer, log);
    await expectCopy(target, kind, { b: 5 });
    if (kind !== 'raw') {
      expect(await target.rows('SELECT more::text FROM t WHERE id=9')).toEqual([{ more: '7' }]);
    }
    if (kind === 'basic') {
      expect(await target.rows('SELECT k::text FROM t_doc_z')).toEqual([{ k: '1' }]);
    }
  });

  it('SI-12: is old or new whenever the writer dies, and goes on', async () => {
    await using target = await newTarget(server, { config: CONFIGS[kind] });
    const log = new EventLog(target.schemas, overwritten('t'), COLUMNS);
    log.generation(1, rows(40, 'a'));
    const first = target.writer();
    await first.open(log.target);
    await deliver(first, log);
    log.generation(2, rows(60, 'b'));
    for (const point of [
      'destination.postgres.before_apply',
      'destination.postgres.after_commit',
    ]) {
      for (let hits = 1; hits <= 4; hits++) {
        const writer = target.writer({ limits: { retryForMs: 0 } });
        await writer.open(log.target);
        armFailpoints({ failpoints: `${point}=${hits}*error`, failpointsAllowed: true });
        await deliver(writer, log, 20).catch(() => undefined);
        armFailpoints({ failpoints: null, failpointsAllowed: false });
        const [shown] = await target.rows(`SELECT count(*)::int AS n FROM ${TABLES[kind][0]![0]}`);
        expect([40, 60]).toContain(shown?.['n']);
      }
    }
    const last = target.writer();
    await last.open(log.target);
    await deliver(last, log);
    await expectCopy(target, kind, { b: 60 });
  });
});

describe('overwrite', () => {
  it('leaves out a copy whose beginning is not in the topic any more', async () => {
    await using target = await newTarget(server);
    const log = new EventLog(target.schemas, overwritten('t'), COLUMNS, { firstOffset: 500 });
    const writer = target.writer();
    await writer.open(log.target);
    for (const row of rows(5, 'half')) log.copied(row, 1);
    log.endGeneration(1);
    await deliver(writer, log);
    await expectCopy(target, 'typed', {});
    log.generation(2, rows(6, 'whole'));
    await deliver(writer, log);
    await expectCopy(target, 'typed', { whole: 6 });
  });

  it('refuses the end of a copy whose rows somebody removed, and a foreign staging table', async () => {
    await using target = await newTarget(server);
    const log = new EventLog(target.schemas, overwritten('t'), COLUMNS);
    const writer = target.writer();
    await writer.open(log.target);
    log.generation(1, rows(2, 'a'));
    log.beginGeneration(2);
    for (const row of rows(3, 'b')) log.copied(row, 2);
    await deliver(writer, log);
    await target.sql.query('DROP TABLE _headrace_new_t');
    log.endGeneration(2);
    await expect(deliver(writer, log)).rejects.toMatchObject({ code: 'DST_STATE_LOST' });
    await expectCopy(target, 'typed', { a: 2 });
    await target.sql.query('CREATE TABLE _headrace_new_t (x int)');
    await expect(target.writer().open(log.target)).rejects.toMatchObject({
      code: 'DST_TABLE_FOREIGN',
    });
  });

  it('names the value that the server refuses, in any part of a batch', async () => {
    await using target = await newTarget(server, { config: { values_that_do_not_fit: 'stop' } });
    const log = new EventLog(target.schemas, overwritten('t'), COLUMNS);
    const writer = target.writer();
    await writer.open(log.target);
    log.generation(1, [...rows(20, 'a'), { id: 20, name: 'a\0b', doc: null }]);
    await expect(deliver(writer, log)).rejects.toMatchObject({
      code: 'DST_VALUE',
      details: { offset: 21, column: 'name' },
    });
  });

  it('never shows a reader fewer rows than the smaller copy', async () => {
    await using target = await newTarget(server);
    const log = new EventLog(target.schemas, overwritten('t'), COLUMNS);
    const writer = target.writer();
    await writer.open(log.target);
    log.generation(1, rows(400, 'a'));
    await deliver(writer, log);
    await target.sql.query('CREATE VIEW v AS SELECT * FROM t');
    const reader = new Client({ ...target.config, user: 'postgres' } as never);
    await reader.connect();
    let done = false;
    const seen = new Set<string>();
    const polling = (async () => {
      while (!done) {
        const { rows: answer } = await reader.query('SELECT name, count(*) AS n FROM v GROUP BY 1');
        seen.add(answer.map((row) => `${row.name} ${row.n}`).join(', '));
      }
    })();
    for (let epoch = 2; epoch < 12; epoch++) {
      log.generation(epoch, rows(epoch % 2 === 0 ? 300 : 400, epoch % 2 === 0 ? 'b' : 'a'));
      await deliver(writer, log, 90);
    }
    done = true;
    await polling;
    await reader.end();
    expect([...seen].filter((text) => !['a 400', 'b 300'].includes(text))).toEqual([]);
    expect(seen.size).toBeGreaterThan(0);
  });
});
