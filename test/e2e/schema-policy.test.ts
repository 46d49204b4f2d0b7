import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { json } from 'node:stream/consumers';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  cdcSourceConfig,
  createDestination,
  createSource,
  postgresConfig,
  query,
  startRig,
  sync,
  until,
  type Rig,
} from '../support/rig.ts';

const POLICIES = ['propagate_columns', 'ignore', 'disable', 'propagate_fully'] as const;
type Policy = (typeof POLICIES)[number];

// Tests look into answers of many shapes.
// oxlint-disable-next-line typescript/no-explicit-any
type Answer = any;

/** One source, and a connection of each policy with tables of its own: `ignore_t`. */
describe('schema policies', () => {
  let rig: Rig;
  const connections = new Map<Policy, string>();
  const alerts: Answer[] = [];
  let receiver: Server;

  const idOf = (policy: Policy): string => connections.get(policy) as string;
  const read = (policy: Policy): Promise<Answer> =>
    rig.api.quiet('connections/get', { connectionId: idOf(policy) });
  const web = (policy: Policy, more: object = {}): Promise<Answer> =>
    rig.api.quiet('web_backend/connections/get', { connectionId: idOf(policy), ...more });
  const update = (policy: Policy, change: object): Promise<Answer> =>
    rig.api.quiet('connections/update', { connectionId: idOf(policy), ...change });

  async function columns(table: string): Promise<string[]> {
    const rows = await query<{ name: string }>(
      rig.target,
      `select column_name as name from information_schema.columns
       where table_schema = 'public' and table_name = $1 and column_name !~ '^_' order by 1`,
      [table],
    );
    return rows.map(({ name }) => name);
  }

  async function ids(table: string): Promise<number[]> {
    const rows = await query<{ id: number }>(rig.target, `select id from ${table} order by 1`);
    return rows.map(({ id }) => id);
  }

  beforeAll(async () => {
    receiver = createServer((request, response) => {
      void json(request).then((body) => {
        alerts.push((body as Answer).data);
        response.end('ok');
      });
    });
    await new Promise<void>((resolve) => receiver.listen(0, '127.0.0.1', resolve));
    const webhook = `http://127.0.0.1:${(receiver.address() as AddressInfo).port}/`;
    rig = await startRig({
      environment: {
        HEADRACE_SCHEMA_LOOK_SECONDS: '1',
        HEADRACE_OUTGOING_ALLOW: '127.0.0.1',
        HEADRACE_TOPIC_PARTITIONS: '2',
      },
    });
    const item = { notificationType: ['webhook'], webhookConfiguration: { webhook } };
    await rig.api.quiet('workspaces/update', {
      workspaceId: 'default',
      notificationSettings: {
        sendOnConnectionUpdate: item,
        sendOnConnectionUpdateActionRequired: item,
      },
    });
    await query(
      rig.source,
      `create table t (id int primary key, a text); insert into t values (1, 'one');
       create table left_out (id int primary key)`,
    );
    const sourceId = await createSource(rig, cdcSourceConfig(rig.source));
    const destinationId = await createDestination(rig, 'postgres', postgresConfig(rig.target));
    for (const policy of POLICIES) {
      const { connectionId } = await rig.api.quiet<{ connectionId: string }>('connections/create', {
        sourceId,
        destinationId,
        name: policy,
        status: 'active',
        prefix: `${policy}_`,
        nonBreakingChangesPreference: policy,
        syncCatalog: {
          streams: [
            {
              stream: { name: 't', namespace: 'public' },
              config: { syncMode: 'incremental', destinationSyncMode: 'append_dedup' },
            },
          ],
        },
      });
      connections.set(policy, connectionId);
    }
    for (const policy of POLICIES) {
      expect(await sync(rig, idOf(policy))).toMatchObject({ job: { status: 'succeeded' } });
    }
  });
  afterAll(async () => {
    receiver.close();
    await rig[Symbol.asyncDispose]();
  });

  it('shows no change before there is one', async () => {
    for (const policy of POLICIES) {
      expect(await web(policy)).toMatchObject({
        schemaChange: 'no_change',
        nonBreakingChangesPreference: policy,
        breakingChange: false,
      });
    }
    const refreshed = await web('ignore', { withRefreshedCatalog: true });
    expect(refreshed.schemaChange).toBe('no_change');
    expect(refreshed.catalogDiff.transforms).toEqual([
      { transformType: 'add_stream', streamDescriptor: { name: 'left_out', namespace: 'public' } },
    ]);
  });

  it('carries a column on, and shows it in the catalog, the job and an alert', async () => {
    await query(rig.source, `insert into t values (2, 'before'), (3, 'before')`);
    await query(
      rig.source,
      `alter table t add note text; insert into t values (4, 'x', 'noted'), (5, 'x', 'noted')`,
    );
    const { job } = (await sync(rig, idOf('propagate_columns'))) as Answer;
    expect(job).toMatchObject({ status: 'succeeded', schemaChanges: 1 });
    expect(job.catalogDiff.transforms).toEqual([
      {
        transformType: 'update_stream',
        streamDescriptor: { name: 't', namespace: 'public' },
        updateStream: [
          {
            transformType: 'add_field',
            fieldName: ['note'],
            breaking: false,
            addField: { schema: { type: 'string' } },
          },
        ],
      },
    ]);
    expect(await columns('propagate_columns_t')).toEqual(['a', 'id', 'note']);
    const connection = await read('propagate_columns');
    expect(connection.syncCatalog.streams[0].stream.jsonSchema.properties).toHaveProperty('note');
    expect(await web('propagate_columns')).toMatchObject({ schemaChange: 'no_change' });
    await until('the alert', async () =>
      alerts.some(({ event, connection: { name }, outcome }) =>
        [event, name, outcome].join() === 'schema_changed,propagate_columns,propagated'
          ? true
          : null,
      ),
    );
  });

  it('leaves an ignored column out and loses nothing else, until the catalog has it', async () => {
    expect(await sync(rig, idOf('ignore'))).toMatchObject({ job: { status: 'succeeded' } });
    expect(await columns('ignore_t')).toEqual(['a', 'id']);
    expect(await ids('ignore_t')).toEqual([1, 2, 3, 4, 5]);
    const connection = await until('the difference', async () => {
      const found = await web('ignore', { withRefreshedCatalog: true });
      return found.schemaChange === 'non_breaking' ? found : null;
    });
    expect(connection.status).toBe('active');
    await update('ignore', { syncCatalog: connection.syncCatalog });
    expect(await web('ignore')).toMatchObject({ schemaChange: 'no_change' });
    // Its services take the new catalog up, which a sync waits for.
    expect(await sync(rig, idOf('ignore'))).toMatchObject({ job: { status: 'succeeded' } });
    await query(rig.source, `insert into t values (6, 'x', 'noted')`);
    expect(await sync(rig, idOf('ignore'))).toMatchObject({ job: { status: 'succeeded' } });
    expect(
      await query(rig.target, 'select id, note from ignore_t where id > 4 order by 1'),
    ).toEqual([
      { id: 5, note: null },
      { id: 6, note: 'noted' },
    ]);
  });

  it('switches a connection off at the change, and goes on from there when it is accepted', async () => {
    const connection = await until('the end', async () => {
      const found = await web('disable');
      return found.status === 'inactive' ? found : null;
    });
    expect(connection).toMatchObject({ schemaChange: 'non_breaking' });
    expect(connection.statusReason).toContain('column "note" was added (string)');
    expect(await ids('disable_t')).toEqual([1, 2, 3]);
    await until('the alert', async () =>
      alerts.some(
        ({ connection: { name }, outcome }) => name === 'disable' && outcome === 'disabled',
      )
        ? true
        : null,
    );
    const active = await update('disable', { status: 'active' });
    expect(active.syncCatalog.streams[0].stream.jsonSchema.properties).toHaveProperty('note');
    expect(await sync(rig, idOf('disable'))).toMatchObject({ job: { status: 'succeeded' } });
    expect(await columns('disable_t')).toEqual(['a', 'id', 'note']);
    expect(await ids('disable_t')).toEqual([1, 2, 3, 4, 5, 6]);
    expect(await web('disable')).toMatchObject({ schemaChange: 'no_change', status: 'active' });
  });

  it('fails the job that meets the change', async () => {
    await query(rig.source, `alter table t add more int; insert into t values (7, 'x', 'y', 1)`);
    const job = await sync(rig, idOf('disable'));
    expect(job).toMatchObject({ job: { status: 'failed', schemaChanges: 1 } });
    expect(JSON.stringify(job)).toContain('SCH_CHANGE_HELD');
    expect(await ids('disable_t')).toEqual([1, 2, 3, 4, 5, 6]);
  });

  it('takes new tables in and lets dropped ones go where it follows fully', async () => {
    const names = async (policy: Policy): Promise<string[]> =>
      (await read(policy)).syncCatalog.streams.map(({ stream }: Answer) => stream.name).toSorted();
    await query(
      rig.source,
      `create table extra (id int primary key, v text); insert into extra values (1, 'new')`,
    );
    await until('the table', async () =>
      (await names('propagate_fully')).includes('extra') ? true : null,
    );
    expect(await names('propagate_fully')).toEqual(['extra', 't']);
    expect(await names('propagate_columns')).toEqual(['t']);
    expect(await sync(rig, idOf('propagate_fully'))).toMatchObject({
      job: { status: 'succeeded' },
    });
    expect(await query(rig.target, 'select id, v from propagate_fully_extra')).toEqual([
      { id: 1, v: 'new' },
    ]);
    await query(rig.source, `insert into extra values (2, 'last'); drop table extra`);
    await until('the end of the table', async () =>
      (await names('propagate_fully')).includes('extra') ? null : true,
    );
    expect(await ids('propagate_fully_extra')).toEqual([1, 2]);
    expect(await sync(rig, idOf('propagate_fully'))).toMatchObject({
      job: { status: 'succeeded' },
    });
  });

  it('calls a change breaking that a stream cannot go on with', async () => {
    await query(rig.source, `alter table t rename a to label; insert into t values (8)`);
    const broken = await until('the stop', async () => {
      const found = await web('propagate_columns');
      return found.schemaChange === 'breaking' ? found : null;
    });
    expect(broken).toMatchObject({ breakingChange: true, status: 'active' });
    await until('the alert', async () =>
      alerts.some(
        ({ connection: { name }, outcome, message }) =>
          name === 'propagate_columns' &&
          outcome === 'stopped' &&
          String(message).includes('SRC_TABLE_CHANGED'),
      )
        ? true
        : null,
    );
    await rig.api.quiet('connections/reset', { connectionId: idOf('propagate_columns') });
    await until('the end of it', async () => {
      const found = await web('propagate_columns');
      return found.schemaChange === 'no_change' && !found.breakingChange ? true : null;
    });
  });
});
