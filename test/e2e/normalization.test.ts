import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  cdcSourceConfig,
  createDestination,
  createSource,
  postgresConfig,
  query,
  startRig,
  statusOf,
  sync,
  type Rig,
} from '../support/rig.ts';

interface Connected {
  readonly connectionId: string;
}

/** The guide's middle part over HTTP: the example's tables, raw documents, namespaces. */
describe('normalization and namespaces', () => {
  let rig: Rig;
  let sourceId: string;
  beforeAll(async () => {
    rig = await startRig();
    await query(
      rig.source,
      `create table customers (id int primary key, name text, contact json, addresses json);
       insert into customers values (1, 'Acme Corp', '{"email": "info@acme.com", "phone": "+1234567890"}',
         '[{"type": "billing", "city": "New York"}, {"type": "shipping", "city": "Boston"}]')`,
    );
    sourceId = await createSource(rig, cdcSourceConfig(rig.source));
  });
  afterAll(() => rig[Symbol.asyncDispose]());

  async function connect(config: object, connection: object): Promise<string> {
    const destinationId = await createDestination(rig, 'postgres', {
      ...postgresConfig(rig.target),
      ...config,
    });
    const { connectionId } = await rig.api.quiet<Connected>('connections/create', {
      sourceId,
      destinationId,
      status: 'active',
      ...connection,
    });
    return connectionId;
  }

  it('gives the tables of the example, kept up to date, in a namespace of the format', async () => {
    const connectionId = await connect(
      { schema: 'books', Normalization: 'Basic' },
      {
        namespaceDefinition: 'customformat',
        namespaceFormat: 'lake_${SOURCE_NAMESPACE}',
        prefix: 'crm_',
      },
    );
    expect(await sync(rig, connectionId)).toMatchObject({ job: { status: 'succeeded' } });
    const joined = `select id, name, contact_email, contact_phone, type, city
      from lake_public.crm_customers join lake_public.crm_customers_addresses
      using (_airbyte_crm_customers_hashid) order by type`;
    const acme = {
      id: 1,
      name: 'Acme Corp',
      contact_email: 'info@acme.com',
      contact_phone: '+1234567890',
    };
    expect(await query(rig.target, joined)).toEqual([
      { ...acme, type: 'billing', city: 'New York' },
      { ...acme, type: 'shipping', city: 'Boston' },
    ]);
    await query(
      rig.source,
      `update customers set addresses = '[{"type": "billing", "city": "Rome"}]' where id = 1`,
    );
    expect(await sync(rig, connectionId)).toMatchObject({ job: { status: 'succeeded' } });
    expect(await query(rig.target, joined)).toEqual([{ ...acme, type: 'billing', city: 'Rome' }]);
    expect(
      await query(
        rig.target,
        `select count(*)::int as n from lake_public._airbyte_raw_crm_customers`,
      ),
    ).toEqual([{ n: 2 }]);
  });

  it('gives the tables of the classic step, and the versions of rows', async () => {
    const connectionId = await connect(
      { schema: 'classic', normalization: { option: 'classic', scd: true } },
      { namespaceDefinition: 'destination' },
    );
    expect(await sync(rig, connectionId)).toMatchObject({ job: { status: 'succeeded' } });
    const joined = `select c.id::int, name, email, phone, string_agg(city, ',' order by city) as cities
      from classic.customers c join classic.customers_contact using (_airbyte_customers_hashid)
      join classic.customers_addresses using (_airbyte_customers_hashid) group by 1, 2, 3, 4`;
    const acme = { id: 1, name: 'Acme Corp', email: 'info@acme.com', phone: '+1234567890' };
    const [row] = await query(rig.target, joined);
    expect(row).toMatchObject(acme);
    await query(
      rig.source,
      `update customers set addresses = '[{"type": "billing", "city": "Oslo"}]' where id = 1`,
    );
    expect(await sync(rig, connectionId)).toMatchObject({ job: { status: 'succeeded' } });
    expect(await query(rig.target, joined)).toEqual([{ ...acme, cities: 'Oslo' }]);
    expect(
      await query(
        rig.target,
        `select jsonb_array_length(addresses) as n, _airbyte_active_row as active,
           _airbyte_end_at is null as is_last from classic.customers_scd order by _ab_cdc_lsn desc limit 1`,
      ),
    ).toEqual([{ n: 1, active: 1, is_last: true }]);
  });

  it('gives a raw and a final table of v2', async () => {
    const connectionId = await connect(
      { schema: 'final', normalization: { option: 'v2' } },
      { namespaceDefinition: 'destination' },
    );
    expect(await sync(rig, connectionId)).toMatchObject({ job: { status: 'succeeded' } });
    expect(
      await query(
        rig.target,
        `select id::int, contact->>'email' as email, c._airbyte_meta as meta,
           r._airbyte_data->'contact'->>'phone' as phone
         from final.customers c join airbyte_internal.final_raw__stream_customers r using (_airbyte_raw_id)`,
      ),
    ).toEqual([{ id: 1, email: 'info@acme.com', meta: { changes: [] }, phone: '+1234567890' }]);
  });

  it('refuses at create what makes no sense, with the name of the stream', async () => {
    await query(
      rig.source,
      `create table keyless (a int); alter table keyless replica identity full`,
    );
    const only = (name: string, destinationSyncMode: string) => ({
      syncCatalog: {
        streams: [
          {
            stream: { name, namespace: 'public' },
            config: { selected: true, syncMode: 'incremental', destinationSyncMode },
          },
        ],
      },
    });
    for (const option of ['classic', 'v2']) {
      await expect(
        connect({ schema: 'refused', normalization: option }, only('keyless', 'append_dedup')),
      ).rejects.toThrow(/keyless.*primary key/);
    }
    await expect(
      connect(
        { schema: 'refused', normalization: { option: 'v2', scd: true } },
        only('customers', 'append_dedup'),
      ),
    ).rejects.toThrow(/customers.*scd.*classic/);
  });

  it('leaves raw documents only when it is switched off', async () => {
    const connectionId = await connect(
      { schema: 'landing', disable_type_dedupe: true },
      { namespaceDefinition: 'destination' },
    );
    expect(await sync(rig, connectionId)).toMatchObject({ job: { status: 'succeeded' } });
    expect(
      await query(
        rig.target,
        `select distinct _airbyte_data->>'id' as id, _airbyte_data->'contact'->>'email' as email
         from landing._airbyte_raw_customers`,
      ),
    ).toEqual([{ id: '1', email: 'info@acme.com' }]);
  });

  it('refuses at create two streams whose raw tables would be one', async () => {
    await query(
      rig.source,
      `create table "a b" (id int primary key); create table a_b (id int primary key)`,
    );
    await expect(
      connect(
        { schema: 'clash', disable_type_dedupe: true },
        { namespaceDefinition: 'destination' },
      ),
    ).rejects.toThrow(/same place/);
  });

  it('takes a value that does not fit as NULL, says so in the row and counts it', async () => {
    const connectionId = await connect(
      { schema: 'unfit', normalization: { option: 'v2' } },
      { namespaceDefinition: 'destination' },
    );
    // A json column holds what no jsonb can.
    await query(
      rig.source,
      `insert into customers values (2, 'Nil', '{"phone": "\\u0000"}', '[]')`,
    );
    const unfit = { streamName: 'customers', nulledValues: { contact: 1 } };
    expect(await sync(rig, connectionId)).toMatchObject({
      job: { status: 'succeeded' },
      attempts: [
        { attempt: { streamStats: expect.arrayContaining([expect.objectContaining(unfit)]) } },
      ],
    });
    const change = {
      field: 'contact',
      change: 'NULLED',
      reason: 'DESTINATION_SERIALIZATION_ERROR',
    };
    expect(
      await query(
        rig.target,
        `select id::int, name, contact, _airbyte_meta as meta from unfit.customers where id = 2`,
      ),
    ).toEqual([{ id: 2, name: 'Nil', contact: null, meta: { changes: [change] } }]);
    const customers = { name: 'customers', nulledValues: { contact: 1 } };
    expect(await statusOf(rig, connectionId)).toMatchObject({
      streams: expect.arrayContaining([expect.objectContaining(customers)]) as unknown,
    });
  });
});
