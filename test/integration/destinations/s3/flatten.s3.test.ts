import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { randomOf } from './key-workload.ts';
import { column, MemoryTopic, range } from './memory-topic.ts';
import { Lake } from './s3-fixture.ts';

/** Fields of JSON documents as columns of Parquet, read by DuckDB. */

const COLUMNS = [column('id', 'int64', {}, true), column('contact', 'json')];

function topicOf(mode: 'append' | 'append_dedup' | 'overwrite' = 'append'): MemoryTopic {
  const topic = new MemoryTopic({ mode });
  topic.register(1, COLUMNS);
  return topic;
}

function add(topic: MemoryTopic, id: number, contact: string | null, op: 'c' | 'u' = 'c'): void {
  topic.append(1, { op, after: { id: BigInt(id), contact } });
}

let lake: Lake;
beforeAll(async () => {
  lake = await Lake.start('folder');
});
afterAll(async () => {
  await lake[Symbol.asyncDispose]();
});

async function deliver(
  topic: MemoryTopic,
  connection: string,
  config: Record<string, unknown> = {},
): Promise<void> {
  const writer = await lake.open(topic, connection, config);
  const next = (await writer.open(topic.target)) ?? 0;
  await writer.write([topic.batch(next, topic.end)]);
  await writer.close();
}

async function columnsOf(connection: string): Promise<Record<string, string>> {
  const rows = await lake.query(
    connection,
    "select column_name, column_type from (describe select * from FILES) where column_name not like '\\_%' escape '\\'",
  );
  return Object.fromEntries(rows) as Record<string, string>;
}

interface Document {
  readonly o: Record<string, unknown>;
}

function fieldsOf(text: string | null): Record<string, unknown> {
  const fields = text === null ? {} : (JSON.parse(text) as Document).o;
  return Object.fromEntries(Object.entries(fields).map(([name, value]) => [name, String(value)]));
}

/** What the columns of a deduped stream's fields say, by id. */
async function fieldsById(connection: string): Promise<Map<number, Record<string, unknown>>> {
  const described = await lake.published(
    connection,
    "select column_name from (describe select * from ROWS) where column_name like 'contact_o_%'",
  );
  const names = described.map(([name]) => name as string);
  const rows = await lake.published(
    connection,
    `select id::int, ${names.join(', ')} from ROWS order by id`,
  );
  return new Map(
    rows.map(([id, ...cells]) => {
      const filled = names.flatMap((name, index) => {
        const value = cells[index];
        const field = name.replace('contact_o_', '');
        return value === null || value === undefined ? [] : [[field, String(value)] as const];
      });
      return [id as number, Object.fromEntries(filled)];
    }),
  );
}

