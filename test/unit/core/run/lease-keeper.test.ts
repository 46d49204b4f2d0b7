import { describe, expect, it } from 'vitest';
import { PipelineError } from '../../../../core/errors/pipeline-error.ts';
import { LeaseKeeper, type LeasedUnit } from '../../../../core/run/lease-keeper.ts';
import type { WorkStore } from '../../../../core/store/work.ts';

/** Leases as the store keeps them, on a clock that the test moves. */
class Leases {
  now = 0;
  away = false;
  private readonly held = new Map<string, { owner: string; until: number }>();

  readonly store: WorkStore = {
    listWork: () => Promise.resolve({ sources: [], reads: [], connections: [] }),
    saveReport: () => Promise.resolve(),
    takeCommands: () => Promise.resolve([]),
    endReplay: () => Promise.resolve(),
    acquireLease: (unit, owner, ttlMs) => {
      if (this.away) return Promise.reject(new Error('away'));
      const lease = this.held.get(unit);
      if (lease !== undefined && lease.owner !== owner && lease.until > this.now) {
        return Promise.resolve(false);
      }
      this.held.set(unit, { owner, until: this.now + ttlMs });
      return Promise.resolve(true);
    },
    releaseLease: (unit, owner) => {
      if (this.held.get(unit)?.owner === owner) this.held.delete(unit);
      return Promise.resolve();
    },
  };
}

class Worker {
  readonly log: string[] = [];
  readonly abort = new AbortController();
  wanted = new Map<string, string>();
  /** Ends the work that was started last as a fence would. */
  fence = (): void => undefined;
  /** Begins the work that was started last anew, as after an interruption. */
  again = (): Promise<void> => Promise.resolve();
  readonly done: Promise<void>;

  constructor(leases: Leases, owner: string, wanted: Record<string, string>) {
    this.wanted = new Map(Object.entries(wanted));
    const keeper = new LeaseKeeper({
      store: leases.store,
      owner,
      ttlMs: 1_000,
      pollMs: 1,
      wanted: () =>
        Promise.resolve([...this.wanted].map(([unit, version]) => this.unit(unit, version))),
      storeAway: () => this.log.push('store away'),
      fencedByReplaced: (unit) => this.log.push(`fenced ${unit}`),
    });
    this.done = keeper.run(this.abort.signal);
  }

  private unit(unit: string, version: string): LeasedUnit {
    return {
      unit,
      version,
      run: (signal, held) =>
        new Promise((resolve, reject) => {
          this.again = async () => {
            await held();
            this.log.push(signal.aborted ? `gave ${unit} up` : `again ${unit}`);
          };
          this.fence = () => reject(new PipelineError('SNK_FENCED', 'moved on by another'));
          this.log.push(`start ${unit} ${version}`);
          if (version === 'fenced') reject(new Error('fenced'));
          signal.addEventListener('abort', () => {
            this.log.push(`end ${unit} ${version}`);
            resolve();
          });
        }),
    };
  }

  async saw(line: string): Promise<void> {
    await expect.poll(() => this.log).toContain(line);
  }

  async end(): Promise<void> {
    this.abort.abort();
    await this.done;
  }
}

describe('LeaseKeeper', () => {
  it('runs what is wanted, anew when its version changes, and ends what is no more', async () => {
    const worker = new Worker(new Leases(), 'a', { one: 'v1', two: 'v1' });
    await worker.saw('start two v1');
    worker.wanted = new Map([['one', 'v2']]);
    await worker.saw('start one v2');
    await worker.end();
    expect(worker.log).toEqual([
      'start one v1',
      'start two v1',
      'end one v1',
      'end two v1',
      'start one v2',
      'end one v2',
    ]);
  });

  it('gives a unit to one instance, and to the other when the lease has run out', async () => {
    const leases = new Leases();
    const first = new Worker(leases, 'a', { unit: 'v1' });
    await first.saw('start unit v1');
    const second = new Worker(leases, 'b', { unit: 'v1' });
    leases.away = true;
    await second.saw('store away');
    expect(second.log).not.toContain('start unit v1');
    leases.now = 2_000;
    // The first cannot renew while the store is away, and goes on all the same.
    expect(first.log).not.toContain('end unit v1');
    first.wanted = new Map();
    leases.away = false;
    await second.saw('start unit v1');
    await first.saw('end unit v1');
    await Promise.all([first.end(), second.end()]);
  });

  it('goes on when one that was replaced has fenced it, once', async () => {
    const worker = new Worker(new Leases(), 'a', { unit: 'v1' });
    await worker.saw('start unit v1');
    worker.fence();
    await expect.poll(() => worker.log).toEqual(['start unit v1', 'fenced unit', 'start unit v1']);
    worker.fence();
    await expect(worker.done).rejects.toMatchObject({ code: 'SNK_FENCED' });
  });

  it('ends when it is fenced without its lease, or nobody can say', async () => {
    for (const lose of [
      (leases: Leases) => {
        leases.now = 2_000;
        return leases.store.acquireLease('unit', 'b', 1_000);
      },
      async (leases: Leases) => {
        leases.away = true;
      },
    ]) {
      const leases = new Leases();
      const worker = new Worker(leases, 'a', { unit: 'v1' });
      await worker.saw('start unit v1');
      // Before the keeper asks again.
      const lost = lose(leases);
      worker.fence();
      await lost;
      await expect(worker.done).rejects.toMatchObject({ code: 'SNK_FENCED' });
      expect(worker.log).not.toContain('fenced unit');
    }
  });

  it('begins work anew only while its lease is held, or nobody can say', async () => {
    const leases = new Leases();
    const first = new Worker(leases, 'a', { unit: 'v1' });
    await first.saw('start unit v1');
    await first.again();
    leases.away = true;
    await first.again();
    expect(first.log.filter((line) => line === 'again unit')).toHaveLength(2);
    // It slept, and another instance has the lease.
    leases.now = 2_000;
    leases.away = false;
    await leases.store.acquireLease('unit', 'b', 1_000);
    await first.again();
    expect(first.log.at(-1)).toBe('gave unit up');
    await first.end();
  });

  it('ends with the error of a unit that must not go on', async () => {
    const worker = new Worker(new Leases(), 'a', { good: 'v1', bad: 'fenced' });
    await expect(worker.done).rejects.toThrow('fenced');
    expect(worker.log).toContain('end good v1');
  });
});
