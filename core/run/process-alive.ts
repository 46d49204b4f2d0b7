import { processStat } from './process-stat.ts';

/** Whether a process of this machine runs, under whatever account. */
export function isProcessAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    // It runs, under another account.
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}

/** Tells this process from all others that ever ran on this machine: by its id, and by when it began,
 * for ids come again, in a container with every start. */
export const OWN_PROCESS = `${process.pid}-${processStat(process.pid)?.startTicks ?? 0}`;

/** Whether the process that called itself so (`OWN_PROCESS`) still runs on this machine. */
export function isSameProcessAlive(name: string): boolean {
  const [pid = 0, startTicks = 0] = name.split('-').map(Number);
  // Where /proc does not exist the id is all there is to go by.
  if (startTicks === 0) return isProcessAlive(pid);
  const found = processStat(pid);
  return found?.startTicks === startTicks && found.state !== 'Z';
}
