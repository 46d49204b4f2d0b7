import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Kafka, logLevel, type Admin } from 'kafkajs';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { portIsFree } from '../../../deploy/local/free-port.ts';
import { endProcess, identify } from '../../../deploy/local/process.ts';
import { stackDown, stackStatus, stackUp } from '../../../deploy/local/stack.ts';
import { ROOT } from '../../unit/house/source-files.ts';

const report = () => undefined;

describe('the local stack', () => {
  let home: string;
  beforeAll(() => {
    home = mkdtempSync(join(tmpdir(), 'headrace stack '));
  });
  afterAll(async () => {
    await stackDown(home);
    rmSync(home, { recursive: true, force: true });
  });

  test('is empty before its first start', () => {
    expect(stackStatus(home)).toEqual([]);
  });

  test('refuses a name it does not have, before it starts anything', async () => {
    await expect(stackUp(['postgres', 'oracle'], { home, report })).rejects.toMatchObject({
      code: 'CFG_INVALID_STACK',
      message: expect.stringContaining("'oracle'"),
    });
    expect(stackStatus(home)).toEqual([]);
  });

  test('outlives the process that started it; two starts at once give one server', async () => {
    await Promise.all([startFromAnotherProcess(home), startFromAnotherProcess(home)]);
    const [postgres, ...others] = stackStatus(home);
    expect(others).toEqual([]);
    expect(postgres).toMatchObject({ name: 'postgres', running: true, host: '127.0.0.1' });
    expect(await portIsFree(postgres!.port)).toBe(false);
  });

  test('leaves a running server alone, and keeps ports from one start to the next', async () => {
    const [before] = stackStatus(home);
    const [same] = await stackUp(['postgres'], { home, report });
    expect(same).toEqual(before);

    await stackDown(home);
    expect(stackStatus(home)).toEqual([{ ...before, running: false, pid: null }]);
    expect(await portIsFree(before!.port)).toBe(true);

    const [after] = await stackUp(['postgres'], { home, report });
    expect(after).toMatchObject({ running: true, port: before!.port, folder: before!.folder });
  });

  test('starts again what was killed', async () => {
    const [before] = stackStatus(home);
    await endProcess(identify(before!.pid!), 'SIGKILL', 0);
    const [after] = await stackUp(['postgres'], { home, report });
    expect(after).toMatchObject({ running: true, port: before!.port });
    expect(after!.pid).not.toBe(before!.pid);
  });
});

test('the default set starts side by side, and keeps its data from one start to the next', async () => {
  const home = mkdtempSync(join(tmpdir(), 'headrace stack '));
  try {
    const servers = await stackUp([], { home, report });
    expect(servers.map(({ name, running }) => [name, running])).toEqual([
      ['kafka', true],
      ['minio', true],
      ['postgres', true],
    ]);
    expect(new Set(servers.map((server) => server.port)).size).toBe(3);
    await withAdmin(servers[0]!.url, (admin) =>
      admin.createTopics({ topics: [{ topic: 'kept' }] }),
    );

    await stackDown(home);
    expect(stackStatus(home).map((server) => server.running)).toEqual([false, false, false]);

    const [kafka] = await stackUp(['kafka'], { home, report });
    expect(await withAdmin(kafka!.url, (admin) => admin.listTopics())).toEqual(['kept']);
  } finally {
    await stackDown(home);
    rmSync(home, { recursive: true, force: true });
  }
});

async function withAdmin<T>(broker: string, work: (admin: Admin) => Promise<T>): Promise<T> {
  const admin = new Kafka({ brokers: [broker], logLevel: logLevel.NOTHING }).admin();
  await admin.connect();
  try {
    return await work(admin);
  } finally {
    await admin.disconnect();
  }
}

async function startFromAnotherProcess(home: string): Promise<void> {
  const script = `
    import { stackUp } from ${JSON.stringify(join(ROOT, 'deploy/local/stack.ts'))};
    await stackUp(['postgres'], { home: ${JSON.stringify(home)}, report: () => undefined });`;
  const child = spawn(process.execPath, ['--input-type=module', '-e', script], {
    stdio: ['ignore', 'inherit', 'inherit'],
  });
  const code = await new Promise((resolve) => child.once('exit', resolve));
  expect(code).toBe(0);
}
