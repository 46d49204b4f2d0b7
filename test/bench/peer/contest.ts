import { spawnSync } from 'node:child_process';
import { cpus } from 'node:os';
import { median } from '../process-figures.ts';
import { CONNECT_JAVA, PEER_VERSIONS } from './jars.ts';

export const RUNS = Number(process.env['BENCH_RUNS'] ?? 3);

/** What one run gave, by name. */
export type Figures = Readonly<Record<string, number>>;

export interface Side {
  readonly name: string;
  /** One run, delivered in full: rejects when anything is missing. */
  run(number: number): Promise<Figures>;
}

/** All sides in turn, RUNS times, every other time in reverse; the median of each figure by side. */
export async function contest(sides: readonly Side[]): Promise<Record<string, Figures>> {
  const runs = new Map<string, Figures[]>(sides.map(({ name }) => [name, []]));
  for (let number = 1; number <= RUNS; number++) {
    for (const { name, run } of number % 2 === 1 ? sides : sides.toReversed()) {
      const figures = await run(number);
      process.stdout.write(`${name}, run ${number}: ${JSON.stringify(figures)}\n`);
      runs.get(name)?.push(figures);
    }
  }
  return Object.fromEntries([...runs].map(([name, each]) => [name, medians(each)]));
}

function medians(runs: readonly Figures[]): Figures {
  const names = Object.keys(runs[0] ?? {});
  return Object.fromEntries(
    names.map((name) => [name, median(runs.map((run) => run[name] as number))]),
  );
}

/** How many times more of a figure one side has; what is to be above 1 is named in the figure. */
export function times(
  more: Figures | undefined,
  less: Figures | undefined,
  figure: string,
): number {
  return Math.round(((more?.[figure] ?? NaN) / (less?.[figure] ?? NaN)) * 100) / 100;
}

/** Our rate over theirs, with what it is to be; and theirs over ours of what is better small. */
export function compared(ours: Figures | undefined, theirs: Figures | undefined, bar: number) {
  const rate = times(ours, theirs, 'perSecond');
  return {
    rate,
    bar,
    met: rate >= bar,
    wall: times(theirs, ours, 'wallSeconds'),
    systemCpu: times(theirs, ours, 'systemCpuSeconds'),
    allCpu: times(theirs, ours, 'allCpuSeconds'),
    peakMB: times(theirs, ours, 'peakMB'),
  };
}

export function conditions(): Record<string, unknown> {
  const { stdout } = spawnSync(CONNECT_JAVA, ['--version'], { encoding: 'utf8' });
  const java = stdout.split('\n')[0];
  return { runs: RUNS, cores: cpus().length, versions: { ...PEER_VERSIONS, java } };
}

export const rounded = (value: number): number => Math.round(value * 100) / 100;
