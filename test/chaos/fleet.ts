import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { freePort } from '../../deploy/local/free-port.ts';
import { startHeadrace, type HeadraceProcess } from '../../deploy/local/headrace.ts';
import type { LocalServer } from '../../deploy/local/local-server.ts';
import { connectTo, type Rig, type Role } from '../support/rig.ts';
import { slope, type Point } from '../support/slope.ts';
import type { Component, Fault } from './fault-schedule.ts';
import type { TorturedSource } from './tortured-source.ts';

type Worker = 'source' | 'sink' | 'scheduler' | 'api';

interface Member {
  readonly role: Worker;
  port: number;
  process: HeadraceProcess | null;
  /** A fault has it down; nobody else is to start it. */
  held: boolean;
}

export interface InjectedFault extends Fault {
  /** Epoch milliseconds, as all below. */
  readonly beganAt: number;
  /** From here recovery counts: when it was up again, or, stopped, from the stop
   * on, since another instance is to take over. */
  countsFrom: number;
  endedAt: number;
}

export interface OwnExit {
  readonly role: Worker;
  readonly code: string;
}

const MEMBERS: readonly Worker[] = ['source', 'source', 'sink', 'sink', 'scheduler', 'api'];
const POLL_MS = 500;

/** Headrace's processes on a rig's servers, two of source and of sink, kept running as a supervisor
 * would, and the hand that hits them. */
export class Fleet {
  readonly exits: OwnExit[] = [];
  /** Largest resident size of any process of a role, MB. */
  readonly peakMb = new Map<Worker, number>();
  /** Resident size of each process at each look, MB over minutes of this fleet. */
  private readonly sizes = new Map<Worker, Point[]>();
  readonly environment: Readonly<Record<string, string>>;
  private readonly rig: Rig;
  private readonly source: Pick<TorturedSource, 'server' | 'link'>;
  private members: Member[] = [];
  private readonly logFiles = new Set<string>();
  private readonly replacing = new Set<Promise<void>>();
  private ended = false;
  private readonly restarts = new Map<LocalServer, Promise<void>>();
  private supervising: Promise<void> = Promise.resolve();

  constructor(
    rig: Rig,
    source: Pick<TorturedSource, 'server' | 'link'>,
    environment: Readonly<Record<string, string>>,
  ) {
    this.rig = rig;
    this.source = source;
    this.environment = environment;
  }

  /** The API listens where the rig's client looks for it. */
  async start(apiPort: number): Promise<void> {
    for (const role of MEMBERS) {
      this.members.push({ role, port: apiPort, process: null, held: false });
    }
    // Of an interrupted run nothing else would end them.
    process.once('exit', this.killNow);
    for (const member of this.members) await this.launch(member);
    this.supervising = this.supervise();
  }

  async end(): Promise<void> {
    this.ended = true;
    await this.supervising;
    // What is starting just now would outlive us.
    await Promise.all(this.replacing);
    await Promise.all(this.members.map((member) => member.process?.kill()));
    process.off('exit', this.killNow);
  }

  private readonly killNow = (): void => {
    for (const member of this.members) member.process?.killNow();
  };

  /** Does what the schedule says and undoes it. */
  async inject(fault: Fault): Promise<InjectedFault> {
    const server = this.serverOf(fault.component);
    if (server !== null) return this.killServer(server, fault);
    if (fault.component === 'sourceLink') return this.cutLink(fault);
    const member = await this.memberOf(fault.component as Worker, fault.instance);
    return fault.kind === 'kill' ? this.killMember(member, fault) : this.stopMember(member, fault);
  }

  /** Ids of the processes of a role that run now, the one that holds a lease first. */
  async pidsOf(role: Worker): Promise<number[]> {
    const active = await this.activePid(role);
    const pids = this.members
      .filter((member) => member.role === role && member.process !== null)
      .map((member) => (member.process as HeadraceProcess).pid);
    return pids.toSorted((a, b) => Number(b === active) - Number(a === active));
  }

  /** All log lines of all processes so far. */
  logs(): string {
    return [...this.logFiles].map((file) => readFileSync(file, 'utf8')).join('');
  }

  /**
   * A server that is still starting is not killed again: Kafka, alone, killed three times in 16 s while
   * it read its own metadata log left a log that it could not read (record size 0), for ever.
   */
  private async killServer(server: LocalServer, fault: Fault): Promise<InjectedFault> {
    const before = this.restarts.get(server) ?? Promise.resolve();
    let beganAt = 0;
    const restart = before.then(async () => {
      beganAt = Date.now();
      await server.kill();
      await delay(fault.downMs);
      await server.restart();
    });
    this.restarts.set(server, restart);
    await restart;
    return { ...fault, beganAt, countsFrom: Date.now(), endedAt: Date.now() };
  }

  private async cutLink(fault: Fault): Promise<InjectedFault> {
    const beganAt = Date.now();
    const { link } = this.source;
    if (fault.kind === 'kill') link?.reset();
    else {
      link?.blackHole();
      await delay(fault.downMs);
      link?.heal();
    }
    return { ...fault, beganAt, countsFrom: Date.now(), endedAt: Date.now() };
  }

