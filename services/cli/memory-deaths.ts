import { join } from 'node:path';
import type { Logger } from '../../core/observe/logger.ts';
import { leaveWordOfMemoryDeath, takeMemoryDeaths } from '../../core/run/memory-death.ts';
import type { Store } from '../../core/store/store.ts';

/** Longer than a scheduler's lease: after the death of a process that had all roles, its successor's
 * scheduler comes to work only when that has run out. */
const WORD_STANDS_MS = 15_000;
const MIB = 1024 * 1024;

/**
 * Tells the jobs of processes that ended for want of memory, in the words by which Airbyte's users
 * look for it, and sees to it that this one's end would be told of too.
 */
export async function watchMemoryDeaths(
  home: string,
  owner: string,
  { store, log }: { readonly store: Pick<Store, 'work'>; readonly log: Logger },
): Promise<void> {
  const folder = join(home, 'deaths');
  for (const { owner: dead, at, heapLimitBytes } of await takeMemoryDeaths(folder)) {
    const limitMb = Math.round(heapLimitBytes / MIB);
    const message =
      'OOMKilled: Container exceeded memory limit: ' +
      `the process ended at a heap of ${limitMb} MiB.`;
    const units = await store.work.lastWord(
      dead,
      (kind) => ({
        code: kind === 'source' ? 'SRC_OUT_OF_MEMORY' : 'SNK_OUT_OF_MEMORY',
        message,
        at,
      }),
      WORD_STANDS_MS,
    );
    log.error({ dead, units, limitMb }, 'an earlier process ended for want of memory');
  }
  leaveWordOfMemoryDeath(folder, owner);
}
