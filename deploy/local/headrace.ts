import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, mkdirSync, openSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';

export interface HeadraceOptions {
  /** HEADRACE_HOME of the process, and where its log goes. */
  readonly home: string;
  readonly apiPort: number;
  readonly brokers: string;
  /** `up` runs every service in one process. */
  readonly role?: 'up' | 'source' | 'sink' | 'scheduler' | 'alerts' | 'api';
  readonly environment?: Readonly<Record<string, string>>;
}

export interface HeadraceProcess {
  readonly pid: number;
  readonly url: string;
  readonly log: string;
  /** SIGTERM; resolves with the exit code when it has drained. */
  stop(): Promise<number | null>;
  /** SIGKILL; resolves when it is gone. */
  kill(): Promise<void>;
  /** SIGKILL without waiting, for a process that is itself at its end. */
  killNow(): void;
}

const START_TIMEOUT_MS = 60_000;

/** Starts Headrace as a process of its own, as a user would, and waits until it is live. */
export async function startHeadrace(options: HeadraceOptions): Promise<HeadraceProcess> {
  mkdirSync(options.home, { recursive: true });
  const role = options.role ?? 'up';
  const log = join(options.home, `${role}-${options.apiPort}.log`);
  const child = spawnProgram(options, role, log);
  const url = `http://127.0.0.1:${options.apiPort}`;
  const deadline = Date.now() + START_TIMEOUT_MS;
  while (!(await isLive(url))) {
    if (child.exitCode !== null || child.signalCode !== null || Date.now() > deadline) {
      child.kill('SIGKILL');
      const tail = readFileSync(log, 'utf8').slice(-2000);
      throw new Error(`headrace ${role} did not start; the end of ${log}:\n${tail}`);
    }
    await delay(50);
  }
  const gone = (): boolean => child.exitCode !== null || child.signalCode !== null;
  const signalled = async (signal: NodeJS.Signals): Promise<void> => {
    if (gone()) return;
    const ended = once(child, 'exit');
    child.kill(signal);
    await ended;
  };
  return {
    pid: child.pid as number,
    url,
    log,
    stop: async () => {
      await signalled('SIGTERM');
      return child.exitCode;
    },
    kill: () => signalled('SIGKILL'),
    killNow: () => void child.kill('SIGKILL'),
  };
}

function spawnProgram(options: HeadraceOptions, role: string, log: string): ChildProcess {
  const wrapper = new URL('../../headrace', import.meta.url).pathname;
  const output = openSync(log, 'a');
  const child = spawn(wrapper, [role], {
    env: {
      ...process.env,
      HEADRACE_HOME: options.home,
      HEADRACE_KAFKA_BROKERS: options.brokers,
      HEADRACE_API_PORT: String(options.apiPort),
      // Several run side by side on one machine.
      HEADRACE_WEB_PORT: '0',
      ...options.environment,
    },
    stdio: ['ignore', output, output],
  });
  closeSync(output);
  return child;
}

function isLive(url: string): Promise<boolean> {
  return fetch(`${url}/health/live`).then(
    (response) => response.ok,
    () => false,
  );
}
