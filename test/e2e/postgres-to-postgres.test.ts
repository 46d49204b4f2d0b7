import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { columnsOf, digest } from '../support/digest.ts';
import {
  cdcSourceConfig,
  connectTo,
  createConnection,
  createDestination,
  createSource,
  postgresConfig,
  query,
  startRig,
  sync,
  until,
  statusOf,
  type Rig,
} from '../support/rig.ts';

/** One pipeline for all of the file: each test adds changes, asks for a sync and compares. */
describe('a continuous connection from Postgres to Postgres', () => {
  let rig: Rig;
  let connectionId: string;

  beforeAll(async () => {
    rig = await startRig();
    await query(
      rig.source,
      `create table items (id bigint primary key, name text, price numeric(12,2), big text);
       create table empty_one (id int primary key, note text);
       create table "Straße mit Leerzeichen" ("Ключ" text primary key, n int);
       create table measured (day date, city text, value int, primary key (day, city)) partition by range (day);
       create table measured_2024 partition of measured for values from ('2024-01-01') to ('2025-01-01');
       create table measured_2025 partition of measured for values from ('2025-01-01') to ('2026-01-01');
       alter table items alter column big set storage external;
       insert into items select i, 'item ' || i, i / 7.0, repeat(md5(i::text), 300) from generate_series(1, 1000) i;
       insert into "Straße mit Leerzeichen" values ('а', 1), ('ä', 2);
       insert into measured values ('2024-05-01', 'Rome', 1), ('2025-05-01', 'Oslo', 2);`,
    );
    const sourceId = await createSource(rig, cdcSourceConfig(rig.source));
    const destinationId = await createDestination(rig, 'postgres', postgresConfig(rig.target));
    connectionId = await createConnection(rig, sourceId, destinationId, () => 'append_dedup');
    await synced();
  });
  afterAll(() => rig[Symbol.asyncDispose]());

  async function synced(): Promise<void> {
    expect(await sync(rig, connectionId)).toMatchObject({ job: { status: 'succeeded' } });
  }

  async function expectEqual(table: string): Promise<void> {
    const columns = await columnsOf(rig.source, table);
    expect(await digest(rig.target, table, columns)).toEqual(
      await digest(rig.source, table, columns),
    );
  }

  it('copies every table, the empty and the partitioned one too', async () => {
    for (const table of ['items', 'empty_one', '"Straße mit Leerzeichen"', 'measured']) {
      await expectEqual(table);
    }
  });

  it('follows inserts, updates, deletes and key changes, and keeps cells that were not sent', async () => {
    await query(rig.source, `update items set name = name || '!' where id <= 500`);
    await query(rig.source, `update items set id = id + 100000 where id between 600 and 650`);
    await query(rig.source, `delete from items where id between 700 and 750`);
    await query(
      rig.source,
      `begin; insert into items values (700, 'again', 1, 'x'); update items set big = null where id = 1; commit`,
    );
    await query(rig.source, `update measured set day = '2025-06-01' where city = 'Rome'`);
    await synced();
    await expectEqual('items');
    await expectEqual('measured');
  });

  it('shows nothing of a transaction that was rolled back', async () => {
    await query(
      rig.source,
      `begin; delete from items; insert into empty_one values (1, 'no'); rollback`,
    );
    await query(
      rig.source,
      `begin; savepoint a; delete from items; rollback to a; insert into empty_one values (2, 'yes'); commit`,
    );
    await synced();
    await expectEqual('items');
    await expectEqual('empty_one');
  });

  it('empties a table that was truncated', async () => {
    await query(
      rig.source,
      `begin; truncate empty_one; insert into empty_one values (3, 'after'); commit`,
    );
    await synced();
    await expectEqual('empty_one');
  });

  it('carries a new column through, between and inside transactions', async () => {
    await query(rig.source, `alter table items add column color text`);
    await query(rig.source, `update items set color = 'red' where id <= 10`);
    await query(
      rig.source,
      `begin; insert into items (id, color) values (-1, 'blue');
       alter table items add column weight double precision default 1.5;
       insert into items (id, weight) values (-2, 2.5); commit`,
    );
    await query(rig.source, `update items set weight = 3 where id > 0`);
    await synced();
    const columns = await columnsOf(rig.source, 'items');
    expect(await digest(rig.target, 'items', columns, 'id > 0 or id = -2')).toEqual(
      await digest(rig.source, 'items', columns, 'id > 0 or id = -2'),
    );
  });

  it('streams a transaction of 200,000 rows', async () => {
    await query(
      rig.source,
      `insert into items (id, name) select i, 'big ' || i from generate_series(1000000, 1199999) i`,
    );
    await synced();
    const columns = await columnsOf(rig.source, 'items');
    const where = 'id >= 1000000';
    expect(await digest(rig.target, 'items', columns, where)).toEqual(
      await digest(rig.source, 'items', columns, where),
    );
  });

  it('fails the job of a stream whose target table is gone, and goes on with the others', async () => {
    await query(rig.target, 'drop table measured');
    await query(rig.source, `insert into measured values ('2024-07-01', 'Lima', 3)`);
    await query(rig.source, `insert into empty_one values (4, 'goes on')`);
    const job = await sync(rig, connectionId, 90_000);
    expect(job.job.status).toBe('failed');
    expect(JSON.stringify(job.attempts)).toContain('DST_TABLE_CHANGED');
    await until('the other stream', async () => {
      const rows = await query(rig.target, 'select 1 from empty_one where id = 4');
      return rows.length === 1;
    });
    const { connectionReport } = await statusOf(rig, connectionId);
    expect(connectionReport?.streams.find((s) => s.name === 'measured')?.phase).toBe('stopped');
  });

  it('ends with exit code 0 on SIGTERM and holds one slot at the source', async () => {
    expect(await rig.processes.get('up')?.stop()).toBe(0);
    const client = await connectTo(rig.source);
    const { rows } = await client.query('select slot_name, active from pg_replication_slots');
    await client.end();
    expect(rows).toEqual([{ slot_name: 'headrace', active: false }]);
  });
});
