import { spawnSync } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, it } from 'vitest';
import { takeMemoryDeaths } from '../../../../core/run/memory-death.ts';

const folder = mkdtempSync(join(tmpdir(), 'headrace-deaths-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const module = new URL('../../../../core/run/memory-death.ts', import.meta.url).href;

it('of a process with a full heap is known to the next one, once, without its secrets', async () => {
  const program = `
    import { leaveWordOfMemoryDeath } from '${module}';
    leaveWordOfMemoryDeath('${folder}', 'host-7-0a1b2c3d');
    const held = [];
    for (;;) held.push(new Array(100_000).fill(Math.random()));`;
  const before = Date.now();
  const ended = spawnSync(
    process.execPath,
    ['--max-old-space-size=40', '--input-type=module', '-e', program],
    { env: { ...process.env, PASSWORD: 'canary-in-the-heap' }, encoding: 'utf8' },
  );
  expect(ended.status).not.toBe(0);
  const [name = ''] = readdirSync(folder);
  expect(readFileSync(join(folder, name), 'utf8')).not.toContain('canary');
  writeFileSync(join(folder, 'other-8-ffffffff.out-of-memory.json'), '{"header": {');

  const [death, ...others] = await takeMemoryDeaths(folder);
  expect(others).toEqual([]);
  expect(death).toMatchObject({ owner: 'host-7-0a1b2c3d' });
  expect(death?.at).toBeGreaterThanOrEqual(before);
  expect(death?.heapLimitBytes).toBeGreaterThan(2 ** 20);
  expect(await takeMemoryDeaths(folder)).toEqual([]);
}, 120_000);
