import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { range, topicOfIds } from './memory-topic.ts';
import { Lake } from './s3-fixture.ts';

const DISK_BYTES = 1024 * 1024;
const disk = mkdtempSync(join(tmpdir(), 'headrace-small-disk-'));
const mounted = mount();
let lake: Lake;

/** A real file system with a size; only root may make one. */
function mount(): boolean {
  try {
    const options = ['-t', 'tmpfs', '-o', `size=${DISK_BYTES}`, 'none', disk];
    execFileSync('mount', options, { stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
}

beforeAll(async () => {
  lake = await Lake.start();
});

afterAll(async () => {
  if (mounted) execFileSync('umount', ['-l', disk]);
  rmSync(disk, { recursive: true, force: true });
  await lake[Symbol.asyncDispose]();
});

test.skipIf(!mounted)(
  'HO-01: a full scratch disk is said by name, and costs nothing once there is room',
  async () => {
    const connection = lake.newConnection();
    const topic = topicOfIds(60);
    const filler = join(disk, 'filler');
    expect(() => writeFileSync(filler, Buffer.alloc(2 * DISK_BYTES))).toThrow(/ENOSPC/);
    const full = await lake.open(topic, connection, {}, undefined, { scratchFolder: disk });
    await full.open(topic.target);
    const writing = async (): Promise<void> => {
      await full.write([topic.batch(0, 60)]);
      await full.flush();
    };
    await expect(writing()).rejects.toMatchObject({ code: 'SNK_SCRATCH_FULL' });
    expect(full.durableOffset(topic.target)).toBe(0);
    await full.close().catch(() => undefined);
    expect(await lake.files(connection)).toEqual([]);

    rmSync(filler);
    const roomy = await lake.open(topic, connection, {}, undefined, { scratchFolder: disk });
    await roomy.open(topic.target);
    await roomy.write([topic.batch(0, 60)]);
    await roomy.close();
    expect(await lake.offsets(connection)).toEqual(range(0, 60));
  },
);
