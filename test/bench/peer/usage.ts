import { performance } from 'node:perf_hooks';
import type { Rig } from '../../support/rig.ts';
import {
  cpuSeconds,
  loadAverage,
  machineBusySeconds,
  peakMegabytes,
  treeCpuSeconds,
} from '../process-figures.ts';
import { rounded, type Figures } from './contest.ts';

/**
 * CPU of a run by process, as the system counts it: of the system that is measured from the start of
 * its processes, of the servers while it worked. What neither they nor the bench used was used by
 * others, and says how far to trust the run.
 */
export class Usage {
  private readonly servers: Readonly<Record<string, () => number>>;
  private readonly pids: () => readonly number[];
  private readonly before: Figures;
  private readonly load = loadAverage();
  private readonly started = performance.now();

  /** `pids` of the measured system at the time it is asked. */
  constructor(rig: Rig, pids: () => readonly number[]) {
    this.servers = {
      sourceCpuSeconds: () => treeCpuSeconds(rig.source.pid),
      targetCpuSeconds: () => treeCpuSeconds(rig.target.pid),
      kafkaCpuSeconds: () => cpuSeconds(rig.kafka.pid),
    };
    this.pids = pids;
    this.before = this.sofar();
  }

  private sofar(): Figures {
    const asked = Object.entries(this.servers).map(([name, ask]) => [name, ask()] as const);
    const system = this.pids().reduce((sum, pid) => sum + cpuSeconds(pid), 0);
    return {
      systemCpuSeconds: system,
      ...Object.fromEntries(asked),
      bench: cpuSeconds(process.pid),
      machine: machineBusySeconds(),
    };
  }

  end(): Figures {
    const after = this.sofar();
    const used = Object.fromEntries(
      Object.entries(after).map(([name, seconds]) => [name, seconds - (this.before[name] ?? 0)]),
    );
    const { machine = 0, bench = 0, ...measured } = used;
    const all = Object.values(measured).reduce((sum, each) => sum + each, 0);
    const seconds = (performance.now() - this.started) / 1000;
    const figures = Object.entries(measured).map(
      ([name, value]) => [name, rounded(value)] as const,
    );
    return {
      ...Object.fromEntries(figures),
      allCpuSeconds: rounded(all),
      peakMB: Math.round(Math.max(...this.pids().map(peakMegabytes))),
      othersCores: rounded((machine - bench - all) / seconds),
      load: this.load,
    };
  }
}
