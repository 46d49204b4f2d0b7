import { performance } from 'node:perf_hooks';
import {
  cdcSourceConfig,
  createConnection,
  createDestination,
  createSource,
  parquetConfig,
  postgresConfig,
  startRig,
  sync,
  type Rig,
} from '../support/rig.ts';
import { columnsOf, digest } from '../support/digest.ts';
import { createOrders, writeBacklog } from './backlog.ts';
import { cpuSeconds, loadAverage, peakMegabytes, treeCpuSeconds } from './process-figures.ts';
import { watchStages } from './stage-shares.ts';

const CHANGES = Number(process.env['BENCH_CHANGES'] ?? 500_000);
const ROLES = ['source', 'sink'] as const;

/**
 * All stages at once: a backlog goes from the slot through Kafka to a deduped table and to Parquet at
 * the same time. CPU per change of every process of the path, servers included, and the share of time
 * that each stage took of its worker.
 */
export async function path(): Promise<Record<string, unknown>> {
  await using rig = await startRig({
    roles: ['api', 'scheduler', 'source', 'sink'],
    withMinio: true,
  });
  await createOrders(rig.source);
  const connections = await connectBoth(rig);
  await rig.processes.get('source')?.stop();
  await writeBacklog(rig.source, CHANGES);
  const [table, files] = connections as [string, string];
  const stages = await watchStages(rig, { table, files });
  const servers = { postgres: rig.target, origin: rig.source, kafka: rig.kafka, minio: rig.minio };
  const before = Object.values(servers).map((server) => treeCpuSeconds(server?.pid as number));
  const sinkBefore = cpuSeconds(rig.processes.get('sink')?.pid as number);
  const started = performance.now();
  await rig.start('source');
  const seconds: number[] = [];
  for (const connectionId of connections) {
    await sync(rig, connectionId, 600_000);
    seconds.push((performance.now() - started) / 1000);
  }
  const micros = (used: number): number => Math.round((used * 1e7) / CHANGES) / 10;
  const [source, sink] = ROLES.map((role) => rig.processes.get(role)?.pid as number) as [
    number,
    number,
  ];
  const cpu = {
    source: micros(cpuSeconds(source)),
    sink: micros(cpuSeconds(sink) - sinkBefore),
    ...Object.fromEntries(
      Object.entries(servers).map(([name, server], i) => [
        name,
        micros(treeCpuSeconds(server?.pid as number) - (before[i] as number)),
      ]),
    ),
  };
  const columns = await columnsOf(rig.source, 'orders');
  const there = await digest(rig.target, 'orders', columns);
  const here = await digest(rig.source, 'orders', columns);
  return {
    changes: CHANGES,
    equal: there.rows === here.rows && there.hash === here.hash,
    changesPerSecond: Math.round(CHANGES / Math.max(...seconds)),
    secondsToTable: Math.round((seconds[0] as number) * 10) / 10,
    secondsToBoth: Math.round(Math.max(...seconds) * 10) / 10,
    cpuMicrosPerChange: cpu,
    stages: await stages(),
    peakMB: { source: Math.round(peakMegabytes(source)), sink: Math.round(peakMegabytes(sink)) },
    load: loadAverage(),
  };
}

async function connectBoth(rig: Rig): Promise<string[]> {
  const sourceId = await createSource(rig, cdcSourceConfig(rig.source));
  const tables = await createDestination(rig, 'postgres', postgresConfig(rig.target));
  const minio = rig.minio as NonNullable<Rig['minio']>;
  const files = await createDestination(rig, 's3', parquetConfig(minio));
  const connections = [
    await createConnection(rig, sourceId, tables, () => 'append_dedup'),
    await createConnection(rig, sourceId, files, () => 'append'),
  ];
  for (const connectionId of connections) await sync(rig, connectionId, 300_000);
  return connections;
}
