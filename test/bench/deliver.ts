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
import type { Codec } from '../../connectors/destinations/s3/codecs.ts';
import { createOrders, writeBacklog } from './backlog.ts';
import { encodedAlone, plainCopy } from './physical-limits.ts';
import {
  cpuSeconds,
  loadAverage,
  median,
  peakMegabytes,
  treeCpuSeconds,
} from './process-figures.ts';
import { watchStages, type StageShares } from './stage-shares.ts';

const CHANGES = Number(process.env['BENCH_CHANGES'] ?? 500_000);
const CODEC = (process.env['BENCH_CODEC'] ?? 'SNAPPY') as Codec;
const RUNS = 3;

interface Landing {
  readonly destination: 'postgres' | 's3';
  readonly mode: 'append' | 'append_dedup';
  readonly config: (rig: Rig, run: number) => Record<string, unknown>;
  /** What the machine allows where less is done. */
  readonly limit: (rig: Rig) => Promise<Record<string, unknown>>;
}

interface Figures {
  readonly perSecond: number;
  readonly sinkCpu: number;
  readonly serverCpu: number;
  readonly sinkPeakMB: number;
}

interface TimedRun {
  readonly figures: Figures;
  readonly stages: StageShares;
}

/** From topics that hold CHANGES changes to a deduped table; equal rows are the proof. */
export const upsert = () =>
  deliver({ destination: 'postgres', mode: 'append_dedup', config: tables, limit: plainCopies });

/** To a table of all changes. */
export const append = () =>
  deliver({ destination: 'postgres', mode: 'append', config: tables, limit: plainCopies });

/** To Parquet files on MinIO; HEADRACE's codecs are given by BENCH_CODEC: SNAPPY, GZIP, ZSTD. */
export const parquet = () =>
  deliver({
    destination: 's3',
    mode: 'append',
    config: (rig, run) => ({
      ...parquetConfig(rig.minio as NonNullable<Rig['minio']>),
      s3_bucket_path: `run${run}`,
      format: {
        format_type: 'Parquet',
        compression_codec: CODEC,
      },
    }),
    limit: async () => ({ withoutKafka: await encodedAlone(CHANGES, CODEC) }),
  });

async function plainCopies(rig: Rig): Promise<Record<string, unknown>> {
  return { plainCopy: await plainCopy(rig.source, 'orders', CHANGES / 2) };
}

function tables(rig: Rig, run: number): Record<string, unknown> {
  return { ...postgresConfig(rig.target), schema: `run${run}` };
}

/** The source is captured once; each run is a new connection that is filled from the topics. */
async function deliver(landing: Landing): Promise<Record<string, unknown>> {
  await using rig = await startRig({
    roles: ['api', 'scheduler', 'source', 'sink'],
    withMinio: landing.destination === 's3',
  });
  const sourceId = await capturedBacklog(rig);
  const runs: TimedRun[] = [];
  for (let run = 0; run < RUNS; run++) runs.push(await timed(rig, sourceId, landing, run));
  const of = (figure: keyof Figures): number => median(runs.map(({ figures }) => figures[figure]));
  return {
    changes: CHANGES,
    runs: RUNS,
    changesPerSecond: Math.round(of('perSecond')),
    sinkCpuMicrosPerChange: round(of('sinkCpu')),
    serverCpuMicrosPerChange: round(of('serverCpu')),
    sinkPeakMB: Math.round(of('sinkPeakMB')),
    ...(await landing.limit(rig)),
    stages: runs.at(-1)?.stages,
    load: loadAverage(),
  };
}

/** A first connection makes the capture; its sink then makes way. */
async function capturedBacklog(rig: Rig): Promise<string> {
  await createOrders(rig.source);
  const sourceId = await createSource(rig, cdcSourceConfig(rig.source));
  const first = await createDestination(rig, 'postgres', {
    ...postgresConfig(rig.target),
    schema: 'first',
  });
  const connectionId = await createConnection(rig, sourceId, first, () => 'append_dedup');
  await sync(rig, connectionId);
  await writeBacklog(rig.source, CHANGES);
  await sync(rig, connectionId, 600_000);
  return sourceId;
}

async function timed(rig: Rig, sourceId: string, landing: Landing, run: number): Promise<TimedRun> {
  await rig.processes.get('sink')?.stop();
  const destinationId = await createDestination(rig, landing.destination, landing.config(rig, run));
  const connectionId = await createConnection(rig, sourceId, destinationId, () => landing.mode);
  const server = landing.destination === 's3' ? rig.minio : rig.target;
  const serverBefore = treeCpuSeconds(server?.pid as number);
  const stages = await watchStages(rig, { sink: connectionId });
  const sink = await rig.start('sink');
  const started = performance.now();
  const cpuBefore = cpuSeconds(sink.pid);
  const job = await sync(rig, connectionId, 600_000);
  if (job.job.status !== 'succeeded') throw new Error(JSON.stringify(job));
  const seconds = (performance.now() - started) / 1000;
  await proveLanded(rig, landing, run);
  const figures = {
    perSecond: CHANGES / seconds,
    sinkCpu: ((cpuSeconds(sink.pid) - cpuBefore) * 1e6) / CHANGES,
    serverCpu: ((treeCpuSeconds(server?.pid as number) - serverBefore) * 1e6) / CHANGES,
    sinkPeakMB: peakMegabytes(sink.pid),
  };
  return { figures, stages: await stages() };
}

/** Rows of the table: one per key, or one per change. Files are proved by their own tests. */
async function proveLanded(rig: Rig, landing: Landing, run: number): Promise<void> {
  if (landing.destination === 's3') return;
  const columns = await columnsOf(rig.source, 'orders');
  const there = await digest(rig.target, `run${run}.orders`, columns);
  const here = await digest(rig.source, 'orders', columns);
  const equal = landing.mode === 'append' ? there.rows === CHANGES : there.hash === here.hash;
  if (!equal) throw new Error(`run ${run}: source and destination differ`);
}

const round = (value: number): number => Math.round(value * 10) / 10;
