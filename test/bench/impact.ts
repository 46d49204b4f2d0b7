import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import type { LocalServer } from '../../deploy/local/local-server.ts';
import {
  cdcSourceConfig,
  createConnection,
  createDestination,
  createSource,
  postgresConfig,
  startRig,
  sync,
} from '../support/rig.ts';
import { loadAverage, median, treeCpuSeconds } from './process-figures.ts';
import { watchStages } from './stage-shares.ts';

const run = promisify(execFile);
const SCALE = process.env['BENCH_SCALE'] ?? '10';
const SECONDS = Number(process.env['BENCH_SECONDS'] ?? 20);
const RUNS = Number(process.env['BENCH_RUNS'] ?? 3);
/** A load that leaves the machine room: at full speed everything on it would compete for two cores. */
const RATE = Number(process.env['BENCH_RATE'] ?? 500);

interface Round {
  readonly perSecond: number;
  readonly latencyMs: number;
  readonly serverCpuMicros: number;
}

/**
 * pgbench against a source that is captured and against the same one while its capture is stopped, by
 * turns: at full speed, and at a rate that both can hold, where what it costs shows as latency and as
 * CPU of the server per transaction. Needs pgbench.
 */
export async function impact(): Promise<Record<string, unknown>> {
  await using rig = await startRig({ roles: ['api', 'scheduler', 'source', 'sink'] });
  await pgbench(rig.source, '-i', '-q', '-s', SCALE);
  const sourceId = await createSource(rig, cdcSourceConfig(rig.source));
  const destinationId = await createDestination(rig, 'postgres', postgresConfig(rig.target));
  const connectionId = await createConnection(rig, sourceId, destinationId, (_stream, keyed) =>
    keyed ? 'append_dedup' : 'append',
  );
  await sync(rig, connectionId, 300_000);
  await rig.processes.get('source')?.stop();
  const stages = await watchStages(rig, { sink: connectionId });
  const rounds = { full: twoSides(), rated: twoSides() };
  for (let i = 0; i < RUNS; i++) {
    for (const captured of i % 2 === 0 ? [true, false] : [false, true]) {
      if (captured) {
        await rig.start('source');
        await sync(rig, connectionId, 300_000);
      }
      const side = captured ? 'captured' : 'alone';
      rounds.full[side].push(await round(rig.source, []));
      rounds.rated[side].push(await round(rig.source, ['-R', String(RATE)]));
      if (!captured) continue;
      await sync(rig, connectionId, 300_000);
      await rig.processes.get('source')?.stop();
    }
  }
  return {
    seconds: SECONDS,
    runs: RUNS,
    fullSpeed: compared(rounds.full),
    atRate: { perSecond: RATE, ...compared(rounds.rated) },
    stages: await stages(),
    load: loadAverage(),
  };
}

interface TwoSides {
  readonly captured: Round[];
  readonly alone: Round[];
}

function twoSides(): TwoSides {
  return { captured: [], alone: [] };
}

async function pgbench(server: LocalServer, ...args: string[]): Promise<string> {
  const at = ['-h', server.host, '-p', String(server.port), '-U', 'postgres'];
  return (await run('pgbench', [...at, ...args, 'postgres'], { timeout: 300_000 })).stdout;
}

async function round(server: LocalServer, args: readonly string[]): Promise<Round> {
  const before = treeCpuSeconds(server.pid);
  const said = await pgbench(server, '-n', '-c', '4', '-T', String(SECONDS), ...args);
  const cpu = treeCpuSeconds(server.pid) - before;
  const figure = (pattern: RegExp): number => Number(pattern.exec(said)?.[1] ?? Number.NaN);
  const perSecond = figure(/tps = ([0-9.]+)/);
  return {
    perSecond,
    latencyMs: figure(/latency average = ([0-9.]+)/),
    serverCpuMicros: (cpu * 1e6) / (perSecond * SECONDS),
  };
}

function compared({ captured, alone }: TwoSides): Record<string, unknown> {
  const of = (side: readonly Round[], figure: keyof Round): number =>
    Math.round(median(side.map((each) => each[figure])) * 100) / 100;
  const ratio = (figure: keyof Round): number =>
    Math.round((of(captured, figure) / of(alone, figure)) * 1000) / 1000;
  return {
    transactionsPerSecond: [of(captured, 'perSecond'), of(alone, 'perSecond')],
    throughputRatio: ratio('perSecond'),
    latencyMs: [of(captured, 'latencyMs'), of(alone, 'latencyMs')],
    serverCpuMicros: [of(captured, 'serverCpuMicros'), of(alone, 'serverCpuMicros')],
  };
}
