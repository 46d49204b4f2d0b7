import { readFileSync, writeFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { runMatrix, startMatrixRig, type Cell } from './matrix-run.ts';
import { ACTIONS, POINTS, type Action } from './matrix-points.ts';
import type { CellResult } from './matrix-cell.ts';

/**
 * `npm run matrix`: every place × {kill, stop of 70 s while a second instance takes over, error,
 * delay}, as real processes on real servers. `--only TEXT` takes the places whose name has the text,
 * `--actions kill,stop` some of the actions. Prints the table; the last line is one JSON object; exit
 * 1 when a cell failed. `--write` puts the table of a whole run that passed into docs/failures.md.
 */
const { values } = parseArgs({
  options: {
    only: { type: 'string', default: '' },
    actions: { type: 'string', default: ACTIONS.join(',') },
    busy: { type: 'string', default: '2' },
    waiting: { type: 'string', default: '4' },
    write: { type: 'boolean', default: false },
  },
});
// The servers and instances are ended by what runs at an exit.
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => process.exit(1));
const actions = values.actions.split(',') as Action[];
const cells: Cell[] = POINTS.filter(({ name }) => name.includes(values.only)).flatMap((point) =>
  actions.map((action) => ({ point, action })),
);
// Nothing tried is nothing proved.
if (cells.length === 0 || actions.some((action) => !ACTIONS.includes(action))) {
  const places = POINTS.map(({ name }) => name).join(', ');
  process.stderr.write(`--only and --actions name no cells: ${ACTIONS.join(', ')}; ${places}\n`);
  process.exit(2);
}
const started = Date.now();
const results = await onRig();
const failed = results.filter(({ problems }) => problems.length > 0);
process.stdout.write(`\n${table(results)}\n`);
const recoveries = results.flatMap(({ recoveryMs }) => recoveryMs ?? []).toSorted((a, b) => a - b);
process.stdout.write(
  `${JSON.stringify({
    cells: results.length,
    passed: results.length - failed.length,
    failed: failed.map(({ point, action }) => `${point.name}=${action}`),
    minutes: Math.round((Date.now() - started) / 6_000) / 10,
    recoveryMedianMs: recoveries[Math.floor(recoveries.length / 2)] ?? null,
    recoveryMaxMs: recoveries.at(-1) ?? null,
  })}\n`,
);
const hasPassed = failed.length === 0 && results.length === cells.length;
if (values.write && hasPassed && cells.length === POINTS.length * ACTIONS.length) writeTable();
process.exit(hasPassed ? 0 : 1);

function writeTable(): void {
  const page = new URL('../../docs/failures.md', import.meta.url);
  const day = new Date().toISOString().slice(0, 10);
  const text = `${day}, seconds until the work went on:\n\n${table(results)}`;
  const [begin, end] = ['<!-- matrix -->', '<!-- /matrix -->'];
  const old = readFileSync(page, 'utf8');
  const from = old.indexOf(begin) + begin.length;
  writeFileSync(page, `${old.slice(0, from)}\n${text}\n${old.slice(old.indexOf(end))}`);
}

async function onRig(): Promise<CellResult[]> {
  await using rig = await startMatrixRig();
  return await runMatrix(rig, {
    cells,
    busy: Number(values.busy),
    waiting: Number(values.waiting),
    report: ({ point, action, problems, seconds, recoveryMs }) => {
      const verdict = problems.length === 0 ? 'passed' : `FAILED: ${problems.join('; ')}`;
      const recovery = recoveryMs === null ? 'never' : `${recoveryMs} ms`;
      process.stdout.write(
        `${point.name}=${action} ${verdict} (${seconds} s, on after ${recovery})\n`,
      );
    },
  });
}

/** Places down, actions across; each cell the seconds until the work went on, or that it failed. */
function table(all: readonly CellResult[]): string {
  const lines = [
    `| Row | Step | Place | ${actions.join(' | ')} |`,
    `|---|---|---|${'---|'.repeat(actions.length)}`,
  ];
  for (const point of POINTS) {
    const mine = all.filter((result) => result.point === point);
    if (mine.length === 0) continue;
    const shown = actions.map((action) => {
      const result = mine.find((each) => each.action === action);
      if (result === undefined) return '';
      if (result.problems.length > 0) return 'FAILED';
      return `${((result.recoveryMs ?? 0) / 1000).toFixed(1)} s`;
    });
    lines.push(`| ${point.row} | ${point.step} | \`${point.name}\` | ${shown.join(' | ')} |`);
  }
  return lines.join('\n');
}
