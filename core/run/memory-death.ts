import { mkdirSync } from 'node:fs';
import { readdir, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';

/** A process that ended because its heap was full. */
export interface MemoryDeath {
  /** Its name in leases. */
  readonly owner: string;
  /** Epoch milliseconds. */
  readonly at: number;
  readonly heapLimitBytes: number;
}

const ENDING = '.out-of-memory.json';

/**
 * From now on a full heap leaves a file behind, as `owner`, which the next process finds: one that
 * dies of it can run nothing any more. Node writes it; the environment, which has secrets, and what
 * the sockets are connected to stay out of it.
 */
export function leaveWordOfMemoryDeath(folder: string, owner: string): void {
  mkdirSync(folder, { recursive: true });
  Object.assign(process.report, {
    directory: folder,
    filename: `${owner}${ENDING}`,
    compact: true,
    excludeEnv: true,
    excludeNetwork: true,
    reportOnFatalError: true,
  });
}

/** What was left behind, each taken once: told of, a file is gone. */
export async function takeMemoryDeaths(folder: string): Promise<MemoryDeath[]> {
  const names = await readdir(folder).catch(() => []);
  const deaths: MemoryDeath[] = [];
  for (const name of names.filter((each) => each.endsWith(ENDING))) {
    const death = await readDeath(join(folder, name), name.slice(0, -ENDING.length));
    if (death !== null) deaths.push(death);
  }
  return deaths;
}

async function readDeath(path: string, owner: string): Promise<MemoryDeath | null> {
  try {
    const { header, javascriptHeap } = JSON.parse(await readFile(path, 'utf8')) as {
      header: { trigger: string; dumpEventTimeStamp: string };
      javascriptHeap: { memoryLimit: number };
    };
    await rm(path);
    if (header.trigger !== 'OOMError') return null;
    const at = Number(header.dumpEventTimeStamp);
    return { owner, at, heapLimitBytes: javascriptHeap.memoryLimit };
  } catch {
    // Half written by a process that dies this moment, or taken by another one: not ours to tell.
    return null;
  }
}
