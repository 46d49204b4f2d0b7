import { execFileSync } from 'node:child_process';
import { mkdirSync, renameSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { cacheFolder, fetchOnce, requireTool, runFetch } from '../../deploy/local/cache.ts';

export interface ComposeService {
  readonly image?: string;
  readonly build?: { readonly context: string; readonly dockerfile: string };
  readonly command?: readonly string[];
  /** An object, or a list of NAME=value where the service extends another. */
  readonly environment?: Readonly<Record<string, string>> | readonly string[];
  readonly ports?: readonly {
    readonly published: string;
    readonly target: number;
    readonly host_ip?: string;
  }[];
  readonly volumes?: readonly { readonly source: string; readonly target: string }[];
  readonly healthcheck?: { readonly test: readonly string[] };
  readonly depends_on?: Readonly<Record<string, { readonly condition: string }>>;
}

export interface ComposeModel {
  readonly name: string;
  readonly services: Readonly<Record<string, ComposeService>>;
  readonly volumes: Readonly<Record<string, unknown>>;
}

/**
 * A compose file as an engine would see it: every variable at its default (the parser's program does
 * not look at the environment), `extends` resolved, consistency checked, by the reference parser of
 * the Compose specification (built by Go, once).
 */
export async function resolveCompose(file: string): Promise<ComposeModel> {
  const parser = await composeParser();
  const text = execFileSync(parser, ['-format', 'json', file], {
    encoding: 'utf8',
    cwd: dirname(file),
  });
  return JSON.parse(text) as ComposeModel;
}

function composeParser(): Promise<string> {
  const program = join(cacheFolder(), 'bin', 'compose-model');
  return fetchOnce(program, async () => {
    requireTool('go', 'to build the Compose parser once', 'all tests but the compose ones run.');
    const draft = join(cacheFolder(), 'compose-model.draft');
    mkdirSync(draft, { recursive: true });
    await runFetch(
      'building the Compose parser',
      ['go', 'install', 'github.com/compose-spec/compose-go/v2/cmd@latest'],
      { environment: { GOBIN: draft, GOFLAGS: '' } },
    );
    renameSync(join(draft, 'cmd'), program);
  });
}
