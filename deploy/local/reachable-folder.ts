import { createHash } from 'node:crypto';
import { existsSync, globSync, mkdirSync, readFileSync, rmSync } from 'node:fs';
import { symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { canEnter, type ServerUser } from './server-user.ts';

const SHELTER = '/var/tmp/headrace-';

/**
 * `<folder>/data`, as a path that the server's account can get to. Where it cannot (a checkout in
 * root's 0700 home, a private temporary folder), that name becomes a link to a folder in /var/tmp.
 */
export function reachableData(folder: string, user: ServerUser | null): string {
  mkdirSync(folder, { recursive: true });
  const data = join(folder, 'data');
  if (user === null || canEnter(data, user)) return data;
  removeOrphans();
  const shelter = `${SHELTER}${createHash('sha256').update(folder).digest('hex').slice(0, 16)}`;
  const sheltered = join(shelter, 'data');
  if (!existsSync(data)) {
    // What lies there belongs to an earlier folder of this name that was deleted.
    rmSync(shelter, { recursive: true, force: true });
    mkdirSync(sheltered, { recursive: true });
    writeFileSync(originFile(shelter), folder);
    rmSync(data, { force: true });
    symlinkSync(sheltered, data);
  }
  return sheltered;
}

/** Says whose data these are: who deletes the folder cannot know of its shelter. */
function originFile(shelter: string): string {
  return join(shelter, 'origin');
}

function removeOrphans(): void {
  for (const origin of globSync(originFile(`${SHELTER}*`))) {
    try {
      if (existsSync(readFileSync(origin, 'utf8'))) continue;
      rmSync(join(origin, '..'), { recursive: true, force: true });
    } catch {
      // Another process removes it, or it is another account's.
    }
  }
}
