import { setTimeout as delay } from 'node:timers/promises';
import type { HeadraceProcess } from '../../deploy/local/headrace.ts';
import { sync, until, type Rig } from '../support/rig.ts';
import type { Action, Need, Point } from './matrix-points.ts';
import { Site } from './matrix-site.ts';
import { signal } from './fleet.ts';

export interface CellResult {
  readonly point: Point;
  readonly action: Action;
  /** Empty when all is well. */
  readonly problems: readonly string[];
  readonly seconds: number;
  /** From the fault until what was written after it was in the destination. */
  readonly recoveryMs: number | null;
}

/** Longer than a lease, than the server's patience with a session, and than a Kafka transaction may
 * stay open. */
const STOP_MS = 70_000;
const DELAY_MS = 1_500;
const REACHED_MS = 150_000;
const RECOVERED_MS = 120_000;
const BARRIER_MS = 120_000;
const WRITE_EVERY_MS = 60;
const WATCH_EVERY_MS = 50;
const MUCH_EVERY_MS = 20_000;

/** One fault at one place: does it happen, does the work go on, is everything equal afterwards. */
export async function runCell(site: Site, point: Point, action: Action): Promise<CellResult> {
  const started = Date.now();
  const cell = new Cell(site, point, action);
  const problems: string[] = [];
  try {
    problems.push(...(await cell.run()));
  } catch (error) {
    problems.push((error as Error).message.slice(0, 600), ...cell.deaths());
  } finally {
    await cell.end();
  }
  const seconds = Math.round((Date.now() - started) / 100) / 10;
  return { point, action, problems, seconds, recoveryMs: cell.recoveryMs };
}

/** A place in the first copy needs a site that nothing was copied of; the others share one. */
export async function siteFor(rig: Rig, name: string, need: Need): Promise<Site> {
  const site = await Site.make(rig, name, { need });
  if (need === 'copy') return site;
  const first = await site.start();
  await site.connect(first);
  const { mirror } = site.connections as { mirror: string };
  await sync(site.driver(first), mirror, BARRIER_MS);
  await first.stop();
  return site;
}

class Cell {
  recoveryMs: number | null = null;
  private readonly site: Site;
  private readonly point: Point;
  private readonly action: Action;
  private readonly instances: HeadraceProcess[] = [];
  private writing: Promise<void> | null = null;
  private resting = false;
  private actedAt = 0;
  /** Version of row 0 that was written last. */
  private latest = 0;

  constructor(site: Site, point: Point, action: Action) {
    this.site = site;
    this.point = point;
    this.action = action;
  }

  async run(): Promise<string[]> {
    const { site, point, action } = this;
    const word = action === 'delay' ? `delay(${DELAY_MS})` : action;
    const hit = await this.start(`${point.name}=${point.pass}*${word}`);
    void this.watch(hit);
    if (site.connections === null) await site.connect(hit);
    await until(
      'the armed instance to have the work',
      async () => this.actedAt > 0 || (await site.leasesOf(hit)) === 4,
    );
    const takesOver = action === 'kill' || action === 'stop';
    const survivor = takesOver ? await this.start() : hit;
    this.writing = this.write();
    await until(`${point.name} to be reached`, async () => this.actedAt > 0, REACHED_MS);
    const at = this.actedAt;
    // Written after the fault, whatever is under way at this moment.
    const version = this.latest + 2;
    await until(
      'the work to go on',
      async () => (await site.versionInMirror()) >= version,
      RECOVERED_MS,
    );
    this.recoveryMs = Date.now() - at;
    if (action === 'stop') await this.wakeUp(hit, at);
    await this.rest();
    await this.barriers(survivor);
    const problems = await site.differences();
    for (const instance of this.instances) {
      if (!isRunning(instance)) continue;
      const code = await instance.stop();
      if (code !== 0 && instance !== hit) problems.push(`an instance ended with ${code}`);
    }
    return problems;
  }

  /** Last words of the instances that are not running any more. */
  deaths(): string[] {
    return this.instances
      .filter((instance) => !isRunning(instance))
      .map((instance) => {
        const [last = ''] = this.site.logOf(instance).trimEnd().split('\n').slice(-1);
        return `${instance.url} ended: ${last.slice(0, 600)}`;
      });
  }

  async end(): Promise<void> {
    await this.rest().catch(() => undefined);
    await Promise.all(this.instances.map((each) => each.kill()));
  }

  private async start(failpoints?: string): Promise<HeadraceProcess> {
    const instance = await this.site.start(failpoints);
    this.instances.push(instance);
    return instance;
  }

  /** Notes when the place acted; it may do so before anybody waits for it. */
  private async watch(instance: HeadraceProcess): Promise<void> {
    const line = `failpoint ${this.point.name}: ${this.action}`;
    while (this.actedAt === 0 && !this.resting) {
      if (this.site.logOf(instance).includes(line)) this.actedAt = Date.now();
      await delay(WATCH_EVERY_MS);
    }
  }

  /** The old one is to change nothing, and to learn that it was replaced. */
  private async wakeUp(old: HeadraceProcess, stoppedAt: number): Promise<void> {
    await delay(Math.max(0, stoppedAt + STOP_MS - Date.now()));
    signal(old.pid, 'SIGCONT');
    await until(
      'the one that was stopped to give way',
      async () => !isRunning(old) || (await this.site.leasesOf(old)) === 0,
    );
    await delay(1_000);
  }

  private async barriers(instance: HeadraceProcess): Promise<void> {
    const driver = this.site.driver(instance);
    const connections = Object.entries(this.site.connections ?? {});
    await Promise.all(
      connections.map(([name, id]) =>
        until(
          `the barrier of ${name}`,
          async () => (await sync(driver, id as string, BARRIER_MS)).job.status === 'succeeded',
          BARRIER_MS,
        ),
      ),
    );
  }

  private async write(): Promise<void> {
    let much = 0;
    while (!this.resting) {
      if (Date.now() - much > MUCH_EVERY_MS) {
        if (this.actedAt === 0) await this.site.writeMuch(this.point.needs);
        much = Date.now();
      }
      this.latest = await this.site.write();
      await delay(WRITE_EVERY_MS);
    }
  }

  private async rest(): Promise<void> {
    this.resting = true;
    await this.writing;
  }
}

function isRunning({ pid }: HeadraceProcess): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}
