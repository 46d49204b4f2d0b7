import { globSync, readFileSync } from 'node:fs';
import { relative } from 'node:path';
import { fileURLToPath } from 'node:url';

export const ROOT = fileURLToPath(new URL('../../../', import.meta.url));

/** The folders of the running program, lowest first; a folder imports from itself and those before. */
export const PROGRAM_FOLDERS = ['core', 'schemas', 'topics', 'connectors', 'services'] as const;

export interface SourceFile {
  /** From the root, with forward slashes: `core/errors/codes.ts`. */
  readonly path: string;
  readonly text: string;
}

export function sourceFiles(folders: readonly string[]): SourceFile[] {
  const patterns = folders.map((folder) => `${ROOT}${folder}/**/*.ts`);
  return globSync(patterns)
    .toSorted()
    .map((file) => ({ path: relative(ROOT, file), text: readFileSync(file, 'utf8') }));
}

const IMPORT = /(?:\bfrom\s*|\bimport\s*\(\s*|\brequire\s*\(\s*|^import\s+)'([^']+)'/gm;

/** What a file imports, as written: `node:fs`, `pg`, `../errors/codes.ts`. */
export function importsOf(file: SourceFile): string[] {
  return [...file.text.matchAll(IMPORT)].map((match) => match[1] ?? '');
}
