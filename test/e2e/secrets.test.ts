import { createHash, randomBytes } from 'node:crypto';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
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

/** Everything a secret could have been written into, as one text per place. */
type Places = Map<string, string>;

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
      return sourceReport?.error !== undefined;
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
    await addAnswers(places);
    await rig.processes.get('up')?.stop();
    addFiles(places, 'store', join(rig.folder, 'home'));
    expect(places.get('log')?.includes('SRC_AUTH_FAILED')).toBe(true);
    expect(
      [...places.keys()].some((name) => name.startsWith('topics') && name.endsWith('.log')),
    ).toBe(true);
    expect([...places.keys()].some((name) => name.endsWith('.parquet/xl.meta'))).toBe(true);
    const forms = Object.entries({ ...SECRETS, s3: MINIO_SECRET_KEY }).flatMap(([name, secret]) =>
      disguises(secret).map((form) => [name, form] as const),
    );
    for (const [place, text] of places) {
      for (const [name, form] of forms) {
        // Not `toContain`: it would print the whole place.
        expect(text.includes(form), `${name} in ${place}`).toBe(false);
      }
    }
  }, 120_000);

  /** Every call that reads, and the failures that quote what they were given. */
  async function addAnswers(places: Places): Promise<void> {
    const { port } = new URL(`http://127.0.0.1:${rig.apiPort}`);
    const ask = async (method: string, path: string, body?: object): Promise<void> => {
      const response = await fetch(`http://127.0.0.1:${port}${path}`, {
        method,
        headers: { authorization: `Bearer ${SECRETS.token}`, 'content-type': 'application/json' },
        ...(body && { body: JSON.stringify(body) }),
      });
      const head = JSON.stringify([...response.headers]);
      places.set(`${method} ${path}`, head + (await response.text()));
    };
    const [connectionId] = connections;
    const ids = { workspaceId: 'default', sourceId, destinationId: lakeId, connectionId, id: 1 };
    const openapi = await fetch(`http://127.0.0.1:${port}/api/v1/openapi`, {
      headers: { authorization: `Bearer ${SECRETS.token}` },
    });
    const { paths } = (await openapi.json()) as { paths: Record<string, object> };
    const reads = Object.keys(paths).filter((path) =>
      /\/(get|list|search|status|check)[a-z_]*$/.test(path),
    );
    expect(reads.length).toBeGreaterThan(20);
    for (const path of reads) {
      await ask('POST', path, { ...ids, configTypes: ['sync', 'reset_connection'] });
    }
    for (const path of ['/metrics', '/api/v1/openapi', '/subjects', '/health/ready']) {
      await ask('GET', path);
    }
    for (const list of ['sources', 'destinations', 'connections', 'jobs', 'workspaces']) {
      await ask('GET', `/api/public/v1/${list}?limit=100`);
    }
    const bad = { ...sourceConfig(rig, SECRETS.wrong), port: SECRETS.wrong };
    await ask('POST', '/api/v1/sources/update', {
      sourceId,
      name: 'shop',
      connectionConfiguration: bad,
    });
    await ask('POST', '/api/v1/sources/check_connection_for_update', {
      sourceId,
      name: 'shop',
      connectionConfiguration: sourceConfig(rig, SECRETS.wrong),
    });
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

function addFiles(places: Places, name: string, folder: string): void {
  for (const entry of readdirSync(folder, { recursive: true, withFileTypes: true })) {
    if (!entry.isFile()) continue;
    const path = join(entry.parentPath, entry.name);
    places.set(`${name} ${path}`, readFileSync(path, 'latin1'));
  }
}

/** A secret as it is, and as encodings that are not meant to hide it leave it. */
function disguises(secret: string): string[] {
  const bytes = Buffer.from(secret);
  return [
    secret,
    bytes.toString('hex'),
    bytes.toString('base64').replace(/=+$/, '').slice(0, -1),
    encodeURIComponent(secret),
    createHash('md5').update(secret).digest('hex'),
  ];
}
