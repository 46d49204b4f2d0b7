import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  isObject,
  JsonNumber,
  jsonbText,
  parseJson,
  type JsonObject,
  type JsonValue,
} from '../../../../schemas/normalize/json-value.ts';
import type { Shape } from '../../../../schemas/normalize/shape.ts';
import { postgresContext, type ServerContext } from '../../../support/contexts.ts';
import { appended, deduped, EventLog, type Columns } from './event-log.ts';
import { newTarget, type TestTarget } from './target.ts';

let server: ServerContext;
beforeAll(async () => {
  server = await postgresContext();
}, 120_000);
afterAll(() => server[Symbol.asyncDispose]());

const BASIC = { config: { Normalization: 'Basic' } };

const CUSTOMERS: Columns = {
  id: { kind: 'int32', native: 'integer' },
  name: { kind: 'string', native: 'text' },
  contact: { kind: 'json', native: 'json' },
  addresses: { kind: 'json', native: 'json' },
};

const ACME = {
  id: 1,
  name: 'Acme Corp',
  contact: '{"email": "info@acme.com", "phone": "+1234567890"}',
  addresses: '[{"type": "billing", "city": "New York"}, {"type": "shipping", "city": "Boston"}]',
};

async function write(target: TestTarget, log: EventLog, from = 0): Promise<void> {
  const writer = target.writer();
  await writer.open(log.target);
  await writer.write([log.batch(from)]);
  await writer.close();
}

async function columnsOf(target: TestTarget, table: string): Promise<string[]> {
  const rows = await target.rows(
    `SELECT column_name || ' ' || data_type AS c FROM information_schema.columns
     WHERE table_schema='public' AND table_name='${table}' ORDER BY ordinal_position`,
  );
  return rows.map(({ c }) => c as string);
}

describe("the guide's example", () => {
  it.each([
    ['append_dedup', deduped('customers')],
    ['append', appended('customers')],
  ])('becomes its tables, %s', async (mode, stream) => {
    await using target = await newTarget(server, BASIC);
    const log = new EventLog(target.schemas, stream, CUSTOMERS);
    log.create(ACME);
    await write(target, log);
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
      '_airbyte_emitted_at timestamp with time zone',
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
    await write(target, log);
    log.update({ ...ACME, addresses: '[{"type": "billing", "city": "Rome"}]' });
    log.delete({ id: 2 });
    log.create({ ...ACME, id: 3 });
    log.update({ ...ACME, id: 3, addresses: null });
    await write(target, log, 2);
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
    await write(target, log, at);
    expect(await target.rows(cities)).toEqual([{ city: 'Rome' }]);
    log.truncate();
    await write(target, log, at + 2);
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
    await write(target, log);
    log.update({ id: 1, name: 'Acme Inc' }, { unchanged: ['contact', 'addresses', 'tags'] });
    log.update({ id: 1, name: 'Acme Ltd' }, { unchanged: ['addresses', 'tags'] });
    await write(target, log, 1);
    const joined = `SELECT name, tags::text, contact_email, city, c._ab_cdc_deleted_at IS NULL AS live
      FROM customers c JOIN customers_addresses a USING (_airbyte_customers_hashid, _airbyte_ab_id) ORDER BY city`;
    const row = { name: 'Acme Ltd', tags: '{a,"b c",NULL}', contact_email: null, live: true };
    expect(await target.rows(joined)).toEqual([
      { ...row, city: 'Boston' },
      { ...row, city: 'New York' },
    ]);
    log.delete({ id: 1 });
    await write(target, log, 3);
    expect(await target.rows(joined)).toEqual([
      { ...row, city: 'Boston', live: false },
      { ...row, city: 'New York', live: false },
    ]);
    log.update({ id: 9, name: 'nobody' }, { unchanged: ['addresses'] });
    await expect(write(target, log, 5)).rejects.toMatchObject({ code: 'DST_ROW_INCOMPLETE' });
  });
});

