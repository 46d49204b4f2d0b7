import { mkdir, readdir, rm } from 'node:fs/promises';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { isSameProcessAlive, OWN_PROCESS } from '../../core/run/process-alive.ts';

/**
 * Where the sink's unfinished files lie: below HEADRACE_HOME, a folder for each process. Of one process
 * alone, for one that was stopped and wakes up clears away what it thinks is its own while its successor
 * is writing (torture seed 2).
 */
export class Scratch {
  private readonly folder: string;
  private readonly own: string;

  constructor(home: string) {
    this.folder = join(home, 'scratch');
    this.own = join(this.folder, `${hostname()}.${OWN_PROCESS}`);
  }

  async folderOf(connectionId: string): Promise<string> {
    const folder = join(this.own, connectionId);
    await mkdir(folder, { recursive: true });
    return folder;
  }

  /** Removes what processes of this machine left that ended without clearing up. */
  async clearOfTheDead(): Promise<void> {
    for (const name of await readdir(this.folder).catch(() => [])) {
      const [, host, owner = ''] = /^(.*)\.(\d+-\d+)$/.exec(name) ?? [];
      if (host !== hostname() || isSameProcessAlive(owner)) continue;
      await rm(join(this.folder, name), { recursive: true, force: true });
    }
  }

  /** For a process whose deliveries have all ended. */
  async clearOwn(): Promise<void> {
    await rm(this.own, { recursive: true, force: true, maxRetries: 3 });
  }
}
