import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { armFailpoints } from '../../../../core/run/failpoints.ts';
import { postgresContext, type ServerContext } from '../../../support/contexts.ts';
import { columnsOf } from './customers.ts';
import { appended, deduped, EventLog, type Columns } from './event-log.ts';
import { destination, newTarget, writeLog } from './target.ts';

let server: ServerContext;
beforeAll(async () => {
  server = await postgresContext();
}, 120_000);
afterAll(() => server[Symbol.asyncDispose]());

const V2 = { config: { normalization: { option: 'v2' } } };
const RAW = 'airbyte_internal.public_raw__stream_customers';

const CUSTOMERS: Columns = {
  id: { kind: 'int32', native: 'integer' },
  Name: { kind: 'string', native: 'character varying(40)' },
  contact: { kind: 'json', native: 'json' },
  tags: { kind: 'array', native: 'text[]' },
};

const ACME = { id: 1, Name: 'Acme', contact: '{"email": "a@b.c"}', tags: '{x,"y z",NULL}' };
const FOUND = { id: 1, Name: 'Acme', contact: { email: 'a@b.c' }, tags: ['x', 'y z', null] };
const ROW = 'id::int, "Name", contact, tags';

describe('the tables of v2', () => {
  it('are a raw one in its own schema and a final one, columns in their order', async () => {
    await using target = await newTarget(server, V2);
    const log = new EventLog(target.schemas, deduped('customers'), CUSTOMERS);
    log.create(ACME);
    await writeLog(target, log);
    expect(await columnsOf(target, RAW)).toEqual([
      '_airbyte_raw_id character varying',
      '_airbyte_extracted_at timestamptz',
      '_airbyte_loaded_at timestamptz',
      '_airbyte_data jsonb',
      '_airbyte_meta jsonb',
      '_airbyte_generation_id bigint',
    ]);
    expect(await columnsOf(target, 'customers')).toEqual([
      '_airbyte_raw_id character varying',
      '_airbyte_extracted_at timestamptz',
      '_airbyte_meta jsonb',
      '_airbyte_generation_id bigint',
      'id bigint',
      'Name character varying',
      'contact jsonb',
      'tags jsonb',
      '_ab_cdc_lsn bigint',
      '_ab_cdc_updated_at timestamptz',
      '_ab_cdc_deleted_at timestamptz',
      '_headrace_epoch integer',
      '_headrace_seq integer',
    ]);
    expect(
      await target.rows(
        `SELECT ${ROW}, c._airbyte_meta AS meta, r._airbyte_meta AS raw_meta,
           r._airbyte_loaded_at IS NOT NULL AS loaded, r._airbyte_data->'contact'->>'email' AS email,
           c._airbyte_raw_id ~ '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$' AS uuid
         FROM customers c JOIN ${RAW} r USING (_airbyte_raw_id)`,
      ),
    ).toEqual([
      {
        ...FOUND,
        meta: { changes: [] },
        raw_meta: { changes: [] },
        loaded: true,
        email: 'a@b.c',
        uuid: true,
      },
    ]);
  });

  it('hold the values of every type', async () => {
    await using target = await newTarget(server, V2);
    const columns: Columns = {
      id: { kind: 'int64', native: 'bigint' },
      price: { kind: 'decimal', native: 'numeric(30,12)' },
      single: { kind: 'float32', native: 'real' },
      double: { kind: 'float64', native: 'double precision' },
      flag: { kind: 'boolean', native: 'boolean' },
      time: { kind: 'time', native: 'time without time zone' },
      at: { kind: 'timestamp', native: 'timestamp without time zone' },
      bin: { kind: 'bytes', native: 'bytea' },
      grid: { kind: 'array', native: 'integer[]' },
      span: { kind: 'interval', native: 'interval' },
    };
    const log = new EventLog(target.schemas, deduped('zoo'), columns);
    const row = {
      price: '123456789012345678.123456789012',
      flag: true,
      time: 3_600_000_000n,
      at: 1_500_000n,
      bin: Buffer.from([0, 255]),
      grid: '{{1,2},{3,4}}',
      span: 'P1DT2H',
    };
    log.create({ ...row, id: 1n, single: Math.fround(0.1), double: 1e21 });
    log.create({ ...row, id: 2n, single: NaN, double: -1.5e-7 });
    await writeLog(target, log);
    const found = {
      price: row.price,
      flag: true,
      time: '01:00:00',
      at: '1970-01-01 00:00:01.5',
      bin: 'AP8=',
      grid: [
        [1, 2],
        [3, 4],
      ],
      span: 'P1DT2H',
    };
    const text = `SELECT price, single::text, double::text, flag, time, at::text, bin, grid, span
      FROM zoo ORDER BY id`;
    const expected = [
      { ...found, single: '0.1', double: '1000000000000000000000' },
      { ...found, single: 'NaN', double: '-0.00000015' },
    ];
    expect(await target.rows(text)).toEqual(expected);
    log.update(
      { ...row, id: 1n, single: Math.fround(0.1), double: 1e21, price: null },
      { unchanged: ['price', 'bin', 'grid', 'span'] },
    );
    await writeLog(target, log, 2);
    expect(await target.rows(text)).toEqual(expected);
  });

  it('are named by runs of underscores, in the schema that is set', async () => {
    const config = { ...V2.config, raw_data_schema: 'landing' };
    await using target = await newTarget(server, { config });
    for (const [name, raw] of [
      ['a__b', 'public_raw___stream_a__b'],
      ['Order Items', 'public_raw__stream_Order Items'],
    ] as const) {
      const log = new EventLog(target.schemas, deduped(name), CUSTOMERS, { topic: `t.${raw}` });
      log.create(ACME);
      await writeLog(target, log);
      expect(await target.rows(`SELECT count(*)::int AS n FROM landing."${raw}"`)).toEqual([
        { n: 1 },
      ]);
      expect(await target.rows(`SELECT ${ROW} FROM "${name}"`)).toEqual([FOUND]);
      expect(destination.places?.(target.config, deduped(name))).toEqual([
        `"public"."${name}"`,
        `"landing"."${raw}"`,
      ]);
    }
  });
});

