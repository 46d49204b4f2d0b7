import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { columnsOf, digest } from '../support/digest.ts';
import {
  cdcSourceConfig,
  createConnection,
  createDestination,
  createSource,
  postgresConfig,
  query,
  startRig,
  statusOf,
  sync,
  until,
  type Rig,
} from '../support/rig.ts';

describe('DDL at the source', () => {
  let rig: Rig;
  let connectionId: string;

  beforeAll(async () => {
    rig = await startRig();
    await query(
      rig.source,
      `create table t (id int primary key, a text, n int, big text);
       alter table t alter big set storage external;
       insert into t select i, 'row ' || i, i, repeat(md5(i::text), 200) from generate_series(1, 50) i;
       create table u (id int primary key, a text);
       insert into u values (1, 'one');
       create table k (id int primary key); insert into k values (1)`,
    );
    const sourceId = await createSource(rig, cdcSourceConfig(rig.source));
    const destinationId = await createDestination(rig, 'postgres', postgresConfig(rig.target));
    connectionId = await createConnection(rig, sourceId, destinationId, () => 'append_dedup');
    expect(await sync(rig, connectionId)).toMatchObject({ job: { status: 'succeeded' } });
  });
  afterAll(() => rig[Symbol.asyncDispose]());

  async function expectEqual(): Promise<void> {
    expect(await sync(rig, connectionId)).toMatchObject({ job: { status: 'succeeded' } });
    const columns = await columnsOf(rig.source, 't');
    expect(await digest(rig.target, 't', columns)).toEqual(await digest(rig.source, 't', columns));
  }

  it('fills a column that was added with a default, in rows before and after it', async () => {
    // Rows before the change reach the table after it has the column, too: all in one batch.
    await query(
      rig.source,
      `begin;
       insert into t values (100, 'before', 1, 'x');
       update t set n = -1 where id = 1;
       alter table t add i int not null default 7, add s text default 'it''s', add b bytea default '\\x00ff',
         add d date default '1999-12-31', add m numeric(10,2) default 1.50, add o bool default true,
         add w timestamptz default '2024-03-31 02:30:00.5+00', add j jsonb default '{"k": [1, null]}',
         add k int[] default '{1,NULL}', add f float8 default 0.1, add z int;
       insert into t (id, s, i) values (101, null, 8);
       update t set s = null where id = 2;
       commit`,
    );
    await expectEqual();
    await query(rig.source, `update t set n = 5 where id = 3; insert into t (id) values (102)`);
    await expectEqual();
  });

  it('carries wider types, a rewrite and a dropped column', async () => {
    await query(rig.source, `alter table t alter n type bigint`);
    await query(rig.source, `update t set n = 5000000000 where id = 4`);
    await query(rig.source, 'vacuum full t');
    await query(rig.source, `alter table t drop column f; update t set a = 'x' where id = 5`);
    await expectEqual();
  });

  it('stops a table that lost its key alone, also when it is to be copied anew', async () => {
    await query(
      rig.source,
      `alter table k drop constraint k_pkey; alter table k replica identity full`,
    );
    await query(rig.source, `insert into k values (2)`);
    await until('the stop', async () =>
      JSON.stringify(await statusOf(rig, connectionId)).includes('SRC_NO_REPLICA_IDENTITY'),
    );
    await rig.api.quiet('connections/reset/stream', {
      connectionId,
      streams: [{ streamName: 'k', streamNamespace: 'public' }],
    });
    await until('the refusal', async () =>
      JSON.stringify(await statusOf(rig, connectionId)).includes('SCH_INCOMPATIBLE'),
    );
    await query(rig.source, `update u set a = 'goes on'`);
    await until('the other stream', async () => {
      const [row] = await query<{ a: string }>(rig.target, 'select a from u');
      return row?.a === 'goes on';
    });
  });

  it('fails the job by name when a column is renamed, and goes on with other streams', async () => {
    await query(
      rig.source,
      `alter table t rename a to label; update t set label = 'y' where id = 6`,
    );
    await until('the stop', async () => {
      const status = await statusOf(rig, connectionId);
      return JSON.stringify(status).includes('was renamed to \\"label\\"') || null;
    }).catch(async (error) => {
      throw new Error(`${String(error)} ${JSON.stringify(await statusOf(rig, connectionId))}`);
    });
    await query(rig.source, `update u set a = 'two'`);
    const job = await sync(rig, connectionId);
    expect(job.job.status).toBe('failed');
    expect(JSON.stringify(job)).toContain('column \\"a\\" was renamed');
    await until('the other stream', async () => {
      const [row] = await query<{ a: string }>(rig.target, 'select a from u');
      return row?.a === 'two';
    });
  });
});
