import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { range, topicOfIds } from './memory-topic.ts';
import { Lake } from './s3-fixture.ts';

let lake: Lake;
beforeAll(async () => {
  lake = await Lake.start();
});
afterAll(async () => {
  await lake[Symbol.asyncDispose]();
});

const PROGRAM = fileURLToPath(new URL('./killed-writer.ts', import.meta.url));

/** Invariant 6, with a real process and a real SIGKILL at the second file's steps. */
test.each([
  ['s3.before_claim', 20],
  ['s3.after_claim', 20],
  ['s3.after_upload', 40],
])('killed at %s', async (failpoint, resumesAt) => {
  const connection = lake.newConnection();
  const scratchFolder = mkdtempSync(join(lake.scratch, 'killed-'));
  const config = lake.connectionConfig(connection);
  const child = spawn(
    process.execPath,
    [PROGRAM, JSON.stringify(config), connection, scratchFolder, `${failpoint}=2*kill`],
    { stdio: 'inherit' },
  );
  const [, signal] = (await once(child, 'exit')) as [number | null, string | null];
  expect(signal).toBe('SIGKILL');
  const spools = join(scratchFolder, `s3-${connection}`);
  expect(readdirSync(spools)).toHaveLength(1);

  const topic = topicOfIds(60);
  const writer = await lake.open(topic, connection, {}, undefined, { scratchFolder });
  expect(readdirSync(spools)).toEqual([]);
  expect(await writer.open(topic.target)).toBe(resumesAt);
  await writer.write([topic.batch(resumesAt, 60)]);
  await writer.close();
  expect(await lake.offsets(connection)).toEqual(range(0, 60));
  expect(readdirSync(scratchFolder)).toEqual([]);
});
