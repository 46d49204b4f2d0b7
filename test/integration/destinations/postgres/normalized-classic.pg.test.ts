import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { postgresContext, type ServerContext } from '../../../support/contexts.ts';
import { ACME, CLASSIC_CDC, CLASSIC_EVENT, columnsOf, CUSTOMERS, PLACE } from './customers.ts';
import { appended, deduped, EventLog, type Columns } from './event-log.ts';
import { newTarget, writeLog } from './target.ts';

let server: ServerContext;
beforeAll(async () => {
  server = await postgresContext();
}, 120_000);
afterAll(() => server[Symbol.asyncDispose]());

const CLASSIC = { config: { normalization: { option: 'classic' } } };
const WITH_SCD = { config: { normalization: { option: 'classic', scd: true } } };

describe("the guide's example by the classic rules", () => {
  it('has the tables and columns of the classic step, in its order', async () => {
    await using target = await newTarget(server, CLASSIC);
    const log = new EventLog(target.schemas, deduped('customers'), CUSTOMERS);
    log.create(ACME);
    await writeLog(target, log);
    expect(await columnsOf(target, 'customers')).toEqual([
      '_airbyte_unique_key text',
      'id bigint',
      'name text',
      'contact jsonb',
      'addresses jsonb',
      ...CLASSIC_CDC,
      ...CLASSIC_EVENT,
      '_airbyte_customers_hashid text',
      ...PLACE,
    ]);
    expect(await columnsOf(target, 'customers_contact')).toEqual([
      '_airbyte_customers_hashid text',
      'email text',
      'phone text',
      ...CLASSIC_EVENT,
      '_airbyte_contact_hashid text',
      '_headrace_position integer',
    ]);
    expect(
      await target.rows(
        `SELECT _airbyte_unique_key AS key, id::int, name, contact, addresses, _airbyte_customers_hashid AS hash
         FROM customers`,
      ),
    ).toEqual([
      {
        ...ACME,
        contact: JSON.parse(ACME.contact) as unknown,
        addresses: JSON.parse(ACME.addresses) as unknown,
        key: 'c4ca4238a0b923820dcc509a6f75849b',
        hash: '2d7a26d7e44d0286f3a63145030f5318',
      },
    ]);
    expect(
      await target.rows(
        `SELECT email, phone, _airbyte_contact_hashid AS hash FROM customers_contact
         JOIN customers USING (_airbyte_customers_hashid)`,
      ),
    ).toEqual([
      {
        email: 'info@acme.com',
        phone: '+1234567890',
        hash: '87a5a05a38a6db7e22acc4922dbe498d',
      },
    ]);
    expect(
      await target.rows(
        `SELECT type, city, _airbyte_addresses_hashid AS hash FROM customers_addresses
         JOIN customers USING (_airbyte_customers_hashid) ORDER BY _headrace_position`,
      ),
    ).toEqual([
      { type: 'billing', city: 'New York', hash: '3356b807595eda810956bbe32ada2bb6' },
      { type: 'shipping', city: 'Boston', hash: '38181631f24cdc8117e3351f2275a793' },
    ]);
    expect(
      await target.rows(
        `SELECT _airbyte_data->>'id' AS id, _airbyte_data->'contact'->>'email' AS email
         FROM _airbyte_raw_customers`,
      ),
    ).toEqual([{ id: '1', email: 'info@acme.com' }]);
  });

  it('has a row per change in append mode, whatever comes twice', async () => {
    await using target = await newTarget(server, WITH_SCD);
    const log = new EventLog(target.schemas, appended('customers'), CUSTOMERS);
    log.create(ACME);
    log.update({ ...ACME, addresses: null });
    log.delete({ id: 1 });
    const writer = target.writer();
    await writer.open(log.target);
    for (let twice = 0; twice < 2; twice++) await writer.write([log.batch()]);
    expect(
      await target.rows(
        `SELECT id::int, jsonb_array_length(addresses) AS n, _ab_cdc_deleted_at IS NULL AS live,
           (SELECT count(*)::int FROM customers_addresses a WHERE a._airbyte_ab_id = c._airbyte_ab_id) AS children
         FROM customers c ORDER BY _ab_cdc_lsn`,
      ),
    ).toEqual([
      { id: 1, n: 2, live: true, children: 2 },
      { id: 1, n: null, live: true, children: 0 },
      { id: 1, n: null, live: false, children: 0 },
    ]);
    expect((await columnsOf(target, 'customers'))[0]).toBe('id bigint');
    expect(await target.rows(`SELECT to_regclass('customers_scd') AS scd`)).toEqual([
      { scd: null },
    ]);
  });
});

