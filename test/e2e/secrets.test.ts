import { randomBytes } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { MINIO_SECRET_KEY } from '../../deploy/local/minio.ts';
import type { LocalServer } from '../../deploy/local/local-server.ts';
import {
  cdcSourceConfig,
  createConnection,
  createDestination,
  createSource,
  parquetConfig,
  postgresConfig,
  query,
  startRig,
  statusOf,
  sync,
  until,
  type Rig,
} from '../support/rig.ts';
import { addAnswer, addAnswers, addFiles, secretsIn, type Places } from '../support/secret-hunt.ts';

const canary = (name: string) => `canary-${name}-${randomBytes(12).toString('hex')}`;

const SECRETS = {
  source: canary('source'),
  rotated: canary('rotated'),
  wrong: canary('wrong'),
  target: canary('target'),
  token: canary('token'),
  key: canary('key'),
  sslKey: canary('client-key'),
};

describe('secrets', () => {
  let rig: Rig;
  let sourceId: string;
  let lakeId: string;
  let connections: string[];
  const secretFolder = mkdtempSync(join(tmpdir(), 'headrace-references-'));

  beforeAll(async () => {
    writeFileSync(join(secretFolder, 's3'), `${MINIO_SECRET_KEY}\n`);
    rig = await startRig({
      withMinio: true,
      environment: {
        HEADRACE_API_TOKEN: SECRETS.token,
        HEADRACE_SECRET_KEY: SECRETS.key,
        HEADRACE_SECRET_FOLDER: secretFolder,
        CONNECTOR_SECRET_TARGET: SECRETS.target,
        HEADRACE_LOG_LEVEL: 'debug',
      },
    });
    await demandPassword(rig.source, 'reader', SECRETS.source);
    await demandPassword(rig.target, 'writer', SECRETS.target);
    await query(rig.source, `CREATE TABLE notes (id int PRIMARY KEY, body text)`);
    await query(rig.source, `INSERT INTO notes SELECT i, 'n' || i FROM generate_series(1, 50) i`);
    sourceId = await createSource(rig, sourceConfig(rig, SECRETS.source));
    const target = await createDestination(rig, 'postgres', {
      ...postgresConfig(rig.target),
      username: 'writer',
      password: '${env:CONNECTOR_SECRET_TARGET}',
      schema: 'public',
    });
    lakeId = await createDestination(rig, 's3', {
      ...parquetConfig(rig.minio as LocalServer),
      secret_access_key: '${file:s3}',
    });
    connections = [
      await createConnection(rig, sourceId, target, () => 'append'),
      await createConnection(rig, sourceId, lakeId, () => 'append'),
    ];
    for (const id of connections) expect((await sync(rig, id)).job.status).toBe('succeeded');
  }, 240_000);

  afterAll(async () => {
    await rig[Symbol.asyncDispose]();
    rmSync(secretFolder, { recursive: true });
  });

  it('a changed password takes over without a reset, a loss or a repeat', async () => {
    const slot = () =>
      query(
        rig.source,
        `SELECT slot_name, catalog_xmin IS NOT NULL AS held FROM pg_replication_slots`,
      );
    const before = await slot();
    await query(rig.source, `ALTER ROLE reader PASSWORD '${SECRETS.rotated}'`);
    await query(
      rig.source,
      `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'reader'`,
    );
    await query(rig.source, `INSERT INTO notes SELECT i, 'm' || i FROM generate_series(51, 60) i`);
    await until('the source to be refused', async () => {
      const { sourceReport } = await statusOf(rig, connections[0] as string);
      // The lost connection is told first.
      return sourceReport?.error?.code === 'SRC_AUTH_FAILED';
    });
    const update = (password: string) =>
      rig.api.quiet('sources/update', {
        sourceId,
        name: 'shop',
        connectionConfiguration: sourceConfig(rig, password),
      });
    await update(SECRETS.wrong);
    await update(SECRETS.rotated);
    for (const id of connections) {
      await until(
        'the rows to arrive',
        async () => (await sync(rig, id)).job.status === 'succeeded',
      );
    }
    expect(await slot()).toEqual(before);
    const [counted] = await query<{ all: number; ids: number }>(
      rig.target,
      `SELECT count(*)::int AS all, count(DISTINCT id)::int AS ids FROM notes`,
    );
    expect(counted).toEqual({ all: 60, ids: 60 });
  }, 200_000);

  it('CT-35 are in no log, answer, topic, object, metric, nor in the store', async () => {
    const places: Places = new Map();
    places.set('log', readFileSync(rig.processes.get('up')?.log as string, 'latin1'));
    addFiles(places, 'topics', rig.kafka.folder);
    addFiles(places, 'objects', join((rig.minio as LocalServer).folder));
    await addAllAnswers(places);
    await rig.processes.get('up')?.stop();
    addFiles(places, 'store', join(rig.folder, 'home'));
    expect(places.get('log')?.includes('SRC_AUTH_FAILED')).toBe(true);
    expect(
      [...places.keys()].some((name) => name.startsWith('topics') && name.endsWith('.log')),
    ).toBe(true);
    expect([...places.keys()].some((name) => name.endsWith('.parquet/xl.meta'))).toBe(true);
    // A list of names: a text that is printed whole would be all of a place.
    expect(secretsIn(places, { ...SECRETS, s3: MINIO_SECRET_KEY })).toEqual([]);
  }, 120_000);

  /** Every call that reads, and the failures that quote what they were given. */
  async function addAllAnswers(places: Places): Promise<void> {
    const [connectionId] = connections;
    const ids = { workspaceId: 'default', sourceId, destinationId: lakeId, connectionId, id: 1 };
    const api = { apiPort: rig.apiPort, token: SECRETS.token, ids };
    await addAnswers(places, api);
    const bad = { ...sourceConfig(rig, SECRETS.wrong), port: SECRETS.wrong };
    for (const [path, connectionConfiguration] of [
      ['update', bad],
      ['check_connection_for_update', sourceConfig(rig, SECRETS.wrong)],
    ] as const) {
      const body = { sourceId, name: 'shop', connectionConfiguration };
      await addAnswer(places, api, 'POST', `/api/v1/sources/${path}`, body);
    }
  }
});

function sourceConfig(rig: Rig, password: string): Record<string, unknown> {
  return {
    ...cdcSourceConfig(rig.source),
    username: 'reader',
    password,
    ssl_mode: { mode: 'disable', client_key: SECRETS.sslKey },
  };
}

/** The superuser of the test stays trusted; everyone else logs in. */
async function demandPassword(server: LocalServer, role: string, password: string): Promise<void> {
  await query(server, `CREATE ROLE ${role} SUPERUSER REPLICATION LOGIN PASSWORD '${password}'`);
  const [row] = await query<{ file: string }>(server, `SELECT current_setting('hba_file') AS file`);
  writeFileSync(
    row?.file as string,
    'host all postgres all trust\nhost all all all scram-sha-256\nhost replication all all reject\n',
  );
  await query(server, `SELECT pg_reload_conf()`);
}
