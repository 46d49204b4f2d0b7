import { createHash } from 'node:crypto';
import { mkdirSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { cacheFolder, fetchOnce, runFetch, toolExists } from '../../deploy/local/cache.ts';

/**
 * The `bin` folder of a virtual environment with these packages (`name==version`), made once and
 * kept; null where Python, or the packages, cannot be had: real Python clients are then not tried.
 */
export async function pythonEnvironment(packages: readonly string[]): Promise<string | null> {
  if (!toolExists('python3')) return null;
  const id = createHash('sha256').update(packages.join(' ')).digest('hex').slice(0, 12);
  const folder = join(cacheFolder(), 'python', id);
  const done = join(folder, 'complete');
  try {
    await fetchOnce(done, async () => {
      rmSync(folder, { recursive: true, force: true });
      mkdirSync(join(folder, 'making'), { recursive: true });
      const python = join(folder, 'environment', 'bin', 'python');
      await runFetch('making a Python environment', [
        'python3',
        '-m',
        'venv',
        join(folder, 'environment'),
      ]);
      await runFetch(`installing ${packages.join(' ')}`, [
        python,
        '-m',
        'pip',
        'install',
        '--quiet',
        ...packages,
      ]);
      renameSync(join(folder, 'making'), done);
    });
  } catch (error) {
    process.stderr.write(`no Python environment: ${(error as Error).message}\n`);
    return null;
  }
  return join(folder, 'environment', 'bin');
}
