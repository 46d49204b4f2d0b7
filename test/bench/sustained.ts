import { performance } from 'node:perf_hooks';
import { setTimeout as delay } from 'node:timers/promises';
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
} from '../support/rig.ts';
import { columnsOf, digest } from '../support/digest.ts';
import {
  cpuSeconds,
  loadAverage,
  peakMegabytes,
  percentile,
  residentMegabytes,
} from './process-figures.ts';
import { watchStages } from './stage-shares.ts';
import { slope, type Point } from '../support/slope.ts';
import { EVENT_COLUMNS, LaneWatch, LoadLane } from './steady-load.ts';

const RATE = Number(process.env['BENCH_RATE'] ?? 10_000);
const SECONDS = Number(process.env['BENCH_SECONDS'] ?? 600);
const LANES = 2;
const ROWS_PER_TRANSACTION = 25;
const ROLES = ['source', 'sink'] as const;
/** Until then a process grows to the size at which it works. */
const WARM_SHARE = 1 / 3;

/**
 * RATE rows a second for SECONDS, 25 in a transaction, to a deduped table: how long a transaction
 * takes from its commit until it is seen, and whether what is not seen yet grows, or the memory.
 */
export async function sustained(): Promise<Record<string, unknown>> {
  await using rig = await startRig({ roles: ['api', 'scheduler', 'source', 'sink'] });
  await query(rig.source, `create table events (${EVENT_COLUMNS})`);
  const sourceId = await createSource(rig, cdcSourceConfig(rig.source));
  const destinationId = await createDestination(rig, 'postgres', postgresConfig(rig.target));
  const connectionId = await createConnection(rig, sourceId, destinationId, () => 'append_dedup');
  await sync(rig, connectionId);
  const stages = await watchStages(rig, { sink: connectionId });
  const pids = ROLES.map((role) => rig.processes.get(role)?.pid as number);
  const cpuBefore = pids.map(cpuSeconds);
  const lanes = Array.from({ length: LANES }, (_, i) => new LoadLane(i, ROWS_PER_TRANSACTION));
  const watches = lanes.map((lane) => new LaneWatch(lane));
  const lags: Point[] = [];
  const sizes = pids.map((): Point[] => []);
  const target = await connectTo(rig.target);
  let writing = true;
  const started = performance.now();
  const watching = (async () => {
    while (writing) {
      for (const watch of watches) await watch.look(target, 'events');
      const lag = lanes.reduce(
        (sum, lane, i) =>
          sum + lane.written - (watches[i] as LaneWatch).seen * ROWS_PER_TRANSACTION,
        0,
      );
      const x = (performance.now() - started) / 1000;
      lags.push({ x, y: lag });
      if (x > SECONDS * WARM_SHARE) {
        pids.forEach((pid, i) => sizes[i]?.push({ x: x / 60, y: residentMegabytes(pid) }));
      }
      await delay(10);
    }
  })();
  const perLane = RATE / LANES / ROWS_PER_TRANSACTION;
  await Promise.all(lanes.map((lane) => lane.write(rig.source, perLane, SECONDS, () => 'events')));
  const seconds = (performance.now() - started) / 1000;
  writing = false;
  await watching;
  const cpu = pids.map((pid, i) => cpuSeconds(pid) - (cpuBefore[i] as number));
  await sync(rig, connectionId, 300_000);
  await target.end();
  const columns = await columnsOf(rig.source, 'events');
  const there = await digest(rig.target, 'events', columns);
  const here = await digest(rig.source, 'events', columns);
  const delays = watches.flatMap(({ delays: each }) => each).toSorted((a, b) => a - b);
  const rows = lanes.reduce((sum, lane) => sum + lane.written, 0);
  return {
    wantedPerSecond: RATE,
    writtenPerSecond: Math.round(rows / seconds),
    rows,
    equal: there.rows === here.rows && there.hash === here.hash,
    p50ms: Math.round(percentile(delays, 0.5)),
    p99ms: Math.round(percentile(delays, 0.99)),
    maxMs: Math.round(delays.at(-1) ?? Number.NaN),
    lagGrowthRowsPerSecond: Math.round(slope(lags) * 100) / 100,
    lagAtEndRows: lags.at(-1)?.y,
    cpuMicrosPerRow: Object.fromEntries(
      ROLES.map((role, i) => [role, Math.round(((cpu[i] as number) * 1e7) / rows) / 10]),
    ),
    peakMB: Object.fromEntries(
      ROLES.map((role, i) => [role, Math.round(peakMegabytes(pids[i] as number))]),
    ),
    memoryGrowthMbPerMinute: Object.fromEntries(
      ROLES.map((role, i) => [role, Math.round(slope(sizes[i] as Point[]) * 100) / 100]),
    ),
    stages: await stages(),
    load: loadAverage(),
  };
}
