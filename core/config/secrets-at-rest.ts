import { PipelineError } from '../errors/pipeline-error.ts';
import type { Settings } from './settings.ts';

/** Whether passwords of connectors lie in the store in clear. Throws CFG_SECRET_KEY_REQUIRED where
 * NODE_ENV is production: whoever reads the store's disk or its backup would have every database. */
export function secretsLieInClear(
  { secretKey }: Pick<Settings, 'secretKey'>,
  env: Readonly<Record<string, string | undefined>> = process.env,
): boolean {
  if (secretKey !== null) return false;
  if (env['NODE_ENV'] !== 'production') return true;
  throw new PipelineError(
    'CFG_SECRET_KEY_REQUIRED',
    'HEADRACE_SECRET_KEY is not set: passwords of connectors would lie in the store in clear',
  );
}
