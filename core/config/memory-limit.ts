import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { PipelineError } from '../errors/pipeline-error.ts';
import { loadResources, type ResourceGroup, type ResourcesFile } from './resources.ts';

const MIB = 1024 * 1024;
/** Where Airbyte's documentation has the file. */
const USUAL_PATH = 'config/airbyte/config.yaml';
/** Below it the program itself would not start. */
const LEAST_HEAP_MB = 128;

/**
 * Makes this process keep to the memory that Airbyte's settings give to its groups: buffers by
 * HEADRACE_MEMORY_MB, the heap by Node's own limit, for which the process begins anew in its own
 * place. Of a process that works for several groups the largest limit counts. HEADRACE_MEMORY_MB
 * itself goes before all of them. Throws CFG_INVALID_SETTING, also for amounts that do not count.
 */
export function keepToMemoryLimit(groups: readonly ResourceGroup[]): void {
  const { env } = process;
  const limit = memoryLimitMb(groups, env);
  if (limit === null || (env['HEADRACE_MEMORY_MB'] ?? '').trim() !== '') return;
  env['HEADRACE_MEMORY_MB'] = String(limit);
  process.execve?.(
    process.execPath,
    [
      process.execPath,
      '--disable-warning=ExperimentalWarning',
      ...process.execArgv,
      `--max-old-space-size=${Math.max(LEAST_HEAP_MB, limit)}`,
      ...process.argv.slice(1),
    ],
    env,
  );
}

/** Null: nobody has set one. */
export function memoryLimitMb(
  groups: readonly ResourceGroup[],
  env: Readonly<Record<string, string | undefined>>,
): number | null {
  const resources = loadResources(env, resourcesFile(env));
  const limits = groups.flatMap((group) => resources[group].memory_limit ?? []);
  return limits.length === 0 ? null : Math.floor(Math.max(...limits) / MIB);
}

/** A file that was named must be there; the usual one need not. */
function resourcesFile(env: Readonly<Record<string, string | undefined>>): ResourcesFile | null {
  const named = env['HEADRACE_RESOURCES_FILE']?.trim() ?? '';
  const path = named === '' ? USUAL_PATH : named;
  try {
    return { path, text: readFileSync(resolve(path), 'utf8') };
  } catch (cause) {
    const { code = '' } = cause as NodeJS.ErrnoException;
    if (named === '' && code === 'ENOENT') return null;
    throw new PipelineError('CFG_INVALID_SETTING', `${path} (resources) cannot be read: ${code}`, {
      cause,
    });
  }
}
