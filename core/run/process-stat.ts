import { readFileSync } from 'node:fs';

/** What the kernel says of a process. */
export interface ProcessStat {
  /** One letter: R, S, T (stopped), Z (ended and not collected) and others. */
  readonly state: string;
  readonly parent: number;
  /** Ticks of CPU by itself, and by children it has collected, user and system together. */
  readonly ticks: number;
  readonly childTicks: number;
  /** When it began, in clock ticks since boot: another process may get its number later. */
  readonly startTicks: number;
}

/** Null for a process that there is not, and where /proc does not exist. */
export function processStat(pid: number): ProcessStat | null {
  let text: string;
  try {
    text = readFileSync(`/proc/${pid}/stat`, 'latin1');
  } catch {
    return null;
  }
  // The fields follow the program's name in parentheses, which may itself hold spaces and parentheses.
  const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
  const number = (index: number): number => Number(fields[index] ?? 0);
  return {
    state: fields[0] ?? '',
    parent: number(1),
    ticks: number(11) + number(12),
    childTicks: number(13) + number(14),
    startTicks: number(19),
  };
}
