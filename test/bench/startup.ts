import { performance } from 'node:perf_hooks';
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
  until,
} from '../support/rig.ts';
import { loadAverage, median, peakMegabytes } from './process-figures.ts';
import { watchStages } from './stage-shares.ts';

const RUNS = Number(process.env['BENCH_RUNS'] ?? 5);

/**
 * From the start of the processes of source and sink to the first change in the destination: it is
 * committed while both are down. Then the same of `up`, where the embedded store starts as well.
 */
export async function startup(): Promise<Record<string, unknown>> {
  const roles = await firstChange(['source', 'sink']);
  const all = await firstChange(['up']);
  return { runs: RUNS, sourceAndSink: roles, up: all, load: loadAverage() };
}

type Restarted = 'source' | 'sink' | 'up';

async function firstChange(restarted: readonly Restarted[]): Promise<Record<string, unknown>> {
  const apart = !restarted.includes('up');
  await using rig = await startRig(
    apart ? { roles: ['api', 'scheduler', 'source', 'sink'] } : { roles: ['up'] },
  );
  await query(rig.source, 'create table events (id bigint primary key)');
  const sourceId = await createSource(rig, cdcSourceConfig(rig.source));
  const destinationId = await createDestination(rig, 'postgres', postgresConfig(rig.target));
  const connectionId = await createConnection(rig, sourceId, destinationId, () => 'append_dedup');
  await sync(rig, connectionId);
  const target = await connectTo(rig.target);
  const stages = await watchStages(rig, { sink: connectionId });
  const seconds: number[] = [];
  for (let run = 1; run <= RUNS; run++) {
    for (const role of restarted) await rig.processes.get(role)?.stop();
    await query(rig.source, 'insert into events values ($1)', [run]);
    const started = performance.now();
    const starting = Promise.all(restarted.map((role) => rig.start(role)));
    await until('the change', async () => {
      const { rows } = await target.query('select 1 from events where id = $1', [run]);
      return rows.length > 0;
    });
    seconds.push((performance.now() - started) / 1000);
    await starting;
  }
  await target.end();
  await sync(rig, connectionId);
  const peaks = restarted.map((role) => peakMegabytes(rig.processes.get(role)?.pid as number));
  return {
    secondsMedian: Math.round(median(seconds) * 100) / 100,
    secondsMaximum: Math.round(Math.max(...seconds) * 100) / 100,
    stages: await stages(),
    peakMB: peaks.map(Math.round),
  };
}
