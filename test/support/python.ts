import { createHash } from 'node:crypto';
import { mkdirSync, readFileSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { cacheFolder, fetchOnce, requireTool, runFetch } from '../../deploy/local/cache.ts';

/** Other people's clients, by name; what they are installed with stands in `python/<name>.txt`. */
const CLIENTS = {
  prefect: ['prefect-airbyte==0.3.2'],
  // Airbyte's SDK comes with it.
  airflow: ['apache-airflow-providers-airbyte==6.2.0', 'airbyte-api==1.0.1'],
  dagster: ['dagster-airbyte==0.29.27'],
} as const;

/** Whether the machine is said to have no network: only then are tests of real clients left out. */
export const NO_NETWORK = process.env['TEST_NO_NETWORK'] === 'yes';

/** The `bin` folder of a virtual environment with a client and exactly the packages that it was tried
 * with: newer ones of another day must not fail our tests. */
export function clientEnvironment(client: keyof typeof CLIENTS): Promise<string> {
  const constraints = new URL(`python/${client}.txt`, import.meta.url).pathname;
  return pythonEnvironment(CLIENTS[client], constraints);
}

/** The `bin` folder of a virtual environment with these packages (`name==version`), made once and
 * kept. Throws with pip's own words when it cannot be made. */
export async function pythonEnvironment(
  packages: readonly string[],
  constraints?: string,
): Promise<string> {
  requireTool('python3', 'for tests with clients in Python', 'set TEST_NO_NETWORK=yes');
  const pins = constraints === undefined ? '' : readFileSync(constraints, 'utf8');
  const id = createHash('sha256')
    .update(packages.join(' ') + pins)
    .digest('hex')
    .slice(0, 12);
  const folder = join(cacheFolder(), 'python', id);
  const environment = join(folder, 'environment');
  await fetchOnce(join(folder, 'complete'), async () => {
    rmSync(folder, { recursive: true, force: true });
    mkdirSync(join(folder, 'making'), { recursive: true });
    await runFetch('making a Python environment', ['python3', '-m', 'venv', environment]);
    await runFetch(`installing ${packages.join(' ')}`, [
      join(environment, 'bin', 'python'),
      ...['-m', 'pip', 'install', '--quiet'],
      ...(constraints === undefined ? [] : ['--constraint', constraints]),
      ...packages,
    ]);
    renameSync(join(folder, 'making'), join(folder, 'complete'));
  });
  return join(environment, 'bin');
}
