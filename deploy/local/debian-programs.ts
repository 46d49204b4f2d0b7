import { execFileSync } from 'node:child_process';
import { existsSync, globSync, mkdirSync, readdirSync, renameSync, rmSync } from 'node:fs';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { PipelineError } from '../../core/errors/pipeline-error.ts';
import { cacheFolder, fetchOnce, reportProgress, requireTool, runFetch } from './cache.ts';

export interface DebianPrograms {
  /** The folder's name in the cache. */
  readonly name: string;
  /** A Debian release, e.g. `sid`; it need not be this machine's. */
  readonly suite: string;
  readonly packages: readonly string[];
  /** Packages that the programs run without: what only serves scripts. */
  readonly skip: RegExp;
}

const KEYRING = '/usr/share/keyrings/debian-archive-keyring.gpg';

/**
 * Programs of another Debian release, with all the libraries they need, unpacked into the cache and
 * installed nowhere: the machine's own packages are neither read nor touched. Answers the root of
 * the unpacked tree. A moving release can drop a file between its list and its pool, hence the tries.
 */
export function debianPrograms(programs: DebianPrograms): Promise<string> {
  const root = join(cacheFolder(), programs.name);
  return fetchOnce(root, async () => {
    requireTool('apt-get', `to fetch ${programs.name}`, 'Kafka, MinIO and PostgreSQL work.');
    const work = `${root}.work`;
    for (let attempt = 1; ; attempt++) {
      try {
        await download(programs, work);
        break;
      } catch (error) {
        if (attempt === 3) throw error;
        reportProgress(`fetching ${programs.name} again: ${(error as Error).message}`);
      }
    }
    await unpack(programs.name, work);
    renameSync(join(work, 'root'), root);
    rmSync(work, { recursive: true, force: true });
  });
}

/** Downloads are checked by apt against the release's signed index. */
async function download(programs: DebianPrograms, work: string): Promise<void> {
  const options = aptFolder(programs.suite, work);
  await runFetch(`reading the package list of Debian ${programs.suite}`, [
    'apt-get',
    ...options,
    'update',
  ]);
  const install = [...options, 'install', '-y', '--print-uris', ...programs.packages];
  const uris = execFileSync('apt-get', install, { encoding: 'utf8', stdio: 'pipe' });
  // Each line is: 'URI' name_version_architecture.deb size hash
  const names = [...uris.matchAll(/^'[^']*' ([^_]+)_/gm)].map((match) => match[1] ?? '');
  const wanted = names.filter((name) => !programs.skip.test(name));
  await runFetch(
    `fetching ${programs.name} (${wanted.length} Debian packages)`,
    ['apt-get', ...options, 'download', ...wanted],
    { cwd: join(work, 'debs') },
  );
}

/** A package manager's state of its own, in which nothing is installed: so everything is resolved. */
function aptFolder(suite: string, work: string): string[] {
  rmSync(work, { recursive: true, force: true });
  for (const folder of ['debs', 'lists/partial', 'cache/archives/partial', 'none']) {
    mkdirSync(join(work, folder), { recursive: true });
  }
  const signed = existsSync(KEYRING) ? `[signed-by=${KEYRING}] ` : '';
  writeFileSync(join(work, 'status'), '');
  writeFileSync(join(work, 'sources.list'), `deb ${signed}${debianArchive()} ${suite} main\n`);
  const settings = {
    'Dir::Etc::sourcelist': join(work, 'sources.list'),
    'Dir::Etc::sourceparts': join(work, 'none'),
    'Dir::Etc::preferences': '/dev/null',
    'Dir::Etc::preferencesparts': join(work, 'none'),
    'Dir::State': work,
    'Dir::State::lists': join(work, 'lists'),
    'Dir::State::status': join(work, 'status'),
    'Dir::Cache': join(work, 'cache'),
    'Dir::Cache::archives': join(work, 'cache/archives'),
    'APT::Sandbox::User': 'root',
    'APT::Install-Recommends': 'false',
    'Debug::NoLocking': 'true',
    'Acquire::Languages': 'none',
    'Acquire::PDiffs': 'false',
    'Acquire::Retries': '3',
    'Acquire::IndexTargets::deb::DEP-11::DefaultEnabled': 'false',
  };
  return ['-q', ...Object.entries(settings).flatMap(([name, value]) => ['-o', `${name}=${value}`])];
}

/** The mirror that this machine's own package manager uses. */
function debianArchive(): string {
  const format = ['indextargets', '--format', '$(REPO_URI)', 'Identifier: Packages'];
  const sites = execFileSync('apt-get', [...format, 'Component: main'], { encoding: 'utf8' });
  const site = sites.split('\n').find((line) => line !== '' && !line.includes('security'));
  if (site !== undefined) return site;
  throw new PipelineError('STACK_FETCH_FAILED', "no Debian archive among this machine's sources");
}

async function unpack(name: string, work: string): Promise<void> {
  const root = join(work, 'root');
  mkdirSync(root);
  const script = 'for deb in "$1"/*.deb; do dpkg-deb -x "$deb" "$2" || exit 1; done';
  await runFetch(`unpacking ${name}`, ['sh', '-c', script, 'sh', join(work, 'debs'), root]);
  for (const folder of readdirSync(join(root, 'usr/share'))) {
    if (['doc', 'man', 'locale', 'lintian', 'bug'].includes(folder)) {
      rmSync(join(root, 'usr/share', folder), { recursive: true });
    }
  }
}

/**
 * The command that runs a program of the tree under the tree's own loader: started directly, it
 * would be given this machine's older libraries.
 */
export function debianCommand(root: string, program: string): [string, ...string[]] {
  const folders = globSync(join(root, '{lib,usr/lib}/*-linux-gnu'));
  const [loader] = globSync(join(root, '{lib,usr/lib}/*-linux-gnu/ld-linux-*.so.*'));
  if (loader === undefined) {
    throw new PipelineError('STACK_FETCH_FAILED', `there is no loader below ${root}; delete it`);
  }
  const libraries = folders.join(':');
  return [loader, '--library-path', libraries, '--argv0', program, join(root, program)];
}
