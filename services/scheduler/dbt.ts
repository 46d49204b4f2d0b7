import { spawn } from 'node:child_process';
import { realpath } from 'node:fs/promises';
import { isAbsolute, relative, resolve } from 'node:path';
import { createInterface } from 'node:readline';
import { childEnvironment } from '../../core/config/child-environment.ts';
import { resolveSecret } from '../../core/config/secret-references.ts';
import { PipelineError } from '../../core/errors/pipeline-error.ts';
import type { OperatorConfiguration } from '../../core/store/operations.ts';

export interface DbtSettings {
  /** Path of the dbt program; null: there is none. */
  readonly command: string | null;
  /** Folder of the projects that may be run; null: none may. */
  readonly projects: string | null;
}

const MAX_LINES = 5_000;
const MAX_LINE = 2_000;
/** Sooner than a scheduler that ends gives up waiting: nothing of its own may outlive it. */
const KILL_AFTER_MS = 3_000;

/**
 * Runs dbt in its project's folder until it ends or the signal aborts; each line of its output goes
 * to `log`. The project's profiles.yml finds the destination in DBT_HOST, DBT_PORT, DBT_USER,
 * DBT_ENV_SECRET_PASSWORD (which dbt keeps out of its own log), DBT_DBNAME and DBT_SCHEMA. Throws
 * OPS_DBT_UNAVAILABLE and OPS_DBT_FAILED.
 */
export async function runDbt(
  dbt: NonNullable<OperatorConfiguration['dbt']>,
  destination: Readonly<Record<string, unknown>>,
  options: {
    readonly settings: DbtSettings;
    readonly signal: AbortSignal;
    readonly log: (line: string) => Promise<void>;
  },
): Promise<void> {
  const { settings, signal, log } = options;
  if (settings.command === null) {
    throw new PipelineError('OPS_DBT_UNAVAILABLE', 'HEADRACE_DBT_COMMAND is not set');
  }
  const folder = await projectFolder(settings.projects, dbt.gitRepoUrl);
  const words = (dbt.dbtArguments ?? 'run').split(/\s+/).filter((word) => word !== '');
  const child = spawn(settings.command, words, {
    cwd: folder,
    env: childEnvironment(profileVariables(destination)),
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  // A program that does not heed the request to end is killed: a cancel must not wait for it.
  const stop = (): void => {
    child.kill('SIGTERM');
    setTimeout(() => child.kill('SIGKILL'), KILL_AFTER_MS).unref();
  };
  signal.addEventListener('abort', stop, { once: true });
  if (signal.aborted) stop();
  const ended = new Promise<number | null>((onEnd, onError) => {
    child.on('error', onError);
    child.on('close', (code) => onEnd(code));
  });
  // Looked at when the output has ended; until then a failed start is nobody's unhandled rejection.
  ended.catch(() => undefined);
  try {
    await Promise.all([logLines(child.stdout, log), logLines(child.stderr, log)]);
    const code = await ended;
    if (code === 0) return;
    throw new PipelineError('OPS_DBT_FAILED', `dbt ended with ${code ?? 'a signal'}`, {
      details: { code },
    });
  } catch (cause) {
    if (cause instanceof PipelineError) throw cause;
    const why = (cause as { code?: string }).code ?? 'no reason given';
    throw new PipelineError('OPS_DBT_UNAVAILABLE', `dbt cannot be started: ${why}`, { cause });
  } finally {
    signal.removeEventListener('abort', stop);
  }
}

/** A folder below the one for projects: whoever may write a connection must not run what else lies
 * on this machine. */
async function projectFolder(projects: string | null, address: string): Promise<string> {
  if (projects === null) {
    throw new PipelineError('OPS_DBT_UNAVAILABLE', 'HEADRACE_DBT_PROJECTS is not set');
  }
  const path = address.replace(/^file:\/\//, '');
  const refused = (): PipelineError =>
    new PipelineError(
      'OPS_DBT_UNAVAILABLE',
      'gitRepoUrl does not name a folder below HEADRACE_DBT_PROJECTS',
    );
  const root = await realpath(projects).catch(() => null);
  const folder = await realpath(resolve(projects, path)).catch(() => null);
  if (root === null || folder === null) throw refused();
  const inside = relative(root, folder);
  if (inside.startsWith('..') || isAbsolute(inside)) throw refused();
  return folder;
}

function profileVariables(destination: Readonly<Record<string, unknown>>): Record<string, string> {
  const names: Readonly<Record<string, string>> = {
    DBT_HOST: 'host',
    DBT_PORT: 'port',
    DBT_USER: 'username',
    DBT_ENV_SECRET_PASSWORD: 'password',
    DBT_DBNAME: 'database',
    DBT_SCHEMA: 'schema',
  };
  return Object.fromEntries(
    Object.entries(names).flatMap(([variable, field]) => {
      // The profile needs the secret itself where the configuration has a reference to it.
      const given = destination[field];
      const value = field === 'password' ? resolveSecret(given) : given;
      return typeof value === 'string' || typeof value === 'number'
        ? [[variable, String(value)]]
        : [];
    }),
  );
}

/** Reads on when there is more than is kept: a full pipe would stop the program. */
async function logLines(
  stream: NodeJS.ReadableStream,
  log: (line: string) => Promise<void>,
): Promise<void> {
  let lines = 0;
  for await (const line of createInterface({ input: stream })) {
    lines++;
    if (lines === MAX_LINES) await log(`(further lines are left out)`);
    if (lines < MAX_LINES) await log(line.slice(0, MAX_LINE));
  }
}
