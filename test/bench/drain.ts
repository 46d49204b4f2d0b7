import { performance } from 'node:perf_hooks';
import {
  cdcSourceConfig,
  createConnection,
  createDestination,
  createSource,
  postgresConfig,
  startRig,
  sync,
} from '../support/rig.ts';
import { columnsOf, digest } from '../support/digest.ts';
import { createOrders, writeBacklog } from './backlog.ts';
import { recvlogical } from './physical-limits.ts';
import { cpuSeconds, loadAverage, peakMegabytes } from './process-figures.ts';
import { watchStages } from './stage-shares.ts';

const CHANGES = Number(process.env['BENCH_CHANGES'] ?? 1_000_000);

/**
 * A backlog of changes waits in the slot while the source service is down, then drains to a deduped
 * Postgres table; each service is a process of its own. Half inserts, half updates.
 */
export async function drain(): Promise<Record<string, unknown>> {
  await using rig = await startRig({ roles: ['api', 'scheduler', 'source', 'sink'] });
  await createOrders(rig.source);
  const sourceId = await createSource(rig, cdcSourceConfig(rig.source));
  const destinationId = await createDestination(rig, 'postgres', postgresConfig(rig.target));
  const connectionId = await createConnection(rig, sourceId, destinationId, () => 'append_dedup');
  await sync(rig, connectionId);
  await rig.processes.get('source')?.stop();
  await writeBacklog(rig.source, CHANGES);
  const limit = await recvlogical(rig.source, 'headrace', 'headrace', CHANGES);
  const stages = await watchStages(rig, { sink: connectionId });
  const started = performance.now();
  const source = await rig.start('source');
  const startCpu = cpuSeconds(source.pid);
  const sinkPid = rig.processes.get('sink')?.pid as number;
  const sinkCpu = cpuSeconds(sinkPid);
  const job = await sync(rig, connectionId, 600_000);
  const seconds = (performance.now() - started) / 1000;
  const columns = await columnsOf(rig.source, 'orders');
  const [there, here] = await Promise.all([
    digest(rig.target, 'orders', columns),
    digest(rig.source, 'orders', columns),
  ]);
  return {
    changes: CHANGES,
    job: job.job.status,
    equal: there.rows === here.rows && there.hash === here.hash,
    seconds: Math.round(seconds * 10) / 10,
    changesPerSecond: Math.round(CHANGES / seconds),
    sourceCpuMicrosPerChange: micros(cpuSeconds(source.pid) - startCpu),
    sourceStartCpuSeconds: startCpu,
    sinkCpuMicrosPerChange: micros(cpuSeconds(sinkPid) - sinkCpu),
    sourcePeakMB: Math.round(peakMegabytes(source.pid)),
    sinkPeakMB: Math.round(peakMegabytes(sinkPid)),
    recvlogical: limit,
    timesRecvlogical:
      limit === null ? null : Math.round((100 * CHANGES) / seconds / limit.perSecond) / 100,
    stages: await stages(),
    load: loadAverage(),
  };
}

function micros(seconds: number): number {
  return Math.round((seconds * 1e7) / CHANGES) / 10;
}