describe('rows of v2', () => {
  it('are the newest of each key, what an update did not send kept', async () => {
    await using target = await newTarget(server, V2);
    const log = new EventLog(target.schemas, deduped('customers'), CUSTOMERS);
    log.create(ACME);
    log.create({ ...ACME, id: 2 });
    await writeLog(target, log);
    log.update({ id: 1, Name: 'Acme Inc' }, { unchanged: ['contact', 'tags'] });
    log.delete({ id: 2 });
    await writeLog(target, log, 2);
    const rows = `SELECT ${ROW} FROM customers ORDER BY id`;
    expect(await target.rows(rows)).toEqual([{ ...FOUND, Name: 'Acme Inc' }]);
    const again = log.count;
    log.repeat(0, 2);
    await writeLog(target, log, again);
    expect(await target.rows(`SELECT ${ROW} FROM customers WHERE id = 1`)).toEqual([
      { ...FOUND, Name: 'Acme Inc' },
    ]);
    log.tombstone({ id: 1 });
    log.tombstone({ id: 2 });
    await writeLog(target, log, again + 2);
    expect(await target.rows(rows)).toEqual([]);
    expect(
      await target.rows(
        `SELECT count(*)::int AS n, count(_airbyte_data->>'_ab_cdc_deleted_at')::int AS deleted FROM ${RAW}`,
      ),
    ).toEqual([{ n: 6, deleted: 1 }]);
  });

  it('are one per change in append mode, the same after a crash and a batch that comes twice', async () => {
    await using target = await newTarget(server, V2);
    const log = new EventLog(target.schemas, appended('customers'), CUSTOMERS);
    for (let id = 0; id < 60; id++) log.create({ ...ACME, id });
    log.update({ id: 1, Name: 'x' }, { unchanged: ['contact'] });
    for (const point of ['rows_applied', 'after_commit']) {
      const writer = target.writer({ limits: { retryForMs: 0 } });
      await writer.open(log.target);
      const failpoints = `destination.postgres.${point}=error`;
      armFailpoints({ failpoints, failpointsAllowed: true });
      await expect(writer.write([log.batch()])).rejects.toThrow();
      armFailpoints({ failpoints: null, failpointsAllowed: false });
    }
    await writeLog(target, log);
    expect(
      await target.rows(
        `SELECT count(*)::int AS n, count(DISTINCT _airbyte_raw_id)::int AS ids,
           (SELECT count(*)::int FROM ${RAW} JOIN customers USING (_airbyte_raw_id)) AS joined,
           max(_headrace_unchanged::text) AS unchanged FROM customers`,
      ),
    ).toEqual([{ n: 61, ids: 61, joined: 61, unchanged: '["contact"]' }]);
  });

  it('get new columns, and wider ones, with the value that older rows have', async () => {
    await using target = await newTarget(server, V2);
    const log = new EventLog(target.schemas, deduped('t'), {
      id: { kind: 'int32' },
      n: { kind: 'int32' },
    });
    log.create({ id: 1, n: 5 });
    await writeLog(target, log);
    const list = { text: '{a,b}', avro: Buffer.from('\u000a{a,b}').toString('base64') };
    log.evolve(
      {
        id: { kind: 'int32' },
        n: { kind: 'string' },
        tags: { kind: 'array', native: 'text[]' },
      },
      { tags: list },
    );
    log.create({ id: 2, n: 'x', tags: '{}' });
    await writeLog(target, log, 1);
    expect(await target.rows('SELECT id::int, n, tags FROM t ORDER BY id')).toEqual([
      { id: 1, n: '5', tags: ['a', 'b'] },
      { id: 2, n: 'x', tags: [] },
    ]);
  });

  it('keep hostile names, and name a value that has no room', async () => {
    await using target = await newTarget(server, {
      config: { ...V2.config, cdc_deletion_mode: 'soft', values_that_do_not_fit: 'stop' },
    });
    const hostile = [
      'select',
      'a"b',
      'ID',
      'x'.repeat(200),
      '_airbyte_meta',
      '_airbyte_raw_id',
      '',
    ];
    const columns = Object.fromEntries(hostile.map((name) => [name, { kind: 'string' }] as const));
    const log = new EventLog(target.schemas, deduped('a"b'), { id: { kind: 'int32' }, ...columns });
    const row = Object.fromEntries(hostile.map((name, i) => [name, `v${i}`]));
    log.create({ id: 1, ...row });
    await writeLog(target, log);
    log.delete({ id: 1 });
    await writeLog(target, log, 1);
    const [found] = await target.rows(
      `SELECT to_jsonb(t) AS row, _ab_cdc_deleted_at IS NOT NULL AS gone FROM "a""b" t`,
    );
    const values = Object.entries(found?.['row'] as object).filter(([, v]) =>
      /^v\d$/.test(String(v)),
    );
    expect(values.map(([, value]) => String(value)).toSorted()).toEqual(Object.values(row));
    expect(values.map(([name]) => name)).toEqual(
      expect.arrayContaining(['select', 'a"b', 'ID_1', '_airbyte_meta_1', '_airbyte_raw_id_1']),
    );
    expect(found?.['gone']).toBe(true);
    log.create({ id: 2, ...row, select: 'a\0b' });
    await expect(writeLog(target, log, 3)).rejects.toMatchObject({
      code: 'DST_VALUE',
      details: { offset: 3, column: 'select' },
    });
  });
});
