import { performance } from 'node:perf_hooks';
import { setTimeout as delay } from 'node:timers/promises';
import { paginateListObjectsV2 } from '@aws-sdk/client-s3';
import {
  BUCKET,
  cdcSourceConfig,
  connectTo,
  createConnection,
  createDestination,
  createSource,
  objectStore,
  parquetConfig,
  postgresConfig,
  query,
  startRig,
  sync,
  type Rig,
} from '../support/rig.ts';
import { cpuSeconds, loadAverage, peakMegabytes, percentile } from './process-figures.ts';
import { watchStages } from './stage-shares.ts';
import { EVENT_COLUMNS, LaneWatch, LoadLane } from './steady-load.ts';

const TABLES = Number(process.env['BENCH_TABLES'] ?? 500);
const RATE = Number(process.env['BENCH_RATE'] ?? 1_000);
const SECONDS = Number(process.env['BENCH_SECONDS'] ?? 60);
/** In it every table has its first changes, which cost each part more than later ones; told apart. */
const WARM_UP_SECONDS = 10;
const ROLES = ['source', 'sink'] as const;
const PATIENCE_MS = 900_000;

/**
 * Many tables with a little each: RATE single-row transactions a second go round them, to a Postgres
 * and to a Parquet destination. Delay to Postgres, transactions there, CPU of both services, files.
 */
export async function many(): Promise<Record<string, unknown>> {
  await using rig = await startRig({
    roles: ['api', 'scheduler', 'source', 'sink'],
    withMinio: true,
  });
  const tables = Array.from({ length: TABLES }, (_, i) => `t${i}`);
  const ddl = tables.map((table) => `create table ${table} (${EVENT_COLUMNS})`).join(';');
  await query(rig.source, ddl);
  const opened = performance.now();
  const connections = await connectBoth(rig);
  const openSeconds = (performance.now() - opened) / 1000;
  const pids = ROLES.map((role) => rig.processes.get(role)?.pid as number);
  const [table, files] = connections as [string, string];
  const stages = await watchStages(rig, { table, files });
  const cpuBefore = pids.map(cpuSeconds);
  const watched = await loadAndWatch(rig, tables);
  const cpu = pids.map((pid, i) => cpuSeconds(pid) - (cpuBefore[i] as number));
  for (const connectionId of connections) await sync(rig, connectionId, PATIENCE_MS);
  const there = await delivered(rig, tables);
  return {
    tables: TABLES,
    openSeconds: Math.round(openSeconds * 10) / 10,
    changesPerSecond: RATE,
    written: watched.written,
    equal: there.rows === watched.written,
    ...delaysOf(watched.delays),
    warmUp: { seconds: WARM_UP_SECONDS, ...delaysOf(watched.warmUpDelays) },
    changesPerTargetTransaction: Math.round((there.rows / there.transactions) * 10) / 10,
    cpuCores: Object.fromEntries(
      ROLES.map((role, i) => [
        role,
        Math.round(((cpu[i] as number) / (WARM_UP_SECONDS + SECONDS)) * 100) / 100,
      ]),
    ),
    files: await countFiles(rig),
    peakMB: Object.fromEntries(
      ROLES.map((role, i) => [role, Math.round(peakMegabytes(pids[i] as number))]),
    ),
    stages: await stages(),
    load: loadAverage(),
  };
}

async function connectBoth(rig: Rig): Promise<string[]> {
  const sourceId = await createSource(rig, cdcSourceConfig(rig.source));
  const tables = await createDestination(rig, 'postgres', postgresConfig(rig.target));
  const files = await createDestination(
    rig,
    's3',
    parquetConfig(rig.minio as NonNullable<Rig['minio']>),
  );
  const connections: string[] = [];
  for (const [destinationId, mode] of [
    [tables, 'append_dedup'],
    [files, 'append'],
  ] as const) {
    const connectionId = await createConnection(rig, sourceId, destinationId, () => mode);
    await sync(rig, connectionId, PATIENCE_MS);
    connections.push(connectionId);
  }
  return connections;
}

interface Watched {
  readonly written: number;
  /** Sorted, as the other. */
  readonly delays: readonly number[];
  readonly warmUpDelays: readonly number[];
}

const delaysOf = (delays: readonly number[]) => ({
  p50ms: Math.round(percentile(delays, 0.5)),
  p99ms: Math.round(percentile(delays, 0.99)),
});

async function loadAndWatch(rig: Rig, tables: readonly string[]): Promise<Watched> {
  const lane = new LoadLane(0, 1);
  const probe = new LoadLane(1, 1);
  const watch = new LaneWatch(probe);
  const target = await connectTo(rig.target);
  let writing = true;
  const watching = (async () => {
    while (writing) {
      await watch.look(target, tables[0] as string);
      await delay(10);
    }
  })();
  const tableAt = (transaction: number): string => tables[transaction % tables.length] as string;
  // The probe's rows are a part of the load, in one table, so that a look tells of all of them.
  const write = (seconds: number) =>
    Promise.all([
      lane.write(rig.source, RATE * 0.95, seconds, tableAt),
      probe.write(rig.source, RATE * 0.05, seconds, () => tables[0] as string),
    ]);
  await write(WARM_UP_SECONDS);
  const warm = probe.committedAt.length;
  await write(SECONDS);
  writing = false;
  await watching;
  await target.end();
  return {
    written: lane.written + probe.written,
    delays: watch.delays.slice(warm).toSorted((a, b) => a - b),
    warmUpDelays: watch.delays.slice(0, warm).toSorted((a, b) => a - b),
  };
}

/** Rows in the target, and how many of its transactions brought them. */
async function delivered(
  rig: Rig,
  tables: readonly string[],
): Promise<{ readonly rows: number; readonly transactions: number }> {
  const all = tables.map((table) => `select xmin::text x from ${table}`).join(' union all ');
  const [found] = await query<{ rows: number; transactions: number }>(
    rig.target,
    `select count(*)::int rows, count(distinct x)::int transactions from (${all}) each`,
  );
  return found ?? { rows: 0, transactions: 0 };
}

async function countFiles(rig: Rig): Promise<number> {
  const client = objectStore(rig.minio as NonNullable<Rig['minio']>);
  let files = 0;
  for await (const page of paginateListObjectsV2({ client }, { Bucket: BUCKET })) {
    files += (page.Contents ?? []).filter(({ Key }) => Key?.endsWith('.parquet')).length;
  }
  client.destroy();
  return files;
}
