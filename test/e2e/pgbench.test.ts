import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { afterAll, describe, expect, it } from 'vitest';
import type { LocalServer } from '../../deploy/local/local-server.ts';
import { parquetEvents } from '../support/parquet-events.ts';
import { columnsOf, digest } from '../support/digest.ts';
import {
  cdcSourceConfig,
  createConnection,
  createDestination,
  createSource,
  parquetConfig,
  postgresConfig,
  query,
  startRig,
  sync,
  until,
  type Rig,
} from '../support/rig.ts';

const run = promisify(execFile);
const KEYED = ['pgbench_accounts', 'pgbench_branches', 'pgbench_tellers'];
/** The bar runs 120 s at scale 10; the suite a shorter one. BENCH_SECONDS and BENCH_SCALE set it. */
const SECONDS = Number(process.env['BENCH_SECONDS'] ?? 25);
/** One of six loads, each with a kill in it: together they last as long as the run without kills. */
const SECONDS_PER_KILL = Math.max(8, Math.round(SECONDS / 6));
const SCALE = Number(process.env['BENCH_SCALE'] ?? 2);

function pgbench(server: LocalServer, ...args: string[]): Promise<unknown> {
  const at = ['-h', server.host, '-p', String(server.port), '-U', 'postgres'];
  return run('pgbench', [...at, ...args, 'postgres'], { maxBuffer: 64 * 1024 * 1024 });
}

interface Connections {
  readonly deduped: string;
  readonly history: string;
  readonly parquet: string;
}

async function connect(rig: Rig): Promise<Connections> {
  const sourceId = await createSource(rig, cdcSourceConfig(rig.source));
  const warehouse = await createDestination(rig, 'postgres', postgresConfig(rig.target));
  const lake = await createDestination(rig, 's3', {
    ...parquetConfig(rig.minio as LocalServer),
    rotation_seconds: 5,
  });
  return {
    deduped: await createConnection(rig, sourceId, warehouse, (_, keyed) =>
      keyed ? 'append_dedup' : null,
    ),
    history: await createConnection(rig, sourceId, warehouse, (_, keyed) =>
      keyed ? null : 'append',
    ),
    parquet: await createConnection(rig, sourceId, lake, () => 'append'),
  };
}

async function expectEqual(rig: Rig): Promise<void> {
  for (const table of [...KEYED, 'pgbench_history']) {
    const columns = await columnsOf(rig.source, table);
    expect(await digest(rig.target, table, columns), table).toEqual(
      await digest(rig.source, table, columns),
    );
  }
}

/** Changes that pgbench made: each transaction updates three rows and inserts one. */
async function expectOneRowPerChange(rig: Rig): Promise<void> {
  const events = await parquetEvents(rig.minio as LocalServer, 'data');
  for (const table of [...KEYED, 'pgbench_history']) {
    const found = events.get(table) as { rows: number; identities: number };
    expect(found.identities, `${table}: events with an identity of their own`).toBe(found.rows);
  }
  const [{ transactions }] = (await query<{ transactions: number }>(
    rig.source,
    'select count(*)::int as transactions from pgbench_history',
  )) as [{ transactions: number }];
  const streamed = (table: string): number => events.get(table)?.streamed ?? 0;
  const history = events.get('pgbench_history') as { rows: number };
  expect(history.rows).toBe(transactions);
  for (const table of KEYED) expect(streamed(table), table).toBe(streamed('pgbench_history'));
}

describe('pgbench running before, through and after the snapshot', () => {
  const rigs: Rig[] = [];
  afterAll(async () => {
    for (const rig of rigs) await rig[Symbol.asyncDispose]();
  });

  it('leaves source, deduped tables and Parquet equal', { timeout: 400_000 }, async () => {
    const rig = await startRig({ withMinio: true });
    rigs.push(rig);
    await pgbench(rig.source, '-i', '-q', '-s', String(SCALE));
    const load = pgbench(rig.source, '-n', '-c', '8', '-T', String(SECONDS));
    await until('the first transactions', async () => {
      const [row] = await query<{ n: number }>(
        rig.source,
        'select count(*)::int n from pgbench_history',
      );
      return (row?.n ?? 0) > 100;
    });
    const connections = await connect(rig);
    await load;
    for (const id of Object.values(connections)) {
      expect(await sync(rig, id)).toMatchObject({ job: { status: 'succeeded' } });
    }
    await expectEqual(rig);
    await expectOneRowPerChange(rig);
  });

  it('and so under kill -9 of every part', { timeout: 600_000 }, async () => {
    const rig = await startRig({
      withMinio: true,
      roles: ['api', 'scheduler', 'source', 'sink'],
    });
    rigs.push(rig);
    await pgbench(rig.source, '-i', '-q', '-s', String(SCALE));
    const connections = await connect(rig);
    const victims: [string, () => Promise<unknown>][] = [
      ['source', () => killRole(rig, 'source')],
      ['sink', () => killRole(rig, 'sink')],
      ['broker', () => killServer(rig.kafka)],
      ['target database', () => killServer(rig.target)],
      ['MinIO', () => killServer(rig.minio as LocalServer)],
      ['source database', () => killServer(rig.source)],
    ];
    for (const [name, kill] of victims) {
      const load = pgbench(rig.source, '-n', '-c', '8', '-T', String(SECONDS_PER_KILL)).catch(
        () => undefined,
      );
      const before = await historyRows(rig);
      await until(`transactions before the kill of the ${name}`, async () =>
        (await historyRows(rig)) > before + 50 ? true : false,
      );
      await kill();
      await load;
    }
    for (const id of Object.values(connections)) {
      expect(await sync(rig, id)).toMatchObject({ job: { status: 'succeeded' } });
    }
    await expectEqual(rig);
    await expectOneRowPerChange(rig);
  });
});

async function historyRows(rig: Rig): Promise<number> {
  const [row] = await query<{ n: number }>(
    rig.source,
    'select count(*)::int n from pgbench_history',
  );
  return row?.n ?? 0;
}

async function killRole(rig: Rig, role: 'source' | 'sink'): Promise<void> {
  await rig.processes.get(role)?.kill();
  await rig.start(role);
}

async function killServer(server: LocalServer): Promise<void> {
  await server.kill();
  await server.restart();
}
