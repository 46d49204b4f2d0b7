import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, it } from 'vitest';
import { keepSignOfLife, takeKernelDeaths } from '../../../../core/run/kernel-death.ts';

const scratch = mkdtempSync(join(tmpdir(), 'headrace-kernel-'));
afterAll(() => rmSync(scratch, { recursive: true, force: true }));

const folder = join(scratch, 'deaths');
/** In place of the machine's: this test must not have the kernel end anything. */
const counter = join(scratch, 'vmstat');
const module = new URL('../../../../core/run/kernel-death.ts', import.meta.url).href;

function killed(count: number): void {
  writeFileSync(counter, `nr_free_pages 7\noom_kill ${count}\nunevictable_pgs 0\n`);
}

async function living(owner: string): Promise<ChildProcess> {
  const program = `
    import { keepSignOfLife } from '${module}';
    keepSignOfLife('${folder}', '${owner}', '${counter}');
    setInterval(() => undefined, 1000);
    process.stdout.write('lives');`;
  const child = spawn(process.execPath, ['--input-type=module', '-e', program]);
  await once(child.stdout, 'data');
  return child;
}

async function kill(child: ChildProcess): Promise<void> {
  const ended = once(child, 'exit');
  child.kill('SIGKILL');
  await ended;
}

it('a process that ended without a word while the kernel ended one is told of, once', async () => {
  killed(3);
  const [victim, other] = [await living('host-1-a'), await living('host-2-b')];
  await kill(victim);
  killed(4);
  expect(await takeKernelDeaths(folder, counter)).toEqual([
    { owner: 'host-1-a', at: expect.any(Number) as number },
  ]);
  expect(await takeKernelDeaths(folder, counter)).toEqual([]);
  await kill(other);
  expect(await takeKernelDeaths(folder, counter)).toMatchObject([{ owner: 'host-2-b' }]);
});

it('one that somebody else ended is not, nor one that ended by itself', async () => {
  killed(5);
  await kill(await living('host-3-c'));
  expect(await takeKernelDeaths(folder, counter)).toEqual([]);
  expect(readdirSync(folder)).toEqual([]);
  keepSignOfLife(folder, 'host-4-d', counter)();
  killed(6);
  expect(await takeKernelDeaths(folder, counter)).toEqual([]);
});

it('a machine without the counter has no files', () => {
  keepSignOfLife(folder, 'host-5-e', join(scratch, 'nowhere'))();
  expect(readdirSync(folder)).toEqual([]);
});
