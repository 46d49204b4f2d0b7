import { mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { readdir, readFile, rm } from 'node:fs/promises';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { processStat } from './process-stat.ts';

/**
 * The kernel ends a process that its machine or its container has no memory for, by a signal that
 * nothing can be done about. So each process keeps a file that says it lives and how many the kernel
 * had ended by then (the machine's counter, which goes on when a container begins anew): the next one
 * finds a file without a process and the counter gone up.
 */
export interface KernelDeath {
  /** Its name in leases. */
  readonly owner: string;
  /** Epoch milliseconds; not before its end. */
  readonly at: number;
}

interface SignOfLife {
  readonly pid: number;
  /** Of the process, in clock ticks: another one may have its number by now. */
  readonly startTicks: number;
  readonly host: string;
  readonly bootId: string;
  readonly kills: number;
  readonly at: number;
}

const ENDING = '.alive.json';
const BEAT_MS = 5_000;
const VMSTAT = '/proc/vmstat';

/** Until what it answers is called. Where the system has no such counter there is no file. */
export function keepSignOfLife(folder: string, owner: string, counter = VMSTAT): () => void {
  const path = join(folder, `${owner}${ENDING}`);
  const beat = (): void => {
    const sign = signOf(counter);
    if (sign === null) return;
    writeFileSync(`${path}.new`, JSON.stringify(sign));
    renameSync(`${path}.new`, path);
  };
  mkdirSync(folder, { recursive: true });
  beat();
  const timer = setInterval(() => {
    try {
      beat();
    } catch {
      // A full disk must not end the process; an old sign counts kills of a longer time.
    }
  }, BEAT_MS);
  timer.unref();
  return () => {
    clearInterval(timer);
    rmSync(path, { force: true });
  };
}

/** Processes that the kernel ended, each told of once; signs of those that ended otherwise go too. */
export async function takeKernelDeaths(folder: string, counter = VMSTAT): Promise<KernelDeath[]> {
  const now = signOf(counter);
  const names = await readdir(folder).catch(() => []);
  const deaths: KernelDeath[] = [];
  for (const name of names.filter((each) => each.endsWith(ENDING))) {
    const path = join(folder, name);
    const sign = await readSign(path);
    if (now === null || sign === null || mayLive(sign, now)) continue;
    const isFirst = await rm(path).then(
      () => true,
      () => false,
    );
    if (!isFirst || sign.bootId !== now.bootId || now.kills <= sign.kills) continue;
    deaths.push({ owner: name.slice(0, -ENDING.length), at: sign.at + BEAT_MS });
  }
  return deaths;
}

/** A process of another container is not seen from here; its sign is fresh while it lives. */
function mayLive(sign: SignOfLife, now: SignOfLife): boolean {
  if (sign.host !== now.host) return now.at - sign.at < 4 * BEAT_MS;
  return processStat(sign.pid)?.startTicks === sign.startTicks;
}

function signOf(counter: string): SignOfLife | null {
  const kills = killsOf(counter);
  const own = processStat(process.pid);
  if (kills === null || own === null) return null;
  const bootId = readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim();
  const { startTicks } = own;
  return { pid: process.pid, startTicks, host: hostname(), bootId, kills, at: Date.now() };
}

function killsOf(counter: string): number | null {
  try {
    const [, count] = /^oom_kill (\d+)$/m.exec(readFileSync(counter, 'utf8')) ?? [];
    return count === undefined ? null : Number(count);
  } catch {
    return null;
  }
}

async function readSign(path: string): Promise<SignOfLife | null> {
  try {
    return JSON.parse(await readFile(path, 'utf8')) as SignOfLife;
  } catch {
    // Taken by another one this moment.
    return null;
  }
}
