import { spawnSync } from 'node:child_process';
import { statSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import { requireTool } from './cache.ts';

/** The account a database server runs under when we are root, which PostgreSQL refuses to run as. */
export interface ServerUser {
  readonly name: string;
  readonly uid: number;
  readonly gid: number;
}

const EXECUTE_BY_OTHERS = 0o001;

/** `postgres` or `nobody` when we are root; null when servers run as ourselves. */
export function serverUser(): ServerUser | null {
  if (process.getuid?.() !== 0) return null;
  requireTool('setpriv', 'to run PostgreSQL as root', 'run the command as an ordinary user.');
  return accountNamed('postgres') ?? accountNamed('nobody');
}

function accountNamed(name: string): ServerUser | null {
  const ask = (flag: string) => spawnSync('id', [flag, name], { encoding: 'utf8' });
  const uid = ask('-u');
  if (uid.status !== 0) return null;
  return { name, uid: Number(uid.stdout), gid: Number(ask('-g').stdout) };
}

/** Whether the account gets through every existing folder above `path`, e.g. not through a 0700 home. */
export function canEnter(path: string, user: ServerUser): boolean {
  for (let folder = dirname(resolve(path)); ; folder = dirname(folder)) {
    const stat = statSync(folder, { throwIfNoEntry: false });
    const open = (stat?.mode ?? EXECUTE_BY_OTHERS) & EXECUTE_BY_OTHERS;
    if (open === 0 && stat?.uid !== user.uid) return false;
    if (folder === dirname(folder)) return true;
  }
}

export function asServerUser(
  user: ServerUser | null,
  command: readonly [string, ...string[]],
): [string, ...string[]] {
  if (user === null) return [...command];
  const identity = [`--reuid=${user.uid}`, `--regid=${user.gid}`, '--clear-groups'];
  return ['setpriv', ...identity, '--', ...command];
}
