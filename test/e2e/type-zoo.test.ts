import pg from 'pg';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { LocalServer } from '../../deploy/local/local-server.ts';
import {
  cdcSourceConfig,
  connectTo,
  createConnection,
  createDestination,
  createSource,
  postgresConfig,
  startRig,
  sync,
  until,
  statusOf,
  type Rig,
} from '../support/rig.ts';
import { ZOO, ZOO_TYPES, zooRows, zooTable } from './type-zoo.ts';

/** Defaults that break whoever relies on them; both servers' databases get them. */
const HOSTILE = [
  `datestyle = 'German'`,
  `timezone = 'Asia/Kolkata'`,
  `intervalstyle = 'sql_standard'`,
  `bytea_output = 'escape'`,
  `extra_float_digits = 0`,
  `array_nulls = off`,
  `client_encoding = 'LATIN1'`,
  `search_path = nowhere`,
];

async function makeHostile(server: LocalServer): Promise<void> {
  const client = await connectTo(server);
  for (const setting of HOSTILE) await client.query(`alter database postgres set ${setting}`);
  await client.end();
}

/** A session that prints every value in full and in one way. */
async function plainSession(server: LocalServer): Promise<pg.Client> {
  const settings = {
    datestyle: 'ISO',
    timezone: 'UTC',
    intervalstyle: 'iso_8601',
    bytea_output: 'hex',
    extra_float_digits: '1',
    array_nulls: 'on',
    client_encoding: 'UTF8',
    search_path: 'public',
  };
  const options = Object.entries(settings).map(([name, value]) => `-c ${name}=${value}`);
  const client = new pg.Client({
    host: server.host,
    port: server.port,
    user: 'postgres',
    database: 'postgres',
    options: options.join(' '),
  });
  // The server is killed at the end of a test that failed with the session open.
  client.on('error', () => undefined);
  await client.connect();
  return client;
}

async function texts(server: LocalServer): Promise<Record<string, string | null>[]> {
  const client = await plainSession(server);
  const columns = ZOO.map(({ name }) => {
    const quoted = `"${name.replaceAll('"', '""')}"`;
    return `${quoted}::text as ${quoted}`;
  });
  const { rows } = await client.query<Record<string, string | null>>(
    `select id::text, ${columns.join(', ')} from public.zoo order by id`,
  );
  await client.end();
  return rows;
}

describe('a table of every type under hostile defaults', () => {
  let rig: Rig;
  beforeAll(async () => {
    rig = await startRig({ environment: { TZ: 'America/New_York' } });
  });
  afterAll(() => rig[Symbol.asyncDispose]());

  it('has at least 60 columns', () => {
    expect(ZOO.length).toBeGreaterThanOrEqual(60);
  });

  it('arrives with the same text in every cell, by snapshot and by log', async () => {
    await makeHostile(rig.source);
    await makeHostile(rig.target);
    const writer = await plainSession(rig.source);
    for (const statement of [...ZOO_TYPES, zooTable(), ...zooRows(0)])
      await writer.query(statement);
    const sourceId = await createSource(rig, cdcSourceConfig(rig.source));
    const destinationId = await createDestination(rig, 'postgres', postgresConfig(rig.target));
    const connectionId = await createConnection(rig, sourceId, destinationId, () => 'append_dedup');
    await until('the snapshot', async () => {
      const { sourceReport } = await statusOf(rig, connectionId);
      return sourceReport?.streams.every((stream) => stream.phase === 'streaming') === true;
    });
    for (const statement of zooRows(1000)) await writer.query(statement);
    await writer.query('update zoo set c_boolean = not c_boolean where id % 2 = 0');
    await writer.end();
    expect(await sync(rig, connectionId)).toMatchObject({ job: { status: 'succeeded' } });

    const expected = await texts(rig.source);
    const found = await texts(rig.target);
    expect(found.length).toBe(expected.length);
    expected.forEach((row, i) => expect(found[i], `row ${row['id']}`).toEqual(row));
  });
});