  private async killMember(member: Member, fault: Fault): Promise<InjectedFault> {
    const beganAt = Date.now();
    member.held = true;
    await member.process?.kill();
    await delay(fault.downMs);
    await this.launch(member);
    member.held = false;
    return { ...fault, beganAt, countsFrom: Date.now(), endedAt: Date.now() };
  }

  private async stopMember(member: Member, fault: Fault): Promise<InjectedFault> {
    const pid = member.process?.pid ?? 0;
    const countsFrom = Date.now();
    signal(pid, 'SIGSTOP');
    const until = countsFrom + fault.downMs;
    while (!this.ended && Date.now() < until) await delay(100);
    signal(pid, 'SIGCONT');
    return { ...fault, beganAt: countsFrom, countsFrom, endedAt: Date.now() };
  }

  private serverOf(component: Component): LocalServer | null {
    const { kafka, target, minio } = this.rig;
    const servers: Partial<Record<Component, LocalServer | null>> = {
      broker: kafka,
      sourceDb: this.source.server,
      targetDb: target,
      minio,
    };
    return servers[component] ?? null;
  }

  private async memberOf(role: Worker, instance: Fault['instance']): Promise<Member> {
    const members = this.members.filter((member) => member.role === role);
    const active = await this.activePid(role);
    const holder = members.find((member) => member.process?.pid === active) ?? members[0];
    const other = members.find((member) => member !== holder);
    return (instance === 'active' ? holder : (other ?? holder)) as Member;
  }

  /** Whose lease it is: an owner's name has its process id in it. */
  private async activePid(role: Worker): Promise<number | null> {
    const prefix = role === 'source' ? 'source:%' : 'connection:%';
    try {
      const store = await connectTo(this.rig.target, 'headrace_store');
      try {
        const { rows } = await store.query<{ owner: string }>(
          'select owner from headrace.lease where unit like $1 order by expires_at desc limit 1',
          [prefix],
        );
        const owner = rows[0]?.owner ?? '';
        return Number(/-(\d+)-[0-9a-f]{8}$/.exec(owner)?.[1] ?? 0);
      } finally {
        await store.end();
      }
    } catch {
      return null;
    }
  }

  private async launch(member: Member): Promise<void> {
    while (!this.ended) {
      try {
        // While it was down another Headrace may have taken the port, and would look like this one. The
        // API's is known to clients.
        if (member.role !== 'api') member.port = await freePort();
        this.logFiles.add(this.logOf(member.role, member.port));
        member.process = await startHeadrace({
          home: this.home(),
          apiPort: member.port,
          brokers: `127.0.0.1:${this.rig.kafka.port}`,
          role: member.role as Role,
          environment: this.environment,
        });
        return;
      } catch {
        // Its servers are down as well; a supervisor tries again.
        await delay(POLL_MS);
      }
    }
  }

  private home(): string {
    return join(this.rig.folder, 'home');
  }

  private logOf(role: Worker, port: number): string {
    return join(this.home(), `${role}-${port}.log`);
  }

  /** By role, by how many MB its processes are larger per minute of the run. */
  growthMbPerMinute(): Record<string, number> {
    const grown = (points: readonly Point[]) => Math.round(slope(points) * 100) / 100;
    return Object.fromEntries([...this.sizes].map(([role, points]) => [role, grown(points)]));
  }

  private async supervise(): Promise<void> {
    while (!this.ended) {
      for (const member of this.members) {
        const { process: process_, held } = member;
        if (held || process_ === null) continue;
        if (isRunning(process_.pid)) this.measure(member.role, process_.pid);
        else this.replacing.add(this.replace(member));
      }
      await delay(POLL_MS);
    }
  }

  private async replace(member: Member): Promise<void> {
    member.held = true;
    const tail = readFileSync(this.logOf(member.role, member.port), 'utf8').slice(-4_000);
    const code = /^([A-Z]+_[A-Z_]+): /m.exec(tail)?.[1] ?? 'without a code';
    this.exits.push({ role: member.role, code });
    await this.launch(member);
    member.held = false;
  }

  private measure(role: Worker, pid: number): void {
    try {
      const status = readFileSync(`/proc/${pid}/status`, 'utf8');
      const peak = Number(/VmHWM:\s+(\d+)/.exec(status)?.[1] ?? 0) / 1024;
      this.peakMb.set(role, Math.max(this.peakMb.get(role) ?? 0, Math.round(peak)));
      const y = Number(/VmRSS:\s+(\d+)/.exec(status)?.[1] ?? 0) / 1024;
      const sizes = this.sizes.get(role) ?? [];
      sizes.push({ x: performance.now() / 60_000, y });
      this.sizes.set(role, sizes);
    } catch {
      // It has just ended.
    }
  }
}

function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

export function signal(pid: number, name: NodeJS.Signals): void {
  try {
    if (pid > 0) process.kill(pid, name);
  } catch {
    // It was killed meanwhile.
  }
}
