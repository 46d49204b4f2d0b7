import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';

/** `npm run verify`: what must hold before a commit; no servers, under a minute. */

const ROOT = fileURLToPath(new URL('..', import.meta.url));
const FOLDERS = 'core schemas topics connectors services deploy test scripts'.split(' ');
const CODE = [...FOLDERS, 'vitest.config.ts'];

const STEPS: readonly (readonly [title: string, program: string, ...args: string[]])[] = [
  ['format', 'prettier', '--check', '--log-level=warn', ...CODE, 'package.json', 'tsconfig.json'],
  // The folders by name: with none given the linter walks everything that is not ignored.
  ['lint', 'oxlint', '--quiet', ...CODE],
  ['types', 'tsc', '-p', '.'],
  ['borders and unit tests', 'vitest', 'run', '--project', 'unit', '--reporter=dot'],
];

const failed: string[] = [];
for (const [title, program, ...args] of STEPS) {
  const started = performance.now();
  const { status } = spawnSync(program, args, { cwd: ROOT, stdio: 'inherit' });
  const seconds = ((performance.now() - started) / 1000).toFixed(1);
  console.log(`${status === 0 ? 'ok    ' : 'FAILED'} ${title} (${seconds} s)`);
  if (status !== 0) failed.push(title);
}
if (failed.length > 0) console.log(`verify failed: ${failed.join(', ')}`);
process.exitCode = failed.length === 0 ? 0 : 1;
