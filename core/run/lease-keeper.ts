import { setTimeout as delay } from 'node:timers/promises';
import type { ErrorCode } from '../errors/codes.ts';
import { toPipelineError } from '../errors/pipeline-error.ts';
import type { WorkStore } from '../store/work.ts';

/** Something one instance does at a time: `source:<id>`, `connection:<id>`. */
export interface LeasedUnit {
  readonly unit: string;
  /** A change means that what runs now must be started anew with what is wanted now. */
  readonly version: string;
  /** Runs until the signal aborts; it handles its own retries, and waits for `held` before each. A
   * rejection ends the process, but for a fence by one that does not hold the lease: then it is run
   * again. */
  run(signal: AbortSignal, held: Held): Promise<void>;
}

/** Resolves when the lease is this instance's, or the signal aborts. */
export type Held = () => Promise<void>;

export interface LeaseKeeperOptions {
  readonly store: WorkStore;
  /** Unique per process start: a restarted process does not inherit its predecessor's lease. */
  readonly owner: string;
  readonly ttlMs: number;
  readonly pollMs: number;
  wanted(): Promise<readonly LeasedUnit[]>;
  /** Told when the store does not answer; what runs goes on meanwhile. */
  storeAway(error: unknown): void;
  /** Told when work begins anew because one that was replaced fenced it. */
  fencedByReplaced(unit: string, error: unknown): void;
}

const FENCES: readonly ErrorCode[] = ['KAFKA_FENCED', 'SNK_FENCED'];
/** One that was replaced learns of it within a second or two. Who is fenced again so soon is up against
 * an instance with leases of another store, and both would go on for ever. */
const FENCED_AGAIN_MS = 60_000;

interface Running {
  readonly version: string;
  readonly abort: AbortController;
  readonly done: Promise<void>;
}

/**
 * Keeps exactly what is wanted running, as far as this instance holds the leases. Two instances
 * share the units by who asks first; when one dies, its leases run out and the other takes them.
 * A lease decides who works, never whose work counts: that is fencing's business, so a store that
 * is away stops nothing here.
 */
export class LeaseKeeper {
  private readonly options: LeaseKeeperOptions;
  private readonly running = new Map<string, Running>();
  private failure: { error: unknown } | undefined;

  constructor(options: LeaseKeeperOptions) {
    this.options = options;
  }

  async run(signal: AbortSignal): Promise<void> {
    while (!signal.aborted && this.failure === undefined) {
      try {
        await this.reconcile();
      } catch (error) {
        this.options.storeAway(error);
      }
      await delay(this.options.pollMs, undefined, { signal }).catch(() => undefined);
    }
    await Promise.all([...this.running.keys()].map((unit) => this.stop(unit)));
    if (this.failure !== undefined) throw this.failure.error;
  }

  private async reconcile(): Promise<void> {
    const { store, owner, ttlMs } = this.options;
    const wanted = new Map((await this.options.wanted()).map((unit) => [unit.unit, unit]));
    for (const [unit, running] of this.running) {
      if (wanted.get(unit)?.version !== running.version) await this.stop(unit);
    }
    for (const unit of wanted.values()) {
      const held = await store.acquireLease(unit.unit, owner, ttlMs);
      if (held && !this.running.has(unit.unit)) this.start(unit);
      if (!held && this.running.has(unit.unit)) await this.stop(unit.unit);
    }
  }

  private start(unit: LeasedUnit): void {
    const abort = new AbortController();
    const held = () => this.untilHeld(unit.unit, abort.signal);
    const done = this.work(unit, abort.signal, held).catch((error: unknown) => {
      this.failure ??= { error };
    });
    this.running.set(unit.unit, { version: unit.version, abort, done });
  }

  /** One that slept and wakes up may get one thing done before it learns that it was replaced. It has
   * fenced its successor then, which would end, and nobody would be left. */
  private async work(unit: LeasedUnit, signal: AbortSignal, held: Held): Promise<void> {
    for (let fencedAt = -Infinity; ; fencedAt = Date.now()) {
      try {
        await unit.run(signal, held);
        return;
      } catch (error) {
        const isFence = FENCES.includes(toPipelineError(error).code);
        const isFirst = Date.now() - fencedAt > FENCED_AGAIN_MS;
        if (!isFence || !isFirst || signal.aborted || !(await this.holds(unit.unit))) throw error;
        this.options.fencedByReplaced(unit.unit, error);
      }
    }
  }

  private async holds(unit: string): Promise<boolean> {
    const { store, owner, ttlMs } = this.options;
    return store.acquireLease(unit, owner, ttlMs).catch(() => false);
  }

  /** Who slept for longer than its lease lasts finds its work interrupted; begun anew, that would be
   * taken away from the successor, which has it by right. */
  private async untilHeld(unit: string, signal: AbortSignal): Promise<void> {
    const { store, owner, ttlMs, pollMs } = this.options;
    while (!signal.aborted) {
      try {
        if (await store.acquireLease(unit, owner, ttlMs)) return;
      } catch {
        return; // a store that is away stops nothing
      }
      await delay(pollMs, undefined, { signal }).catch(() => undefined);
    }
  }

  private async stop(unit: string): Promise<void> {
    const running = this.running.get(unit);
    if (running === undefined) return;
    running.abort.abort();
    await running.done;
    this.running.delete(unit);
    await this.options.store.releaseLease(unit, this.options.owner).catch(() => undefined);
  }
}
