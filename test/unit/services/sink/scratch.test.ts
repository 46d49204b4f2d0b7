import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, mkdtemp, readdir, rm } from 'node:fs/promises';
import { hostname, tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { OWN_PROCESS } from '../../../../core/run/process-alive.ts';
import { Scratch } from '../../../../services/sink/scratch.ts';

describe('scratch folders', () => {
  let home: string;
  beforeEach(async () => {
    home = await mkdtemp(join(tmpdir(), 'headrace-scratch-'));
  });
  afterEach(() => rm(home, { recursive: true, force: true }));

  const leave = (name: string) => mkdir(join(home, 'scratch', name, 'a'), { recursive: true });
  const left = () => readdir(join(home, 'scratch'));

  test('of ended processes go, also where a later process has the id', async () => {
    const ended = spawn('true');
    await once(ended, 'exit');
    await leave(`${hostname()}.${ended.pid}-77`);
    await leave(`${hostname()}.${process.pid}-77`);
    await new Scratch(home).clearOfTheDead();
    expect(await left()).toEqual([]);
  });

  test('of running processes and of other machines stay', async () => {
    const names = [`${hostname()}.${OWN_PROCESS}`, `other.example.${process.pid}-77`];
    await Promise.all(names.map(leave));
    await new Scratch(home).clearOfTheDead();
    expect((await left()).toSorted()).toEqual(names.toSorted());
  });

  test('of a process that ends by itself go with it', async () => {
    const scratch = new Scratch(home);
    await scratch.folderOf('first');
    await scratch.folderOf('second');
    expect(await readdir(join(home, 'scratch', `${hostname()}.${OWN_PROCESS}`))).toHaveLength(2);
    await scratch.clearOwn();
    expect(await left()).toEqual([]);
  });
});
