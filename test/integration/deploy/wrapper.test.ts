import { spawn } from 'node:child_process';
import { chmodSync, copyFileSync, mkdirSync, mkdtempSync, rmSync, symlinkSync } from 'node:fs';
import { utimesSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { ROOT } from '../../unit/house/source-files.ts';

interface Outcome {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** Says where it was started and with what, in the words of the program's own entry point. */
const MAIN = `const words: string[] = process.argv.slice(2);
console.log(JSON.stringify({ cwd: process.cwd(), words }));
process.exitCode = words.length;
`;
const INSTALLING = 'installing packages';

describe('./headrace', () => {
  let checkout: string;
  let elsewhere: string;

  beforeAll(() => {
    const base = mkdtempSync(join(tmpdir(), 'headrace wrapper '));
    checkout = join(base, 'check out');
    elsewhere = join(base, 'else where');
    for (const folder of ['scripts', 'services'])
      mkdirSync(join(checkout, folder), { recursive: true });
    mkdirSync(elsewhere);
    for (const file of ['headrace', 'scripts/node.sh']) {
      copyFileSync(join(ROOT, file), join(checkout, file));
    }
    const manifest = { name: 'headrace', version: '1.0.0', type: 'module' };
    const lock = { ...manifest, lockfileVersion: 3, packages: { '': manifest } };
    writeFileSync(join(checkout, 'package.json'), JSON.stringify(manifest));
    writeFileSync(join(checkout, 'package-lock.json'), JSON.stringify(lock));
    writeFileSync(join(checkout, 'services/main.ts'), MAIN);
  });
  afterAll(() => rmSync(dirname(checkout), { recursive: true, force: true }));

  const run = (program: string, ...args: string[]) =>
    outcomeOf(program, args, { cwd: elsewhere, path: process.env['PATH'] ?? '' });

  test('installs the packages once, also when two start at the same time', async () => {
    const program = join(checkout, 'headrace');
    const both = await Promise.all([run(program), run(program)]);
    expect(both.map((outcome) => outcome.code)).toEqual([0, 0]);
    expect(both.filter((outcome) => outcome.stderr.includes(INSTALLING))).toHaveLength(1);

    const later = await run(program);
    expect(later.stderr).toBe('');
  });

  test('runs in the folder of the caller, hands over every word and the exit code', async () => {
    const { code, stdout } = await run(join(checkout, 'headrace'), 'a b', '', '$HOME');
    expect(JSON.parse(stdout)).toEqual({ cwd: elsewhere, words: ['a b', '', '$HOME'] });
    expect(code).toBe(3);
  });

  test('is found through a symbolic link', async () => {
    symlinkSync('../check out/headrace', join(elsewhere, 'linked'));
    const { code, stdout } = await run(join(elsewhere, 'linked'), 'word');
    expect(JSON.parse(stdout)).toEqual({ cwd: elsewhere, words: ['word'] });
    expect(code).toBe(1);
  });

  test('installs again when the lockfile is newer than what is installed', async () => {
    const soon = new Date(Date.now() + 5_000);
    utimesSync(join(checkout, 'package-lock.json'), soon, soon);
    const { code, stdout, stderr } = await run(join(checkout, 'headrace'));
    expect(code).toBe(0);
    expect(stderr).toContain(INSTALLING);
    expect(JSON.parse(stdout)).toMatchObject({ words: [] });
    expect((await run(join(checkout, 'headrace'))).stderr).toBe('');
  });

  test('says so when there is no Node that can run it', async () => {
    const old = join(elsewhere, 'old');
    mkdirSync(old);
    writeFileSync(join(old, 'node'), '#!/bin/sh\necho v20.20.2\n');
    chmodSync(join(old, 'node'), 0o755);
    const { code, stderr } = await outcomeOf(join(checkout, 'headrace'), [], {
      cwd: elsewhere,
      path: `${old}:/usr/bin:/bin`,
    });
    expect(stderr).toContain('Node 22.18');
    expect(code).toBe(69);
  });
});

function outcomeOf(
  program: string,
  args: readonly string[],
  place: { readonly cwd: string; readonly path: string },
): Promise<Outcome> {
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, {
      cwd: place.cwd,
      env: { PATH: place.path, HOME: process.env['HOME'] ?? '/' },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    let [stdout, stderr] = ['', ''];
    child.stdout.on('data', (chunk: Buffer) => (stdout += chunk.toString()));
    child.stderr.on('data', (chunk: Buffer) => (stderr += chunk.toString()));
    child.once('error', reject);
    child.once('close', (code) => resolve({ code, stdout, stderr }));
  });
}
