import { performance } from 'node:perf_hooks';
import type { HeadraceProcess } from '../../deploy/local/headrace.ts';
import {
  cdcSourceConfig,
  createConnection,
  createDestination,
  createSource,
  postgresConfig,
  startRig,
  sync,
  until,
} from '../support/rig.ts';
import { columnsOf, digest } from '../support/digest.ts';
import { createOrders, writeBacklog } from './backlog.ts';
import { recvlogical } from './physical-limits.ts';
import { cpuSeconds, loadAverage, peakMegabytes } from './process-figures.ts';
import { watchStages } from './stage-shares.ts';

const CHANGES = Number(process.env['BENCH_CHANGES'] ?? 1_000_000);

/**
 * A backlog of changes waits in the slot while both services are down. The source drains it to Kafka,
 * which is what `pg_recvlogical` is compared with; then the sink fills a deduped Postgres table. Each
 * service is a process of its own. Half inserts, half updates.
 */
export async function drain(): Promise<Record<string, unknown>> {
  await using rig = await startRig({ roles: ['api', 'scheduler', 'source', 'sink'] });
  await createOrders(rig.source);
  const sourceId = await createSource(rig, cdcSourceConfig(rig.source));
  const destinationId = await createDestination(rig, 'postgres', postgresConfig(rig.target));
  const connectionId = await createConnection(rig, sourceId, destinationId, () => 'append_dedup');
  await sync(rig, connectionId);
  for (const role of ['source', 'sink'] as const) await rig.processes.get(role)?.stop();
  await writeBacklog(rig.source, CHANGES);
  const limit = await recvlogical(rig.source, 'headrace', 'headrace', CHANGES);
  const stages = await watchStages(rig, { sink: connectionId });
  const capturing = performance.now();
  const source = await rig.start('source');
  const startCpu = cpuSeconds(source.pid);
  await captured(source);
  const captureSeconds = (performance.now() - capturing) / 1000;
  const sourceCpu = cpuSeconds(source.pid) - startCpu;
  const delivering = performance.now();
  const sink = await rig.start('sink');
  const sinkStartCpu = cpuSeconds(sink.pid);
  const job = await sync(rig, connectionId, 600_000);
  const deliverSeconds = (performance.now() - delivering) / 1000;
  const columns = await columnsOf(rig.source, 'orders');
  const [there, here] = await Promise.all([
    digest(rig.target, 'orders', columns),
    digest(rig.source, 'orders', columns),
  ]);
  return {
    changes: CHANGES,
    job: job.job.status,
    equal: there.rows === here.rows && there.hash === here.hash,
    captureSeconds: Math.round(captureSeconds * 10) / 10,
    capturedPerSecond: Math.round(CHANGES / captureSeconds),
    deliverSeconds: Math.round(deliverSeconds * 10) / 10,
    deliveredPerSecond: Math.round(CHANGES / deliverSeconds),
    sourceCpuMicrosPerChange: micros(sourceCpu),
    sourceStartCpuSeconds: startCpu,
    sinkCpuMicrosPerChange: micros(cpuSeconds(sink.pid) - sinkStartCpu),
    sourcePeakMB: Math.round(peakMegabytes(source.pid)),
    sinkPeakMB: Math.round(peakMegabytes(sink.pid)),
    recvlogical: limit,
    timesRecvlogical:
      limit === null ? null : Math.round((100 * CHANGES) / captureSeconds / limit.perSecond) / 100,
    stages: await stages(),
    load: loadAverage(),
  };
}

/** The start of the process counts, as that of `pg_recvlogical` does. */
async function captured(source: HeadraceProcess): Promise<void> {
  await until(
    'the backlog in Kafka',
    async () => {
      const text = await (await fetch(`${source.url}/metrics`)).text();
      const records = /^headrace_source_captured_records_total{.*} (\d+)$/m.exec(text)?.[1];
      return Number(records ?? 0) >= CHANGES;
    },
    600_000,
  );
}

function micros(seconds: number): number {
  return Math.round((seconds * 1e7) / CHANGES) / 10;
}
