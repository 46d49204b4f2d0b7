import { cpSync, existsSync, readFileSync, renameSync, rmSync, symlinkSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { PipelineError } from '../../core/errors/pipeline-error.ts';
import { cacheFolder, fetchOnce } from './cache.ts';
import { canEnter, type ServerUser } from './server-user.ts';

export type PostgresMajor = 14 | 15 | 16 | 17 | 18;

const PACKAGES = fileURLToPath(new URL('../../node_modules/', import.meta.url));
/** Readable by everybody, and made by root only, where it is needed. */
const SHARED_CACHE = '/var/cache/headrace';

/** The folder with initdb, pg_ctl and postgres of that version, usable by the account. */
export async function postgresPrograms(
  major: PostgresMajor,
  user: ServerUser | null,
): Promise<string> {
  const packaged = join(PACKAGES, `pg${major}`, 'native');
  if (!existsSync(packaged)) return installedPrograms(major);
  if (user === null || canEnter(join(packaged, 'bin', 'postgres'), user)) {
    linkLibraries(packaged);
    return join(packaged, 'bin');
  }
  const version = packageVersion(join(PACKAGES, `pg${major}`));
  const cache = canEnter(join(cacheFolder(), 'x'), user) ? cacheFolder() : SHARED_CACHE;
  const copy = join(cache, `postgres-${version}`);
  await fetchOnce(copy, async () => {
    const draft = `${copy}.draft`;
    rmSync(draft, { recursive: true, force: true });
    cpSync(packaged, draft, { recursive: true, verbatimSymlinks: true });
    linkLibraries(draft);
    renameSync(draft, copy);
  });
  return join(copy, 'bin');
}

/** A distribution's own server, for an installation without development packages. */
function installedPrograms(major: PostgresMajor): string {
  const folder = `/usr/lib/postgresql/${major}/bin`;
  if (existsSync(join(folder, 'postgres'))) return folder;
  throw new PipelineError(
    'STACK_TOOL_MISSING',
    `PostgreSQL ${major} is neither in node_modules/pg${major} nor in ${folder}; ` +
      'Kafka, MinIO and databases that run elsewhere work without it',
    { details: { tool: `postgres ${major}` } },
  );
}

function packageVersion(folder: string): string {
  const manifest = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8')) as {
    readonly version: string;
  };
  return manifest.version;
}

interface LibraryLink {
  readonly source: string;
  readonly target: string;
}

/**
 * npm cannot carry symbolic links, so the package makes them in an install script, which a careful
 * user's npm does not run. Without them the server does not find its libraries.
 */
function linkLibraries(native: string): void {
  const list = join(native, 'pg-symlinks.json');
  if (!existsSync(list)) return;
  for (const { source, target } of JSON.parse(readFileSync(list, 'utf8')) as LibraryLink[]) {
    const link = join(native, '..', target.replace(/^native\//, `${basename(native)}/`));
    const original = join(native, '..', source.replace(/^native\//, `${basename(native)}/`));
    if (existsSync(link) || dirname(link) !== dirname(original)) continue;
    try {
      symlinkSync(basename(original), link);
    } catch (error) {
      // Another process linked it at the same time.
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
    }
  }
}
