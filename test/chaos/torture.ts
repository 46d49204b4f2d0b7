import { readFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { torture } from './torture-run.ts';
import type { Fault } from './fault-schedule.ts';

/**
 * `npm run torture -- --minutes M --seed S`: works on real servers, hits them and Headrace's own
 * processes, and compares everything with the truth. The schedule is printed first;
 * `--schedule FILE` replays one (the printed line). The last line is one JSON object; exit 1 unless
 * its six counts are zero.
 */
const { values } = parseArgs({
  options: {
    minutes: { type: 'string', default: '2' },
    seed: { type: 'string', default: String(Date.now() % 1_000_000) },
    schedule: { type: 'string' },
  },
});
const schedule =
  values.schedule === undefined
    ? undefined
    : (JSON.parse(readFileSync(values.schedule, 'utf8')) as { schedule: Fault[] }).schedule;
const seed = Number(values.seed);
const result = await torture({
  minutes: Number(values.minutes),
  seed,
  ...(schedule === undefined ? {} : { schedule }),
  report: (line) => process.stdout.write(`${line}\n`),
});
process.stdout.write(`${JSON.stringify({ seed, ...result })}\n`);
const { lost, duplicated, reordered, wrong, torn, stuck, acknowledgedTooEarly } = result;
const bad = [lost, duplicated, reordered, wrong, torn, stuck, Number(acknowledgedTooEarly)];
process.exit(bad.every((count) => count === 0) ? 0 : 1);