describe('tables of normalized streams', () => {
  it('take fields of any name and several types, and values none has room for are named', async () => {
    await using target = await newTarget(server, BASIC);
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
    await write(target, log);
    log.create({ id: 3, doc: '{"v": "text"}' });
    log.create({ id: 4, doc: '{"v": {"v": true}}' });
    await write(target, log, 2);
    expect(await target.rows('SELECT id, doc_v, doc_v_v FROM gro_e_1 ORDER BY id')).toEqual([
      { id: 1, doc_v: '1', doc_v_v: null },
      { id: 2, doc_v: '1.50', doc_v_v: null },
      { id: 3, doc_v: 'text', doc_v_v: null },
      { id: 4, doc_v: null, doc_v_v: true },
    ]);
    log.create({ id: 5, doc: '{"v": "a\\u0000b"}' });
    await expect(write(target, log, 4)).rejects.toMatchObject({
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
    await write(target, other);
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
});

const names = fc.constantFrom('a', 'b', 'a_b', 'A', 'x-y', 'id');
const scalars = fc.oneof(
  fc.constantFrom('', 'x', '-', 'x-y', 'ß"\\'),
  fc.integer({ min: -3, max: 3 }).map((n) => new JsonNumber(String(n))),
  fc.constant(null),
);
const { document } = fc.letrec<{ value: JsonValue; document: JsonObject }>((tie) => ({
  value: fc.oneof(
    { depthSize: 'small' },
    scalars,
    fc.array(scalars, { maxLength: 2 }),
    fc.array(tie('document'), { maxLength: 3 }),
    tie('document'),
  ),
  document: fc
    .array(fc.tuple(names, tie('value')), { maxLength: 3 })
    .map((members) => new Map(members) as JsonObject),
}));
const step = fc.tuple(fc.integer({ min: 1, max: 4 }), fc.option(document, { freq: 3 }));

/** What tables can tell of a document: without null, empty objects and arrays, scalars as text. */
function normal(value: JsonValue): unknown {
  if (value === null) return undefined;
  if (isObject(value)) {
    const members = [...value].map(([key, member]) => [key, normal(member)] as const);
    const kept = members.filter(([, member]) => member !== undefined);
    return kept.length === 0 ? undefined : Object.fromEntries(kept);
  }
  if (!Array.isArray(value)) return value instanceof JsonNumber ? value.text : String(value);
  const items = value as JsonValue[];
  const rows = items.filter((item) => item !== null);
  if (items.length === 0) return undefined;
  if (rows.length === 0 || !rows.every(isObject)) return jsonbText(items);
  return rows.map((row) => normal(row) ?? {});
}

function put(target: Record<string, unknown>, path: readonly string[], value: unknown): void {
  let at = target;
  for (const name of path.slice(0, -1)) at = (at[name] ??= {}) as Record<string, unknown>;
  at[path[path.length - 1] as string] = value;
}

type Rows = Record<string, string | null>[];

/** Puts documents together from the tables, joined by the parent's hash id. */
async function documentsOf(target: TestTarget): Promise<Map<string, unknown>> {
  const [stored] = await target.rows('SELECT shape FROM _headrace_shapes');
  const shape = stored?.['shape'] as Shape;
  const tables = new Map<Shape[number], Rows>();
  for (const table of shape) {
    const order = table.path.length === 0 ? 'id' : '_headrace_position';
    const cells = await target.rows(`SELECT * FROM "${table.name}" ORDER BY ${order}`);
    const texts = cells.map((row) =>
      Object.entries(row).map(([name, value]) => [
        name,
        value === null
          ? null
          : typeof value === 'object'
            ? jsonbText(parseJson(JSON.stringify(value)))
            : String(value),
      ]),
    );
    tables.set(
      table,
      texts.map((row) => Object.fromEntries(row) as Rows[number]),
    );
  }
  const build = (table: Shape[number], row: Rows[number]): Record<string, unknown> => {
    const result: Record<string, unknown> = {};
    for (const { path, column } of table.fields) {
      if (row[column] !== null) put(result, path, row[column]);
    }
    for (const child of shape) {
      if (child.parentHashColumn !== table.hashColumn || child.path.length === 0) continue;
      const path = child.path.slice(table.path.length);
      if (!table.path.every((part, i) => child.path[i] === part)) continue;
      const elements = (tables.get(child) as Rows).filter(
        (one) => one[child.parentHashColumn as string] === row[table.hashColumn],
      );
      if (elements.length > 0)
        put(
          result,
          path,
          elements.map((one) => build(child, one)),
        );
    }
    return result;
  };
  const [root] = shape;
  const found = new Map<string, unknown>();
  for (const row of tables.get(root as Shape[number]) as Rows) {
    const { id, ...rest } = build(root as Shape[number], row);
    found.set(id as string, rest['doc'] ?? {});
  }
  return found;
}

describe('random documents with edits and deletes', () => {
  it('are given back by the tables after every batch', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.array(step, { minLength: 1, maxLength: 5 }), { minLength: 1, maxLength: 4 }),
        async (batches) => {
          await using target = await newTarget(server, BASIC);
          const log = new EventLog(target.schemas, deduped('t'), {
            id: { kind: 'int32', native: 'integer' },
            doc: { kind: 'json', native: 'jsonb' },
          });
          const expected = new Map<string, unknown>();
          for (const batch of batches) {
            const from = log.count;
            for (const [id, doc] of batch) {
              if (doc === null) log.delete({ id });
              else log.update({ id, doc: jsonbText(doc) });
              if (doc === null) expected.delete(String(id));
              else expected.set(String(id), normal(doc) ?? {});
            }
            await write(target, log, from);
            expect(await documentsOf(target)).toEqual(new Map([...expected].sort()));
          }
        },
      ),
      { numRuns: 40 },
    );
  }, 120_000);

  it('have the hash id that the server computes', async () => {
    await using target = await newTarget(server, BASIC);
    const log = new EventLog(target.schemas, deduped('t'), {
      id: { kind: 'int32', native: 'integer' },
      doc: { kind: 'json', native: 'jsonb' },
    });
    const docs = fc.sample(document, 200);
    docs.forEach((doc, id) => log.create({ id, doc: jsonbText(doc) }));
    for (const [i, text] of [
      '{"n": 1.0e2, "m": -0.0, "k": 1E-5}',
      '[1e400]',
      '"t"',
      '{"é":1,"zz":2,"\\u0007":"\\u0007\\u007f"}',
    ].entries()) {
      log.create({ id: 1000 + i, doc: text });
    }
    await write(target, log);
    const wrong = await target.rows(
      `SELECT r._airbyte_data->>'doc' FROM t JOIN _airbyte_raw_t r USING (_airbyte_ab_id)
       WHERE _airbyte_t_hashid <> md5(id::text || '-' || coalesce(r._airbyte_data->>'doc', ''))`,
    );
    expect(wrong).toEqual([]);
  });
});
