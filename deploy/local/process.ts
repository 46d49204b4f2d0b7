import { readdirSync } from 'node:fs';
import { setTimeout as pause } from 'node:timers/promises';
import { processStat } from '../../core/run/process-stat.ts';

/** A process we started, told apart from a later one that was given the same id. */
export interface OwnProcess {
  readonly pid: number;
  /** Kernel start time in clock ticks since boot; null where /proc does not exist. */
  readonly startTicks: number | null;
}

const POLL_MS = 10;

export function identify(pid: number): OwnProcess {
  return { pid, startTicks: processStat(pid)?.startTicks ?? null };
}

/**
 * A zombie counts as gone: in a container nobody may ever collect it, yet it holds no port and no
 * file. Not so while threads of it are still ending: those keep its sockets open.
 */
export function isAlive(process_: OwnProcess): boolean {
  const stat = processStat(process_.pid);
  if (stat !== null) {
    const sameProcess = process_.startTicks === null || stat.startTicks === process_.startTicks;
    if (!sameProcess || stat.state === 'X') return false;
    return stat.state !== 'Z' || hasOtherThreads(process_.pid);
  }
  if (process_.startTicks !== null) return false;
  try {
    process.kill(process_.pid, 0);
    return true;
  } catch {
    return false;
  }
}

function hasOtherThreads(pid: number): boolean {
  try {
    return readdirSync(`/proc/${pid}/task`).length > 1;
  } catch {
    return false;
  }
}

/** The direct children, e.g. the backends of a PostgreSQL postmaster. */
export function childrenOf(pid: number): OwnProcess[] {
  let entries: string[];
  try {
    entries = readdirSync('/proc');
  } catch {
    return [];
  }
  const children: OwnProcess[] = [];
  for (const entry of entries) {
    const candidate = Number(entry);
    if (!Number.isInteger(candidate)) continue;
    const stat = processStat(candidate);
    if (stat?.parent === pid) children.push({ pid: candidate, startTicks: stat.startTicks });
  }
  return children;
}

export function sendSignal(process_: OwnProcess, signal: NodeJS.Signals): void {
  if (!isAlive(process_)) return;
  try {
    process.kill(process_.pid, signal);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
  }
}

/** True when it ended within the time. */
export async function waitUntilGone(process_: OwnProcess, timeoutMs: number): Promise<boolean> {
  const deadline = performance.now() + timeoutMs;
  while (isAlive(process_)) {
    if (performance.now() > deadline) return false;
    await pause(POLL_MS);
  }
  return true;
}

/** Asks it to end, insists by SIGKILL after the time is up, returns when it and its children are gone. */
export async function endProcess(
  process_: OwnProcess,
  signal: NodeJS.Signals,
  timeoutMs: number,
): Promise<void> {
  const family = [process_, ...childrenOf(process_.pid)];
  sendSignal(process_, signal);
  if (signal !== 'SIGKILL' && (await waitUntilGone(process_, timeoutMs))) return;
  await killFamily(family);
}

/**
 * Children are killed as well: a PostgreSQL backend outlives its postmaster for a moment and holds
 * the shared memory, so an immediate restart would be refused.
 */
async function killFamily(family: readonly OwnProcess[]): Promise<void> {
  for (const member of family) sendSignal(member, 'SIGKILL');
  for (const member of family) {
    while (!(await waitUntilGone(member, 5_000))) sendSignal(member, 'SIGKILL');
  }
}
