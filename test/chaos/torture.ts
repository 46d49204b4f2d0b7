import { readFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { plantedRuns } from './planted.ts';
import { torture } from './torture-run.ts';
import type { Fault } from './fault-schedule.ts';

/**
 * `npm run torture -- --minutes M --seed S [--source postgres|mysql|mariadb]`: works on real servers, hits them and Headrace's own
 * processes, and compares everything with the truth. The schedule is printed first;
 * `--schedule FILE` replays one (the printed line), `--fixed-schema` adds no columns. The last line is one JSON object; exit 1 unless
 * its six counts are zero, and five more.
 *
 * `--planted` puts ten bugs into the program, one after the other, each of which must show under one
 * of five seeds: `10/10`. `--only 3,8` takes some of them; `--control` does the same to the program as
 * it is, and nothing may show.
 */
const { values } = parseArgs({
  options: {
    minutes: { type: 'string', default: '2' },
    seed: { type: 'string', default: String(Date.now() % 1_000_000) },
    schedule: { type: 'string' },
    source: { type: 'string', default: 'postgres' },
    'fixed-schema': { type: 'boolean', default: false },
    planted: { type: 'boolean', default: false },
    only: { type: 'string' },
    control: { type: 'boolean', default: false },
  },
});
// The servers and instances are ended by what runs at an exit.
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => process.exit(1));
const SOURCES = ['postgres', 'mysql', 'mariadb'] as const;
const say = (line: string): boolean => process.stdout.write(`${line}\n`);
if (values.planted) process.exit(await plantedBugs());
const schedule =
  values.schedule === undefined
    ? undefined
    : (JSON.parse(readFileSync(values.schedule, 'utf8')) as { schedule: Fault[] }).schedule;
const seed = Number(values.seed);
const source = SOURCES.find((kind) => kind === values.source);
if (source === undefined) {
  process.stderr.write(`--source is one of ${SOURCES.join(', ')}\n`);
  process.exit(2);
}
const result = await torture({
  minutes: Number(values.minutes),
  seed,
  source,
  hasFixedSchema: values['fixed-schema'],
  ...(schedule === undefined ? {} : { schedule }),
  report: say,
});
say(JSON.stringify({ source, seed, ...result }));
const { lost, duplicated, reordered, wrong, torn, stuck } = result;
const others = ['acknowledgedTooEarly', 'unequal', 'leaked', 'unexplained', 'exposed'].map(
  (count) => Number(result[count]),
);
const bad = [lost, duplicated, reordered, wrong, torn, stuck, ...others];
process.exit(bad.every((count) => count === 0) ? 0 : 1);

async function plantedBugs(): Promise<number> {
  const only = values.only?.split(',').map(Number);
  const { bugs, caught } = await plantedRuns({
    control: values.control,
    report: say,
    ...(only === undefined ? {} : { only }),
  });
  const count = Object.values(caught).filter((seed) => seed !== null).length;
  say(JSON.stringify({ planted: `${count}/${bugs}`, control: values.control, caught }));
  return count === (values.control ? 0 : bugs) ? 0 : 1;
}
