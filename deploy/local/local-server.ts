import { spawn } from 'node:child_process';
import { closeSync, mkdirSync, openSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { PipelineError } from '../../core/errors/pipeline-error.ts';
import { portIsFree } from './free-port.ts';
import { endProcess, identify, isAlive, type OwnProcess } from './process.ts';

/** A real server as a plain process on the loopback interface. */
export interface LocalServer {
  readonly name: string;
  readonly host: string;
  readonly port: number;
  readonly pid: number;
  /** Data, configuration and `<name>.log` of this server; kept when it stops. */
  readonly folder: string;
  readonly url: string;
  /** Ends it cleanly; killed when it has not ended within a minute. Does nothing when it is gone. */
  stop(): Promise<void>;
  /** SIGKILL; resolves when the process and its children are gone. */
  kill(): Promise<void>;
  /** Starts it again on the same folder and port, after stopping it if it still runs. */
  restart(): Promise<LocalServer>;
}

/** How to run one server: what each kind (Kafka, MinIO, ...) tells `launch`. */
export interface LaunchPlan {
  readonly name: string;
  readonly port: number;
  readonly folder: string;
  readonly url: string;
  readonly command: readonly [string, ...string[]];
  /** The whole environment of the process: nothing of the caller's leaks into a server. */
  readonly environment: Readonly<Record<string, string>>;
  readonly stopSignal: NodeJS.Signals;
  /** Asked every few milliseconds until true; `log` is what this start has written so far. */
  ready(start: { readonly pid: number; readonly log: string }): Promise<boolean> | boolean;
  /** Run after a kill, when nothing of the server lives any more. */
  afterKill?(): void;
}

/** `<folder>/server.json`: what another process needs in order to find and end the server. */
export interface ServerRecord {
  readonly name: string;
  readonly port: number;
  readonly url: string;
  readonly process: OwnProcess;
  readonly stopSignal: NodeJS.Signals;
}

function recordFile(folder: string): string {
  return join(folder, 'server.json');
}

/** Null when no server was ever started in that folder. */
export function readServerRecord(folder: string): ServerRecord | null {
  try {
    return JSON.parse(readFileSync(recordFile(folder), 'utf8')) as ServerRecord;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null;
    throw error;
  }
}

function writeServerRecord(plan: LaunchPlan, process_: OwnProcess): void {
  const { name, port, url, stopSignal } = plan;
  const record: ServerRecord = { name, port, url, process: process_, stopSignal };
  writeFileSync(recordFile(plan.folder), `${JSON.stringify(record, null, 2)}\n`);
}

const START_TIMEOUT_MS = 120_000;
export const STOP_TIMEOUT_MS = 60_000;

/**
 * Starts the process detached, so that it survives a command that exits, and waits until it
 * answers. Throws STACK_SERVER_FAILED with the end of its log when it does not come up.
 */
export async function launch(plan: LaunchPlan): Promise<LocalServer> {
  mkdirSync(plan.folder, { recursive: true });
  if (!(await portIsFree(plan.port))) {
    throw new PipelineError('CFG_PORT_IN_USE', `port ${plan.port} for ${plan.name} is taken`, {
      details: { server: plan.name, port: plan.port },
    });
  }
  const logFile = join(plan.folder, `${plan.name}.log`);
  const logFrom = sizeOf(logFile);
  const process_ = spawnDetached(plan, logFile);
  // At once, not when it is ready: an interrupted start must not leave a server nobody can find.
  writeServerRecord(plan, process_);
  await waitUntilReady(plan, process_, () => readFileSync(logFile).toString('utf8', logFrom));
  return running(plan, process_);
}

function sizeOf(file: string): number {
  return statSync(file, { throwIfNoEntry: false })?.size ?? 0;
}

function spawnDetached(plan: LaunchPlan, logFile: string): OwnProcess {
  const log = openSync(logFile, 'a');
  try {
    const [program, ...args] = plan.command;
    const child = spawn(program, args, {
      cwd: plan.folder,
      detached: true,
      stdio: ['ignore', log, log],
      env: plan.environment,
    });
    // A failed spawn shows as a missing pid; the event would otherwise end the caller.
    child.on('error', () => undefined);
    child.unref();
    if (child.pid === undefined) {
      throw new PipelineError('STACK_SERVER_FAILED', `${plan.name}: cannot run ${program}`);
    }
    return identify(child.pid);
  } finally {
    closeSync(log);
  }
}

async function waitUntilReady(
  plan: LaunchPlan,
  process_: OwnProcess,
  readLog: () => string,
): Promise<void> {
  const deadline = performance.now() + START_TIMEOUT_MS;
  for (;;) {
    if (!isAlive(process_)) throw startFailed(plan, 'ended while starting', readLog());
    if (await plan.ready({ pid: process_.pid, log: readLog() })) return;
    if (performance.now() > deadline) {
      await endProcess(process_, 'SIGKILL', 0);
      throw startFailed(plan, `was not ready after ${START_TIMEOUT_MS / 1000} s`, readLog());
    }
    await pause(20);
  }
}

function startFailed(plan: LaunchPlan, what: string, log: string): PipelineError {
  const tail = log.trimEnd().split('\n').slice(-12).join('\n');
  return new PipelineError('STACK_SERVER_FAILED', `${plan.name} ${what}:\n${tail}`, {
    details: { server: plan.name, port: plan.port, folder: plan.folder },
  });
}

function running(plan: LaunchPlan, process_: OwnProcess): LocalServer {
  const stop = () => endProcess(process_, plan.stopSignal, STOP_TIMEOUT_MS);
  return {
    name: plan.name,
    host: '127.0.0.1',
    port: plan.port,
    pid: process_.pid,
    folder: plan.folder,
    url: plan.url,
    stop,
    kill: async () => {
      await endProcess(process_, 'SIGKILL', 0);
      plan.afterKill?.();
    },
    restart: async () => {
      await stop();
      return launch(plan);
    },
  };
}
