import { spawn, type ChildProcess } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { fetchOnce, requireTool } from '../../../deploy/local/cache.ts';
import { identify, waitUntilGone } from '../../../deploy/local/process.ts';
import { ROOT } from '../../unit/house/source-files.ts';

function local(file: string): string {
  return JSON.stringify(join(ROOT, 'deploy/local', file));
}

/** A process of its own that runs the module's text; the folder is its cache. */
function start(script: string, cache: string, path = process.env['PATH'] ?? ''): ChildProcess {
  return spawn(process.execPath, ['--input-type=module', '-e', script], {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { PATH: path, HOME: process.env['HOME'] ?? '/', HEADRACE_CACHE: cache },
  });
}

function ended(child: ChildProcess): Promise<{ code: number | null; output: string }> {
  let output = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream?.on('data', (chunk: Buffer) => (output += chunk.toString()));
  }
  return new Promise((resolve) => child.once('close', (code) => resolve({ code, output })));
}

describe('the cache of server programs', () => {
  let cache: string;
  beforeAll(() => {
    cache = mkdtempSync(join(tmpdir(), 'headrace cache '));
  });
  afterAll(() => rmSync(cache, { recursive: true, force: true }));

  test('two processes over an empty cache fetch Kafka once, both get it', async () => {
    const script = `
      import { kafkaHome } from ${local('kafka.ts')};
      console.log('home ' + await kafkaHome());`;
    const both = await Promise.all([ended(start(script, cache)), ended(start(script, cache))]);
    const home = join(cache, 'kafka-4.3.1');
    for (const { code, output } of both) {
      expect(output).toContain(`home ${home}`);
      expect(code).toBe(0);
    }
    const fetched = both.filter(({ output }) => output.includes('fetching Apache Kafka'));
    expect(fetched).toHaveLength(1);
    expect(readdirSync(cache)).toEqual(['kafka-4.3.1']);
    expect(existsSync(join(home, 'classes.jsa'))).toBe(true);
  });

  test('a fetch that was killed leaves nothing that looks complete, and nobody waits for it', async () => {
    const path = join(cache, 'made');
    const script = `
      import { fetchOnce } from ${local('cache.ts')};
      await fetchOnce(${JSON.stringify(path)}, () => {
        console.log('working');
        return new Promise((resolve) => setTimeout(resolve, 1e6));
      });`;
    const child = start(script, cache);
    const killed = identify(child.pid!);
    await new Promise((resolve) => child.stdout?.once('data', resolve));
    child.kill('SIGKILL');
    expect(await waitUntilGone(killed, 10_000)).toBe(true);
    expect(existsSync(path)).toBe(false);
    expect(existsSync(`${path}.lock`)).toBe(true);

    await fetchOnce(path, async () => writeFileSync(path, 'second'));
    expect(readFileSync(path, 'utf8')).toBe('second');
    expect(existsSync(`${path}.lock`)).toBe(false);
  });

  test('a failed fetch is tried again by the next one', async () => {
    const path = join(cache, 'flaky');
    const failing = fetchOnce(path, () => Promise.reject(new Error('no network')));
    await expect(failing).rejects.toThrow('no network');
    await fetchOnce(path, async () => writeFileSync(path, 'here'));
    expect(readFileSync(path, 'utf8')).toBe('here');
  });

  test('a missing tool is named, with what works without it', async () => {
    expect(() => requireTool('no-such-tool', 'to dig', 'all else works.')).toThrow(
      expect.objectContaining({
        code: 'STACK_TOOL_MISSING',
        message:
          "'no-such-tool' is not installed; it is needed to dig. Without it: all else works.",
      }),
    );
    const empty = mkdtempSync(join(cache, 'empty-'));
    const script = `
      import { startMinio } from ${local('minio.ts')};
      await startMinio({ folder: ${JSON.stringify(join(empty, 'minio'))} });`;
    const { code, output } = await ended(start(script, empty, '/nonexistent'));
    expect(code).not.toBe(0);
    expect(output).toContain('STACK_TOOL_MISSING');
    expect(output).toContain("'go' is not installed");
  });
});
