import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { memoryLimitMb } from '../../../../core/config/memory-limit.ts';

const folder = mkdtempSync(join(tmpdir(), 'headrace-limits-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
mkdirSync(join(folder, 'config', 'airbyte'), { recursive: true });
writeFileSync(
  join(folder, 'config', 'airbyte', 'config.yaml'),
  'resources: { source: { memory_limit: 300Mi }, destination: { memory_limit: 400Mi } }',
);

const module = new URL('../../../../core/config/memory-limit.ts', import.meta.url).href;

/** Heap limit in MiB and HEADRACE_MEMORY_MB of a process that kept to its limit. */
function started(
  groups: string[],
  env: Record<string, string>,
): { heapMb: number; memory: string } {
  const program = `
    import { getHeapStatistics } from 'node:v8';
    import { keepToMemoryLimit } from '${module}';
    keepToMemoryLimit(${JSON.stringify(groups)});
    const heapMb = Math.round(getHeapStatistics().heap_size_limit / 2 ** 20);
    console.log(JSON.stringify({ heapMb, memory: process.env.HEADRACE_MEMORY_MB ?? '' }));`;
  const ended = spawnSync(process.execPath, ['--input-type=module', '-e', program], {
    cwd: folder,
    env: { PATH: process.env['PATH'], ...env },
    encoding: 'utf8',
  });
  expect(ended.stderr).toBe('');
  return JSON.parse(ended.stdout) as { heapMb: number; memory: string };
}

describe('the memory of a process', { timeout: 120_000 }, () => {
  it("is what Airbyte's file gives to what it works for", () => {
    const { heapMb, memory } = started(['source'], {});
    expect(memory).toBe('300');
    expect(heapMb).toBeGreaterThanOrEqual(300);
    // With the room for young objects, which Node adds; its own choice would be gigabytes.
    expect(heapMb).toBeLessThan(600);
    expect(started(['source', 'destination', 'orchestrator'], {}).memory).toBe('400');
  });

  it("is the environment's, and ours before all", () => {
    const env = { JOB_MAIN_CONTAINER_MEMORY_LIMIT: '1Gi' };
    expect(started(['source'], env).memory).toBe('1024');
    expect(started(['source'], { ...env, HEADRACE_MEMORY_MB: '500' }).memory).toBe('500');
    expect(started(['orchestrator'], env).memory).toBe('');
  });

  it('is refused from a file that was named and is not there', () => {
    const env = { HEADRACE_RESOURCES_FILE: join(folder, 'none.yaml') };
    expect(() => memoryLimitMb(['source'], env)).toThrow(/none.yaml \(resources\) cannot be read/);
  });
});
