import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { postgresContext, type ServerContext } from '../../../support/contexts.ts';
import { ACME, columnsOf, CUSTOMERS } from './customers.ts';
import { appended, deduped, EventLog } from './event-log.ts';
import { newTarget, writeLog } from './target.ts';

let server: ServerContext;
beforeAll(async () => {
  server = await postgresContext();
}, 120_000);
afterAll(() => server[Symbol.asyncDispose]());

const BASIC = { config: { Normalization: 'Basic' } };

describe("the guide's example", () => {
  it.each([
    ['append_dedup', deduped('customers')],
    ['append', appended('customers')],
  ])('becomes its tables, %s', async (mode, stream) => {
    await using target = await newTarget(server, BASIC);
    const log = new EventLog(target.schemas, stream, CUSTOMERS);
    log.create(ACME);
    await writeLog(target, log);
    expect(
      await target.rows(
        `SELECT id, name, contact_email, contact_phone, _airbyte_customers_hashid,
           _airbyte_normalized_at IS NOT NULL AS normalized, _airbyte_emitted_at IS NOT NULL AS emitted
         FROM customers`,
      ),
    ).toEqual([
      {
        id: 1,
        name: 'Acme Corp',
        contact_email: 'info@acme.com',
        contact_phone: '+1234567890',
        _airbyte_customers_hashid: '2d7a26d7e44d0286f3a63145030f5318',
        normalized: true,
        emitted: true,
      },
    ]);
    expect(
      await target.rows(
        `SELECT a._airbyte_customers_hashid AS parent, type, city, _airbyte_addresses_hashid AS own
         FROM customers_addresses a JOIN customers USING (_airbyte_customers_hashid) ORDER BY type`,
      ),
    ).toEqual([
      {
        parent: '2d7a26d7e44d0286f3a63145030f5318',
        type: 'billing',
        city: 'New York',
        own: '3356b807595eda810956bbe32ada2bb6',
      },
      {
        parent: '2d7a26d7e44d0286f3a63145030f5318',
        type: 'shipping',
        city: 'Boston',
        own: '38181631f24cdc8117e3351f2275a793',
      },
    ]);
    expect(
      await target.rows(
        `SELECT _airbyte_data->>'id' AS id, _airbyte_data->'contact'->>'email' AS email
         FROM _airbyte_raw_customers JOIN customers USING (_airbyte_ab_id)`,
      ),
    ).toEqual([{ id: '1', email: 'info@acme.com' }]);
    expect((await columnsOf(target, 'customers')).slice(0, 6)).toEqual([
      'id integer',
      'name text',
      'contact_email text',
      'contact_phone text',
      '_airbyte_ab_id uuid',
      '_airbyte_emitted_at timestamptz',
    ]);
    expect(mode).toBe(stream.mode);
  });
});

describe('children of deduped rows', () => {
  it('are replaced, shrunk and removed with their parents, across batches and restarts', async () => {
    await using target = await newTarget(server, BASIC);
    const log = new EventLog(target.schemas, deduped('customers'), CUSTOMERS);
    log.create(ACME);
    log.create({
      ...ACME,
      id: 2,
      addresses: '[{"type": "home", "city": "Oslo", "geo": [{"x": 1.50}]}]',
    });
    await writeLog(target, log);
    log.update({ ...ACME, addresses: '[{"type": "billing", "city": "Rome"}]' });
    log.delete({ id: 2 });
    log.create({ ...ACME, id: 3 });
    log.update({ ...ACME, id: 3, addresses: null });
    await writeLog(target, log, 2);
    const cities = 'SELECT city FROM customers_addresses';
    expect(await target.rows(cities)).toEqual([{ city: 'Rome' }]);
    expect(await target.rows('SELECT count(*)::int AS n FROM customers_addresses_geo')).toEqual([
      { n: 0 },
    ]);
    expect(await target.rows('SELECT count(*)::int AS n FROM _airbyte_raw_customers')).toEqual([
      { n: 6 },
    ]);
    // An older event that comes again changes nothing but the documents.
    const at = log.count;
    log.repeat(0, 1);
    log.truncate({ lsn: 50n });
    await writeLog(target, log, at);
    expect(await target.rows(cities)).toEqual([{ city: 'Rome' }]);
    log.truncate();
    await writeLog(target, log, at + 2);
    expect(await target.rows(cities)).toEqual([]);
    expect(await target.rows('SELECT id FROM customers')).toEqual([]);
  });

  it('survive an update that does not send them, and a soft delete', async () => {
    await using target = await newTarget(server, {
      config: { normalization: { option: 'basic' }, cdc_deletion_mode: 'soft' },
    });
    const columns = { ...CUSTOMERS, tags: { kind: 'array', native: 'text[]' } } as const;
    const log = new EventLog(target.schemas, deduped('customers'), columns);
    log.create({ ...ACME, tags: '{a,"b c",NULL}' });
    await writeLog(target, log);
    log.update({ id: 1, name: 'Acme Inc' }, { unchanged: ['contact', 'addresses', 'tags'] });
    log.update({ id: 1, name: 'Acme Ltd' }, { unchanged: ['addresses', 'tags'] });
    await writeLog(target, log, 1);
    const joined = `SELECT name, tags::text, contact_email, city, c._ab_cdc_deleted_at IS NULL AS live
      FROM customers c JOIN customers_addresses a USING (_airbyte_customers_hashid, _airbyte_ab_id) ORDER BY city`;
    const row = { name: 'Acme Ltd', tags: '{a,"b c",NULL}', contact_email: null, live: true };
    expect(await target.rows(joined)).toEqual([
      { ...row, city: 'Boston' },
      { ...row, city: 'New York' },
    ]);
    log.delete({ id: 1 });
    await writeLog(target, log, 3);
    expect(await target.rows(joined)).toEqual([
      { ...row, city: 'Boston', live: false },
      { ...row, city: 'New York', live: false },
    ]);
    log.update({ id: 9, name: 'nobody' }, { unchanged: ['addresses'] });
    await expect(writeLog(target, log, 5)).rejects.toMatchObject({ code: 'DST_ROW_INCOMPLETE' });
  });
});

