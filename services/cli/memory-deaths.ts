import { join } from 'node:path';
import type { Logger } from '../../core/observe/logger.ts';
import { keepSignOfLife, takeKernelDeaths } from '../../core/run/kernel-death.ts';
import { leaveWordOfMemoryDeath, takeMemoryDeaths } from '../../core/run/memory-death.ts';
import type { Store } from '../../core/store/store.ts';

/** Longer than a scheduler's lease: after the death of a process that had all roles, its successor's
 * scheduler comes to work only when that has run out. */
const WORD_STANDS_MS = 15_000;
const MIB = 1024 * 1024;

const KILLED = 'OOMKilled: Container exceeded memory limit: ';

/**
 * Tells the jobs of processes that ended for want of memory, in the words by which Airbyte's users
 * look for it, and sees to it that this one's end would be told of too; what it answers is to be
 * called at a clean end.
 */
export async function watchMemoryDeaths(
  home: string,
  owner: string,
  { store, log }: { readonly store: Pick<Store, 'work'>; readonly log: Logger },
): Promise<() => void> {
  const folder = join(home, 'deaths');
  for (const { owner: dead, at, message } of await deathsIn(folder)) {
    const units = await store.work.lastWord(
      dead,
      (kind) => ({
        code: kind === 'source' ? 'SRC_OUT_OF_MEMORY' : 'SNK_OUT_OF_MEMORY',
        message,
        at,
      }),
      WORD_STANDS_MS,
    );
    log.error({ dead, units, why: message }, 'an earlier process ended for want of memory');
  }
  leaveWordOfMemoryDeath(folder, owner);
  return keepSignOfLife(folder, owner);
}

async function deathsIn(
  folder: string,
): Promise<{ readonly owner: string; readonly at: number; readonly message: string }[]> {
  const ofFullHeaps = (await takeMemoryDeaths(folder)).map(({ owner, at, heapLimitBytes }) => {
    const limitMb = Math.round(heapLimitBytes / MIB);
    return { owner, at, message: `${KILLED}the process ended at a heap of ${limitMb} MiB.` };
  });
  const said = new Set(ofFullHeaps.map(({ owner }) => owner));
  const ofKernel = (await takeKernelDeaths(folder))
    .filter(({ owner }) => !said.has(owner))
    .map((death) => ({
      ...death,
      message:
        `${KILLED}the process ended without a word, and the kernel has ended one for want of ` +
        'memory since.',
    }));
  return [...ofFullHeaps, ...ofKernel];
}