describe('classic types', () => {
  it('are those of JSON, a key of decimals exact', async () => {
    await using target = await newTarget(server, {
      config: { ...CLASSIC.config, values_that_do_not_fit: 'stop' },
    });
    const columns: Columns = {
      id: { kind: 'decimal', native: 'numeric(20,0)' },
      small: { kind: 'int16', native: 'smallint' },
      price: { kind: 'decimal', native: 'numeric(10,2)' },
      ratio: { kind: 'float32', native: 'real' },
      flag: { kind: 'boolean', native: 'boolean' },
      day: { kind: 'date', native: 'date' },
      at: { kind: 'timestamptz', native: 'timestamp with time zone' },
      zoned: { kind: 'timetz', native: 'time with time zone' },
      bin: { kind: 'bytes', native: 'bytea' },
      tags: { kind: 'array', native: 'integer[]' },
      uid: { kind: 'uuid', native: 'uuid' },
    };
    const row = {
      id: '12345678901234567890',
      small: 7,
      price: '12.50',
      ratio: Math.fround(0.1),
      flag: true,
      day: 19_000,
      at: '2024-03-31T02:30:00.123456Z',
      zoned: '12:34:56+05:30',
      bin: Buffer.from([0, 255]),
      tags: '{1,NULL,3}',
      uid: '6f0c8a52-0f7f-4c9c-8f0d-6f2f8d3e1a11',
    };
    const log = new EventLog(target.schemas, deduped('zoo'), columns);
    log.create(row);
    log.create({ ...row, id: '12345678901234567891', price: 'NaN' });
    await writeLog(target, log);
    expect((await columnsOf(target, 'zoo')).slice(1, 12)).toEqual([
      'id numeric',
      'small bigint',
      'price double precision',
      'ratio double precision',
      'flag boolean',
      'day date',
      'at timestamptz',
      'zoned time with time zone',
      'bin bytea',
      'tags jsonb',
      'uid text',
    ]);
    expect(
      await target.rows(
        `SELECT id, small, price, ratio, flag, day::text, at::text, zoned::text, bin, tags, uid
         FROM zoo ORDER BY id LIMIT 1`,
      ),
    ).toEqual([
      {
        ...row,
        small: '7',
        price: 12.5,
        ratio: 0.1,
        day: '2022-01-08',
        at: expect.stringMatching(/^2024-03-31 \d\d:30:00.123456/) as unknown,
        tags: [1, null, 3],
      },
    ]);
    log.update({ id: row.id, small: 8 }, { unchanged: ['tags', 'bin', 'price', 'uid'] });
    await writeLog(target, log, 2);
    expect(
      await target.rows(`SELECT small, price, bin, tags, uid FROM zoo ORDER BY id LIMIT 1`),
    ).toEqual([{ small: '8', price: 12.5, bin: row.bin, tags: [1, null, 3], uid: row.uid }]);
    log.create({ ...row, id: '3', price: '1e400' });
    await expect(writeLog(target, log, 3)).rejects.toMatchObject({
      code: 'DST_VALUE',
      details: { offset: 3 },
    });
  });

  it('widen when the source changes them', async () => {
    await using target = await newTarget(server, CLASSIC);
    const log = new EventLog(target.schemas, deduped('t'), {
      id: { kind: 'int32' },
      n: { kind: 'int32' },
      m: { kind: 'date' },
    });
    log.create({ id: 1, n: 5, m: 0 });
    await writeLog(target, log);
    log.evolve({ id: { kind: 'int64' }, n: { kind: 'decimal' }, m: { kind: 'string' } });
    log.create({ id: 2n, n: '1.5', m: 'x' });
    await writeLog(target, log, 1);
    expect(await target.rows('SELECT id::int, n, m FROM t ORDER BY id')).toEqual([
      { id: 1, n: 5, m: '1970-01-01' },
      { id: 2, n: 1.5, m: 'x' },
    ]);
  });
});

