import { spawn, spawnSync } from 'node:child_process';
import {
  existsSync,
  mkdirSync,
  openSync,
  closeSync,
  readFileSync,
  rmSync,
  writeSync,
} from 'node:fs';
import { homedir } from 'node:os';
import { dirname, join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { PipelineError } from '../../core/errors/pipeline-error.ts';
import { identify, isAlive, type OwnProcess } from './process.ts';

/** Where fetched servers are kept between runs: HEADRACE_CACHE, else ~/.cache/headrace. */
export function cacheFolder(): string {
  return process.env['HEADRACE_CACHE'] || join(homedir(), '.cache', 'headrace');
}

/** What a fetch tells the person who waits for it; on standard error, which no program parses. */
export function reportProgress(text: string): void {
  process.stderr.write(`${text}\n`);
}

/**
 * Makes `path` once for all processes of this machine. `make` must bring the path into being by
 * a rename as its last act, so that a killed fetch leaves nothing that looks complete.
 */
export async function fetchOnce(path: string, make: () => Promise<void>): Promise<string> {
  if (existsSync(path)) return path;
  await withLock(path, `fetches ${path}`, async () => {
    if (!existsSync(path)) await make();
  });
  return path;
}

/** Runs `work` while no other process of this machine does it; `what` tells those who wait. */
export async function withLock<T>(path: string, what: string, work: () => Promise<T>): Promise<T> {
  const lock = `${path}.lock`;
  mkdirSync(dirname(lock), { recursive: true });
  await takeLock(lock, what);
  try {
    return await work();
  } finally {
    rmSync(lock, { force: true });
  }
}

async function takeLock(lock: string, what: string): Promise<void> {
  let told = false;
  for (;;) {
    try {
      const file = openSync(lock, 'wx');
      writeSync(file, JSON.stringify(identify(process.pid)));
      closeSync(file);
      return;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
    }
    if (await holderIsGone(lock)) {
      rmSync(lock, { force: true });
      continue;
    }
    if (!told) reportProgress(`waiting for another process, which ${what}`);
    told = true;
    await pause(200);
  }
}

/** An empty lock is one being written, unless it stays empty: its writer died in between. */
async function holderIsGone(lock: string): Promise<boolean> {
  for (let look = 0; look < 20; look++) {
    try {
      const text = readFileSync(lock, 'utf8');
      if (text !== '') return !isAlive(JSON.parse(text) as OwnProcess);
    } catch {
      return false;
    }
    await pause(50);
  }
  return true;
}

export function toolExists(tool: string): boolean {
  return spawnSync('sh', ['-c', `command -v "${tool}"`], { stdio: 'ignore' }).status === 0;
}

/** Throws STACK_TOOL_MISSING, naming the tool, what it is for, and what works without it. */
export function requireTool(tool: string, purpose: string, without: string): void {
  if (toolExists(tool)) return;
  throw new PipelineError(
    'STACK_TOOL_MISSING',
    `'${tool}' is not installed; it is needed ${purpose}. Without it: ${without}`,
    { details: { tool } },
  );
}

/** Runs a fetching program, its output kept for the error; tells every ten seconds that it goes on. */
export async function runFetch(
  title: string,
  command: readonly [string, ...string[]],
  options: Pick<RunOptions, 'cwd' | 'environment'> = {},
): Promise<void> {
  const [program, ...args] = command;
  const started = performance.now();
  const seconds = () => Math.round((performance.now() - started) / 1000);
  reportProgress(`${title} ...`);
  const ticker = setInterval(() => reportProgress(`${title} ... ${seconds()} s`), 10_000);
  try {
    const { status, output } = await collect(program, args, options);
    if (status !== 0) {
      throw new PipelineError('STACK_FETCH_FAILED', `${title} failed (${status}):\n${output}`);
    }
    reportProgress(`${title}: done in ${seconds()} s`);
  } finally {
    clearInterval(ticker);
  }
}

/** Runs a server's preparing program (initdb, format) in an environment of its own, without a word. */
export async function runQuietly(
  title: string,
  command: readonly [string, ...string[]],
  environment: Readonly<Record<string, string>>,
): Promise<void> {
  const [program, ...args] = command;
  const { status, output } = await collect(program, args, {
    cwd: '/',
    onlyEnvironment: environment,
  });
  if (status === 0) return;
  throw new PipelineError('STACK_SERVER_FAILED', `${title} failed (${status}):\n${output}`);
}

interface RunOptions {
  readonly cwd?: string;
  /** Added to ours. */
  readonly environment?: Readonly<Record<string, string>>;
  /** In place of ours. */
  readonly onlyEnvironment?: Readonly<Record<string, string>>;
}

function collect(
  program: string,
  args: readonly string[],
  options: RunOptions,
): Promise<{ status: number | null; output: string }> {
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: options.onlyEnvironment ?? { ...process.env, ...options.environment },
      ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
    });
    let output = '';
    const keepTail = (chunk: Buffer) => (output = (output + chunk.toString()).slice(-4_000));
    child.stdout.on('data', keepTail);
    child.stderr.on('data', keepTail);
    child.once('error', reject);
    child.once('close', (status) => resolve({ status, output }));
  });
}
