import { setTimeout as delay } from 'node:timers/promises';
import { processStat } from '../../core/run/process-stat.ts';
import { query, type Rig } from '../support/rig.ts';
import { randomOf, type Fault } from './fault-schedule.ts';
import { signal, type Fleet } from './fleet.ts';
import { PLANTED_BUGS, type PlantedBug } from './planted-bugs.ts';
import { torture, type TortureOptions, type TortureResult } from './torture-run.ts';

export interface PlantedOptions {
  /** Numbers of the bugs, from 1 on; all when not given. */
  readonly only?: readonly number[];
  /** The same faults without the bugs: nothing may show. */
  readonly control: boolean;
  report(line: string): void;
}

export interface PlantedResult {
  readonly bugs: number;
  /** By name, the seed that showed it; null: none of the five did. */
  readonly caught: Record<string, number | null>;
}

const SEEDS = [1, 2, 3, 4, 5];
const STRESS_MS = 22_000;
/** Beyond a lease, so that another instance takes over. */
const STOPPED_MS = 9_000;

/** Can the torture see? Each bug is to be found by one of five seeds. */
export async function plantedRuns(options: PlantedOptions): Promise<PlantedResult> {
  const bugs = PLANTED_BUGS.filter((_, i) => options.only?.includes(i + 1) ?? true);
  const caught: Record<string, number | null> = {};
  for (const bug of bugs) {
    caught[bug.name] = null;
    for (const seed of options.control ? SEEDS.slice(0, 1) : SEEDS) {
      const result = await torture(runOf(bug, seed, options));
      const shown = shownBy(bug, result);
      options.report(JSON.stringify({ bug: bug.name, seed, shown, problems: result['problems'] }));
      if (Object.keys(shown).length === 0) continue;
      caught[bug.name] = seed;
      break;
    }
  }
  return { bugs: bugs.length, caught };
}

/** Records that did not arrive in time are not lost. */
function shownBy(bug: PlantedBug, result: TortureResult): Record<string, unknown> {
  const counts = bug.shows.filter(
    (count) => Number(result[count]) > 0 && (count !== 'lost' || result.stuck === 0),
  );
  return Object.fromEntries(counts.map((count) => [count, result[count]]));
}

function runOf(bug: PlantedBug, seed: number, options: PlantedOptions): TortureOptions {
  const random = randomOf(seed);
  const between = (from: number, to: number): number => Math.round(from + random() * (to - from));
  const schedule = bug.faults.map((fault, i): Fault => {
    const third = STRESS_MS / (bug.faults.length + 1);
    return { ...fault, atMs: between(third * (i + 0.5), third * (i + 1.4)) };
  });
  const failpoint = bug.failpoint?.replace('N', String(between(4, 14)));
  return {
    minutes: STRESS_MS / 60_000,
    seed,
    schedule,
    environment: {
      ...(options.control ? {} : planting(bug)),
      ...(failpoint === undefined
        ? {}
        : { HEADRACE_FAILPOINTS: failpoint, HEADRACE_FAILPOINTS_ALLOWED: 'yes' }),
    },
    disturb: (rig, fleet) => disturb(bug, rig, fleet),
    report: options.report,
  };
}

function planting({ name }: PlantedBug): Record<string, string> {
  const hook = new URL('./planting.ts', import.meta.url).href;
  return { NODE_OPTIONS: `--import=${hook}`, PLANTED_BUG: name };
}

/** As long as the stress lasts: wakes up who stopped itself, and does what the bug needs at the target. */
async function disturb(bug: PlantedBug, rig: Rig, fleet: Fleet): Promise<void> {
  const started = Date.now();
  const stoppedSince = new Map<number, number>();
  let orders = bug.sql === undefined ? [] : [0.4, 0.6, 0.8];
  while (Date.now() - started < STRESS_MS) {
    await delay(250);
    await wakeStopped(fleet, stoppedSince);
    if (Date.now() - started < (orders[0] ?? Infinity) * STRESS_MS) continue;
    orders = orders.slice(1);
    await query(rig.target, bug.sql as string);
  }
  await delay(STOPPED_MS);
  await wakeStopped(fleet, stoppedSince);
}

async function wakeStopped(fleet: Fleet, since: Map<number, number>): Promise<void> {
  for (const pid of [...(await fleet.pidsOf('source')), ...(await fleet.pidsOf('sink'))]) {
    if (processStat(pid)?.state !== 'T') since.delete(pid);
    else if (!since.has(pid)) since.set(pid, Date.now());
    else if (Date.now() - (since.get(pid) as number) >= STOPPED_MS) signal(pid, 'SIGCONT');
  }
}
