import { setTimeout as delay } from 'node:timers/promises';
import { PipelineError } from '../errors/pipeline-error.ts';

/**
 * Named places where a test makes the program die, stop, fail or wait. Nothing is armed in production:
 * both HEADRACE_FAILPOINTS and HEADRACE_FAILPOINTS_ALLOWED=yes must be set, and the settings refuse
 * the first while NODE_ENV is production.
 *
 * `sink.fetched=kill;source.after_commit=3*delay(200)`: actions are `kill` (SIGKILL to this process),
 * `stop` (SIGSTOP to this process, once; who armed it sends SIGCONT), `error` (a BUG_UNEXPECTED, once)
 * and `delay(ms)`; `N*` lets N-1 passes through first. Each time a place acts, a line says so on
 * standard error: a place that was never reached proves nothing.
 */
type Action =
  { readonly kind: 'kill' | 'stop' | 'error' } | { readonly kind: 'delay'; readonly ms: number };

interface Armed {
  readonly action: Action;
  passesLeft: number;
}

const armed = new Map<string, Armed>();

/** Arms what the settings ask for, in place of what was armed. Throws CFG_INVALID_SETTING when the
 * text cannot be understood. */
export function armFailpoints(settings: {
  readonly failpoints: string | null;
  readonly failpointsAllowed: boolean;
}): void {
  armed.clear();
  if (!settings.failpointsAllowed || settings.failpoints === null) return;
  for (const part of settings.failpoints.split(';')) {
    if (part.trim() !== '') arm(part.trim());
  }
}

/** Names what is armed, for one warning at the start. */
export function armedFailpoints(): string[] {
  return [...armed.keys()];
}

/** For what is done in one flight unless a fault is to happen in the middle of it. */
export function isArmed(name: string): boolean {
  return armed.has(name);
}

/** A place by name. Costs one size check when nothing is armed. */
export function failpoint(name: string): Promise<void> | undefined {
  if (armed.size === 0) return undefined;
  return pass(name);
}

async function pass(name: string): Promise<void> {
  const point = armed.get(name);
  if (point === undefined) return;
  point.passesLeft -= 1;
  if (point.passesLeft > 0) return;
  process.stderr.write(`failpoint ${name}: ${point.action.kind}\n`);
  if (point.action.kind !== 'delay') armed.delete(name);
  await act(name, point.action);
}

/** Other threads may run for a moment after a stop is asked for; this one goes no further. */
const STOP_MS = 100;

async function act(name: string, action: Action): Promise<void> {
  switch (action.kind) {
    case 'delay':
      await delay(action.ms);
      return;
    case 'error':
      throw new PipelineError('BUG_UNEXPECTED', `failpoint ${name}`, {
        details: { failpoint: name },
      });
    case 'stop':
      process.kill(process.pid, 'SIGSTOP');
      await delay(STOP_MS);
      return;
    case 'kill':
      process.kill(process.pid, 'SIGKILL');
  }
}

function arm(text: string): void {
  const match = /^([\w.-]+)=(?:(\d+)\*)?(kill|stop|error|delay\((\d+)\))$/.exec(text);
  if (match === null) {
    throw new PipelineError(
      'CFG_INVALID_SETTING',
      `HEADRACE_FAILPOINTS: "${text}" is not name=[N*]kill, stop, error or delay(ms)`,
    );
  }
  const [, name = '', passes = '1', word, ms] = match;
  const action: Action =
    ms === undefined ? { kind: word as 'kill' | 'stop' | 'error' } : { kind: 'delay', ms: +ms };
  armed.set(name, { action, passesLeft: Number(passes) });
}