describe('tables of normalized streams', () => {
  it('take fields of any name and several types, and values none has room for are named', async () => {
    await using target = await newTarget(server, {
      config: { ...BASIC.config, values_that_do_not_fit: 'stop' },
    });
    const log = new EventLog(target.schemas, deduped('Größe 1'), {
      id: { kind: 'int32', native: 'integer' },
      doc: { kind: 'json', native: 'jsonb' },
    });
    const hostile = [
      '',
      'a"b',
      "c'd",
      'select',
      'x'.repeat(200),
      'ключ'.repeat(20),
      'ID',
      '$1',
      'xmin',
    ];
    const fields = Object.fromEntries(hostile.map((name) => [name, { [name]: 1 }]));
    log.create({ id: 1, doc: JSON.stringify({ ...fields, v: 1, w: [{ 'a"b': [{ '': 1 }] }] }) });
    log.create({ id: 2, doc: '{"v": 1.50}' });
    await writeLog(target, log);
    log.create({ id: 3, doc: '{"v": "text"}' });
    log.create({ id: 4, doc: '{"v": {"v": true}}' });
    await writeLog(target, log, 2);
    expect(await target.rows('SELECT id, doc_v, doc_v_v FROM gro_e_1 ORDER BY id')).toEqual([
      { id: 1, doc_v: '1', doc_v_v: null },
      { id: 2, doc_v: '1.50', doc_v_v: null },
      { id: 3, doc_v: 'text', doc_v_v: null },
      { id: 4, doc_v: null, doc_v_v: true },
    ]);
    log.create({ id: 5, doc: '{"v": "a\\u0000b"}' });
    await expect(writeLog(target, log, 4)).rejects.toMatchObject({
      code: 'DST_VALUE',
      details: { offset: 4 },
    });
  });

  it('are refused when somebody else has one of them, or their bookkeeping is gone', async () => {
    await using target = await newTarget(server, BASIC);
    await target.sql.query(
      'CREATE TABLE _airbyte_raw_customers (x int); CREATE TABLE other_addresses (x int)',
    );
    const log = new EventLog(target.schemas, deduped('customers'), CUSTOMERS);
    await expect(target.writer().open(log.target)).rejects.toMatchObject({
      code: 'DST_TABLE_FOREIGN',
    });
    const other = new EventLog(target.schemas, deduped('other'), CUSTOMERS);
    other.create(ACME);
    await writeLog(target, other);
    const names = await target.rows(
      `SELECT relname FROM pg_class WHERE relname LIKE 'other\\_%\\_addresses'`,
    );
    expect(names).toEqual([
      { relname: expect.stringMatching(/^other_[0-9a-f]{3}_addresses$/) as unknown },
    ]);
    await target.sql.query('DELETE FROM _headrace_shapes');
    await expect(target.writer().open(other.target)).rejects.toMatchObject({
      code: 'DST_STATE_LOST',
    });
  });

  it.each(['basic', 'classic', 'v2'])('keep their key, %s', async (normalization) => {
    await using target = await newTarget(server, { config: { normalization } });
    const topic = 'headrace.test.public.customers';
    const log = new EventLog(target.schemas, deduped('customers'), CUSTOMERS);
    log.create(ACME);
    await writeLog(target, log);
    for (const stream of [appended('customers'), deduped('customers', ['id', 'name'])]) {
      await expect(target.writer().open({ stream, topic, partition: 0 })).rejects.toMatchObject({
        code: 'DST_KEY_MISMATCH',
      });
    }
  });

  it('are not filled by other rules than they were made by', async () => {
    await using target = await newTarget(server, { config: { normalization: 'basic' } });
    const log = new EventLog(target.schemas, deduped('customers'), CUSTOMERS);
    log.create(ACME);
    await writeLog(target, log);
    target.config['normalization'] = 'classic';
    await expect(target.writer().open(log.target)).rejects.toMatchObject({
      code: 'DST_TABLE_CHANGED',
      message: expect.stringContaining('normalization "basic", not "classic"') as unknown,
    });
  });
});

describe('a stream of several partitions', () => {
  it('knows its table in each, whatever comes first', async () => {
    await using target = await newTarget(server, BASIC);
    const logs = [0, 1].map(
      (partition) => new EventLog(target.schemas, deduped('customers'), CUSTOMERS, { partition }),
    );
    const writer = target.writer();
    for (const log of logs) await writer.open(log.target);
    for (const log of logs) {
      log.delete({ id: 1 });
      await writer.write([log.batch()]);
    }
    const second = target.writer();
    for (const log of logs) expect(await second.open(log.target)).toBe(log.end);
  });
});