describe('classic child tables', () => {
  it('follow their parents: updated, shrunk, removed, with what an update did not send', async () => {
    await using target = await newTarget(server, CLASSIC);
    const log = new EventLog(target.schemas, deduped('customers'), CUSTOMERS);
    log.create({ ...ACME, addresses: '[{"city": "Oslo", "geo": {"x": 1.50, "tags": ["a"]}}]' });
    await writeLog(target, log);
    const geo = 'SELECT x, tags FROM customers_addresses_geo';
    expect(await target.rows(geo)).toEqual([{ x: 1.5, tags: ['a'] }]);
    log.update({ id: 1, name: 'Acme Inc' }, { unchanged: ['contact', 'addresses'] });
    await writeLog(target, log, 1);
    expect(
      await target.rows(
        `SELECT name, email, city, x FROM customers c
         JOIN customers_contact USING (_airbyte_customers_hashid, _airbyte_ab_id)
         JOIN customers_addresses USING (_airbyte_customers_hashid, _airbyte_ab_id)
         JOIN customers_addresses_geo USING (_airbyte_addresses_hashid, _airbyte_ab_id)`,
      ),
    ).toEqual([{ name: 'Acme Inc', email: 'info@acme.com', city: 'Oslo', x: 1.5 }]);
    log.update({ ...ACME, contact: '{}', addresses: '[{"city": "Rome"}, {"city": 7}]' });
    await writeLog(target, log, 2);
    expect(await target.rows('SELECT city FROM customers_addresses ORDER BY 1')).toEqual([
      { city: '7' },
      { city: 'Rome' },
    ]);
    expect(await target.rows(geo)).toEqual([]);
    expect(await target.rows('SELECT * FROM customers_contact')).toEqual([]);
    expect(await target.rows('SELECT contact FROM customers')).toEqual([{ contact: {} }]);
    log.delete({ id: 1 });
    await writeLog(target, log, 3);
    expect(await target.rows('SELECT * FROM customers_addresses')).toEqual([]);
    expect(await target.rows('SELECT * FROM customers')).toEqual([]);
  });
});

describe('classic names and values', () => {
  it('of any kind find their place, and a value without one is named', async () => {
    await using target = await newTarget(server, {
      config: { ...CLASSIC.config, cdc_deletion_mode: 'soft', values_that_do_not_fit: 'stop' },
    });
    const columns: Columns = {
      id: { kind: 'int32' },
      doc: { kind: 'json' },
      list: { kind: 'array', native: 'jsonb[]' },
    };
    const log = new EventLog(target.schemas, deduped('Größe 1'), columns);
    const names = [
      '',
      'a"b',
      "c'd",
      'select',
      'x'.repeat(200),
      'ключ'.repeat(20),
      'ID',
      'id',
      'xmin',
    ];
    const doc = Object.fromEntries(names.map((name, i) => [name, { [name]: i }]));
    const { id } = { id: 1 };
    log.create({
      id,
      doc: JSON.stringify({ ...doc, _airbyte_x: 1 }),
      list: '{"{\\"k\\": 1}","{\\"k\\": 2}"}',
    });
    await writeLog(target, log);
    const [shapes] = await target.rows(
      'SELECT jsonb_array_length(shape) AS n FROM _headrace_shapes',
    );
    // The stream's own table, the document's, one per member and one per array.
    expect(shapes).toEqual({ n: 3 + names.length });
    expect(await target.rows('SELECT k FROM gro_e_1_list ORDER BY k')).toEqual([
      { k: '1' },
      { k: '2' },
    ]);
    log.delete({ id });
    await writeLog(target, log, 1);
    expect(
      await target.rows(
        `SELECT _ab_cdc_deleted_at IS NOT NULL AS gone, _airbyte_unique_key AS key, jsonb_array_length(list) AS n
         FROM gro_e_1`,
      ),
    ).toEqual([{ gone: true, key: 'c4ca4238a0b923820dcc509a6f75849b', n: 2 }]);
    log.create({ id: 2, doc: '{"v": "a\\u0000b"}' });
    await expect(writeLog(target, log, 3)).rejects.toMatchObject({
      code: 'DST_VALUE',
      details: { offset: 3, column: 'doc' },
    });
  });
});