describe('flattened columns', () => {
  test('have the text of what is in them, and lose no digit', async () => {
    const topic = topicOf();
    const documents = [
      '{"email": "a@x", "phone": "1", "age": 41, "vip": true, "address": {"city": "Zürich", "lines": ["a", 1.50]}}',
      '{"age": 0.1, "vip": null, "big": 12345678901234567890, "address": {}}',
      '{"age": 12345678901234567891, "email": 5, "vip": "yes", "big": 3, "address": "none"}',
      '[1, 2]',
      'null',
      '{"age": -1e3, "vip": false, "address": {"city": {"deep": 1}}}',
    ];
    documents.forEach((document, id) => add(topic, id, document));
    add(topic, documents.length, null);
    const connection = lake.newConnection();
    await deliver(topic, connection);
    expect(await columnsOf(connection)).toEqual({
      id: 'BIGINT',
      contact: 'VARCHAR',
      contact_email: 'VARCHAR',
      contact_phone: 'VARCHAR',
      contact_age: 'VARCHAR',
      contact_vip: 'VARCHAR',
      contact_address_city: 'VARCHAR',
      contact_address_lines: 'VARCHAR',
      contact_big: 'VARCHAR',
      contact_address: 'VARCHAR',
      contact_address_city_deep: 'VARCHAR',
    });
    const rows = await lake.query(
      connection,
      `select contact_email, contact_age, contact_vip, contact_big,
         contact_address, contact_address_city, contact_address_lines, contact_address_city_deep
       from FILES order by id`,
    );
    const nothing = range(0, 8).map(() => null);
    expect(rows).toEqual([
      ['a@x', '41', 'true', null, null, 'Zürich', '["a", 1.50]', null],
      [null, '0.1', null, '12345678901234567890', null, null, null, null],
      ['5', '12345678901234567891', 'yes', '3', 'none', null, null, null],
      nothing,
      nothing,
      [null, '-1000', 'false', null, null, null, null, '1'],
      nothing,
    ]);
    const whole = await lake.query(connection, 'select contact from FILES order by id');
    expect(whole).toEqual([...documents, null].map((document) => [document]));
  });

  test('are told apart whatever their names are', async () => {
    const topic = new MemoryTopic();
    topic.register(1, [...COLUMNS, column('contact_Email', 'string')]);
    const contact =
      '{"email": "1", "EMAIL": "2", "e.mail": "3", "e mail": "4", "": "5", "größe": "6", "a_b": "7", "a": {"b": "8"}}';
    topic.append(1, { after: { id: 1n, contact, contact_Email: 'own' } });
    const connection = lake.newConnection();
    await deliver(topic, connection);
    const names = Object.keys(await columnsOf(connection));
    expect(names).toEqual([
      'id',
      'contact',
      'contact_Email',
      'contact_email_2',
      'contact_EMAIL_3',
      'contact_e_mail',
      'contact_e_mail_2',
      'contact_',
      'contact_gr__e',
      'contact_a_b',
      'contact_a_b_2',
    ]);
    const [row] = await lake.query(connection, `select ${names.slice(2).join(', ')} from FILES`);
    expect(row).toEqual(['own', '1', '2', '3', '4', '5', '6', '7', '8']);
  });

  test('are not looked for in a document above 1 MiB, which is whole in its own column', async () => {
    const topic = topicOf();
    const large = JSON.stringify({ email: 'a', text: 'x'.repeat(1024 * 1024) });
    add(topic, 1, large);
    add(topic, 2, '{"email": "b"}');
    const connection = lake.newConnection();
    await deliver(topic, connection);
    const rows = await lake.query(
      connection,
      'select contact, contact_email from FILES order by id',
    );
    expect(rows).toEqual([
      [large, null],
      ['{"email": "b"}', 'b'],
    ]);
  });

  test('are not made where they are not wanted', async () => {
    const topic = topicOf();
    add(topic, 1, '{"email": "a"}');
    const connection = lake.newConnection();
    await deliver(topic, connection, {
      format: { format_type: 'Parquet', flattening: 'No flattening' },
    });
    expect(Object.keys(await columnsOf(connection))).toEqual(['id', 'contact']);
  });

  test('do not multiply files: a new field in every record, two schemas by turns', async () => {
    const topic = topicOf();
    topic.register(2, [...COLUMNS, column('extra', 'json')]);
    for (const id of range(0, 600)) {
      const contact = JSON.stringify({ [`f${id % 450}`]: id, always: 'x' });
      const extra = JSON.stringify({ [`e${id % 7}`]: 'y' });
      topic.append(1 + (id % 2), { after: { id: BigInt(id), contact, extra } });
    }
    const connection = lake.newConnection();
    const writer = await lake.open(topic, connection);
    await writer.open(topic.target);
    for (const at of range(0, 60)) await writer.write([topic.batch(at * 10, at * 10 + 10)]);
    await writer.close();
    // The second schema's own column ends the first file; a field never does before a row group.
    expect((await lake.files(connection)).length).toBeLessThanOrEqual(2);
    expect(Object.keys(await columnsOf(connection)).length).toBe(2 + 1 + 400);
    const sums = await lake.query(
      connection,
      `select count(*), count(distinct id), count(contact_always), count(contact_f0), sum(contact_f1::int)::int,
         count(*) filter (contact->>'$.f449' is not null) from FILES`,
    );
    expect(sums).toEqual([[600n, 600n, 600n, 2n, 452, 1n]]);
  });

  test('are the same in all partitions: the folder is one dataset without a word to its reader', async () => {
    const contacts = [null, '{"email": "a"}', '{"phone": 1}', '"text"'];
    const topics = contacts.map((contact, partition) => {
      const topic = new MemoryTopic({}, 'headrace.shop.public.customers', partition);
      topic.register(1, COLUMNS);
      add(topic, partition, contact);
      return topic;
    });
    const connection = lake.newConnection();
    const writer = await lake.open(topics[0] as MemoryTopic, connection);
    for (const { target } of topics) await writer.open(target);
    await writer.write(topics.map((topic) => topic.batch(0, 1)));
    await writer.close();
    expect(await lake.files(connection)).toHaveLength(4);
    expect(
      await lake.inFolder(connection, 'select contact_email, contact_phone from ROWS order by id'),
    ).toEqual([
      [null, null],
      ['a', null],
      [null, '1'],
      [null, null],
    ]);
  });

  test('come back the same after a kill at any moment of a range', async () => {
    const topic = topicOf();
    for (const id of range(0, 30)) add(topic, id, JSON.stringify({ [`k${id % 5}`]: id }));
    const connection = lake.newConnection();
    const killed = await lake.open(topic, connection, {}, (store) => {
      // The claim is made, its file never arrives.
      return Object.assign(Object.create(store) as typeof store, {
        uploadIfAbsent: () => new Promise<boolean>(() => {}),
      });
    });
    await killed.open(topic.target);
    await killed.write([topic.batch(0, 20)]);
    void killed.flush().catch(() => {});
    while ((await lake.keys(connection)).every((key) => !/\/\d{20}\.json$/.test(key))) {
      await new Promise((resolve) => setImmediate(resolve));
    }
    await deliver(topic, connection);
    expect(await lake.offsets(connection)).toEqual(range(0, 30));
    const sums = await lake.query(
      connection,
      'select sum(contact_k0::int)::int, sum(contact_k4::int)::int, count(contact_k3) from FILES',
    );
    expect(sums).toEqual([[75, 99, 6n]]);
  });

  test('deduped: follow their documents, cells that were not sent included', async () => {
    const seed = Number(process.env['HEADRACE_TEST_SEED'] ?? Math.floor(Math.random() * 1_000_000));
    console.log(`flattened documents: seed ${seed}`);
    const random = randomOf(seed);
    const topic = topicOf('append_dedup');
    const documents = new Map<number, string | null>();
    const connection = lake.newConnection();
    const names = ['a', 'b', 'c', 'd', 'e'];
    for (let turn = 0; turn < 8; turn++) {
      for (let n = 0; n < 60; n++) {
        const id = Math.floor(random() * 25);
        const isKept = documents.has(id) && random() < 0.3;
        if (isKept) {
          const after = { id: BigInt(id), contact: null };
          topic.append(1, { op: 'u', after, unchanged: ['contact'] });
          continue;
        }
        const fields = names.slice(0, turn + 1).filter(() => random() < 0.5);
        const values = fields.map((name) => [name, random() < 0.8 ? n : `t${n}`]);
        const contact = random() < 0.1 ? null : JSON.stringify({ o: Object.fromEntries(values) });
        add(topic, id, contact, documents.has(id) ? 'u' : 'c');
        documents.set(id, contact);
      }
      await deliver(topic, connection);
      expect(await fieldsById(connection), `seed ${seed}`).toEqual(
        new Map([...documents].map(([id, text]) => [id, fieldsOf(text)])),
      );
    }
  }, 240_000);

  test('overwrite: every copy has the fields of its own documents', async () => {
    const topic = topicOf('overwrite');
    const connection = lake.newConnection();
    topic.append(1, { op: 't', epoch: 1 });
    for (const id of range(0, 5)) {
      topic.append(1, { op: 'r', epoch: 1, after: { id: BigInt(id), contact: `{"n": ${id}}` } });
    }
    topic.append(1, { op: 'm', epoch: 1 });
    await deliver(topic, connection);
    const sum = 'select count(*), sum(contact_n::int)::int from ROWS';
    expect(await lake.published(connection, sum)).toEqual([[5n, 10]]);
  });
});
