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
  price: { kind: 'decimal', native: 'numeric' },
  ratio: { kind: 'float32', native: 'real' },
  day: { kind: 'date', native: 'date' },
  at: { kind: 'timestamp', native: 'timestamp without time zone' },
  bin: { kind: 'bytes', native: 'bytea' },
  tags: { kind: 'array', native: 'integer[]' },
  contact: { kind: 'json', native: 'jsonb' },
};

const ROW = {
  id: 9007199254740993n,
  name: 'Acme "Corp"\n',
  price: '12345678901234567890.100',
  ratio: 1.1,
  day: 19_813,
  at: -62_167_219_200_000_001n,
  bin: Buffer.from([0, 255]),
  tags: '{1,NULL,3}',
  contact: '{"email": "info@acme.com", "n": 1.50}',
};

describe('a raw table', () => {
  it('holds every change as one document, numbers exact', async () => {
    await using target = await newTarget(server, { config: { disable_type_dedupe: true } });
    const log = new EventLog(target.schemas, deduped('My Stream'), COLUMNS);
    log.create(ROW, { lsn: 101n, tsUs: 1_700_000_000_123_456n });
    log.update({ ...ROW, name: 'b', price: 'NaN' }, { unchanged: ['contact'] });
    log.delete({ id: ROW.id });
    log.truncate();
    const writer = target.writer();
    await writer.open(log.target);
    await writer.write([log.batch()]);
    expect(
      await target.rows(
        `SELECT column_name, data_type FROM information_schema.columns
         WHERE table_name='_airbyte_raw_my_stream' ORDER BY ordinal_position`,
      ),
    ).toEqual([
      { column_name: '_airbyte_ab_id', data_type: 'uuid' },
      { column_name: '_airbyte_emitted_at', data_type: 'timestamp with time zone' },
      { column_name: '_airbyte_data', data_type: 'jsonb' },
    ]);
    const rows = await target.rows(
      'SELECT _airbyte_data::text AS data FROM _airbyte_raw_my_stream ORDER BY _airbyte_ab_id',
    );
    const [first, second, third] = rows.map(({ data }) => data as string);
    for (const part of [
      '"id": 9007199254740993,',
      '"price": 12345678901234567890.100,',
      '"ratio": 1.1,',
      '"day": "2024-03-31"',
      '"at": "0002-12-31T23:59:59.999999 BC"',
      '"bin": "AP8="',
      '"tags": [1, null, 3]',
      '"contact": {"n": 1.50, "email": "info@acme.com"}',
      '"_ab_cdc_lsn": 101,',
      '"_ab_cdc_updated_at": "2023-11-14T22:13:20.123456Z"',
      '"_ab_cdc_deleted_at": null',
    ]) {
      expect(first).toContain(part);
    }
    expect(JSON.parse(second as string)).toMatchObject({
      name: 'b',
      price: 'NaN',
      _headrace_unchanged: ['contact'],
    });
    expect(second).not.toContain('"contact":');
    expect(JSON.parse(third as string)).toMatchObject({
      name: null,
      _ab_cdc_deleted_at: expect.stringMatching(/Z$/) as unknown,
    });
    expect(rows).toHaveLength(3);
  });

  it('takes a batch once, by rows and by COPY, and goes on after a restart', async () => {
    await using target = await newTarget(server, { config: { normalization: 'none' } });
    const log = new EventLog(target.schemas, appended('t'), COLUMNS);
    for (let i = 0; i < 200; i++) log.create({ ...ROW, id: BigInt(i) });
    const first = target.writer();
    await first.open(log.target);
    await first.write([log.batch(0, 10)]);
    await first.write([log.batch(0, 100)]);
    const second = target.writer();
    expect(await second.open(log.target)).toBe(100);
    await second.write([log.batch(50, 200)]);
    await expect(first.write([log.batch(100, 150)])).rejects.toMatchObject({ code: 'SNK_FENCED' });
    expect(
      await target.rows(
        `SELECT count(*)::int AS n, count(DISTINCT _airbyte_data->'id')::int AS ids FROM _airbyte_raw_t`,
      ),
    ).toEqual([{ n: 200, ids: 200 }]);
    const names = await target.rows(
      `SELECT relname FROM pg_class WHERE relname IN ('t', '_airbyte_raw_t')`,
    );
    expect(names).toEqual([{ relname: '_airbyte_raw_t' }]);
  });

  it('names the record whose text jsonb cannot hold, where that stops the stream', async () => {
    await using target = await newTarget(server, {
      config: { disable_type_dedupe: true, values_that_do_not_fit: 'stop' },
    });
    const log = new EventLog(target.schemas, appended('t'), COLUMNS);
    log.create(ROW);
    log.create({ ...ROW, name: 'a\0b' });
    const writer = target.writer();
    await writer.open(log.target);
    await expect(writer.write([log.batch()])).rejects.toMatchObject({
      code: 'DST_VALUE',
      details: { offset: 1 },
    });
  });
});
