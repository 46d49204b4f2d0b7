import {
  cdcSourceConfig,
  createConnection,
  createDestination,
  createSource,
  postgresConfig,
  startRig,
  sync,
  type Rig,
} from '../support/rig.ts';
import { WIRE_HEADER_BYTES } from '../../schemas/envelope/record-view.ts';
import { watchDelays } from './delay-stages.ts';
import { cpuSeconds, loadAverage, peakMegabytes, treeCpuSeconds } from './process-figures.ts';
import { createEvents, RATE, singleRowDelays, spread } from './single-row-load.ts';
import { watchStages } from './stage-shares.ts';

const SECONDS = Number(process.env['BENCH_SECONDS'] ?? 60);
const WARM_UP_SECONDS = 10;
const TOPIC = 'headrace.shop.public.events';

/**
 * RATE single-row transactions a second: from the moment a commit is answered at the source to the
 * moment a reader of committed records has it from the topic, and to the moment a poller of the
 * target sees the row.
 */
export async function latency(): Promise<Record<string, unknown>> {
  await using rig = await startRig();
  await createEvents(rig.source);
  const sourceId = await createSource(rig, cdcSourceConfig(rig.source));
  const destinationId = await createDestination(rig, 'postgres', postgresConfig(rig.target));
  const connectionId = await createConnection(rig, sourceId, destinationId, () => 'append_dedup');
  await sync(rig, connectionId);
  const headrace = rig.processes.get('up')?.pid as number;
  const { delays, ended } = await singleRowDelays({
    source: rig.source,
    target: rig.target,
    table: 'events',
    kafka: rig.kafka,
    topic: TOPIC,
    keyHeaderBytes: WIRE_HEADER_BYTES,
    firstId: 0,
    warmUpSeconds: WARM_UP_SECONDS,
    seconds: SECONDS,
    begin: () => watchProcess(rig, connectionId, headrace),
  });
  const topic = spread(delays.topic);
  const table = spread(delays.table);
  return {
    transactions: RATE * SECONDS,
    seen: delays.table.length,
    perSecond: RATE,
    topicP50ms: topic.p50,
    topicP99ms: topic.p99,
    p50ms: table.p50,
    p95ms: table.p95,
    p99ms: table.p99,
    maxMs: table.max,
    ...ended,
    headracePeakMB: Math.round(peakMegabytes(headrace)),
    load: loadAverage(),
  };
}

/** Where time and CPU go from now on, until the function that it answers is called. */
async function watchProcess(rig: Rig, connectionId: string, headrace: number) {
  const stages = await watchStages(rig, { sink: connectionId });
  const delays = await watchDelays(rig);
  const cpu = watchCpu(rig, headrace);
  return async () => {
    const cpuSecondsPerMinute = cpu();
    return { delayStages: await delays(), stages: await stages(), cpuSecondsPerMinute };
  };
}
/** CPU of everybody on the machine who has a part in it, this program and its load included. */
function watchCpu(rig: Rig, headrace: number): () => Record<string, number> {
  const used = (): Record<string, number> => ({
    headrace: cpuSeconds(headrace),
    kafka: treeCpuSeconds(rig.kafka.pid),
    source: treeCpuSeconds(rig.source.pid),
    target: treeCpuSeconds(rig.target.pid),
    bench: cpuSeconds(process.pid),
  });
  const before = used();
  return () =>
    Object.fromEntries(
      Object.entries(used()).map(([name, seconds]) => [
        name,
        round(((seconds - (before[name] as number)) * 60) / SECONDS),
      ]),
    );
}

const round = (value: number): number => Math.round(value * 10) / 10;
