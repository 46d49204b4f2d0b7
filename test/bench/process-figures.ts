import { readdirSync, readFileSync } from 'node:fs';
import { processStat } from '../../core/run/process-stat.ts';

const TICKS_PER_SECOND = 100;

/** CPU seconds (user and system) that a process has used so far, as the system counts them. */
export function cpuSeconds(pid: number): number {
  return (processStat(pid)?.ticks ?? Number.NaN) / TICKS_PER_SECOND;
}

/** The same of a process with all its children, those that ended included. */
export function treeCpuSeconds(pid: number): number {
  const stats = readdirSync('/proc')
    .filter((name) => /^[0-9]+$/.test(name))
    .map((name) => processStat(Number(name)));
  const own = processStat(pid);
  const live = stats
    .filter((stat) => stat?.parent === pid)
    .reduce((sum, stat) => sum + (stat?.ticks ?? 0), 0);
  return (live + (own?.ticks ?? 0) + (own?.childTicks ?? 0)) / TICKS_PER_SECOND;
}

/** CPU seconds that all processes of the machine have used so far. */
export function machineBusySeconds(): number {
  const [line = ''] = readFileSync('/proc/stat', 'utf8').split('\n');
  const [user = 0, nice = 0, system = 0, , , irq = 0, softIrq = 0] = line
    .split(/\s+/)
    .slice(1)
    .map(Number);
  return (user + nice + system + irq + softIrq) / TICKS_PER_SECOND;
}

export function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? Number.NaN;
}

/** Largest resident size so far, in MB. */
export function peakMegabytes(pid: number): number {
  return megabytes(pid, /VmHWM:\s+(\d+)/);
}

/** Resident size now, in MB. */
export function residentMegabytes(pid: number): number {
  return megabytes(pid, /VmRSS:\s+(\d+)/);
}

function megabytes(pid: number, line: RegExp): number {
  return Number(line.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1] ?? 0) / 1024;
}

export function loadAverage(): number {
  return Number(readFileSync('/proc/loadavg', 'utf8').split(' ')[0]);
}

export function percentile(sorted: readonly number[], share: number): number {
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? Number.NaN;
}
