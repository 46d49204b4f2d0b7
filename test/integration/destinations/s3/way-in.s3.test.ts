import { execFileSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { NO_NETWORK, pythonEnvironment } from '../../../support/python.ts';
import { until } from '../../../support/rig.ts';
import { BUCKET } from './buckets.ts';
import { randomChanges } from './key-workload.ts';
import { column, MemoryTopic, range } from './memory-topic.ts';
import { Lake } from './s3-fixture.ts';

/** The n-th Python program of docs/lake.md as it stands there, but for where the bucket is. */
function fromPage(n: number, folder: string, root: string): string {
  const page = readFileSync(
    fileURLToPath(new URL('../../../../docs/lake.md', import.meta.url)),
    'utf8',
  );
  const program = [...page.matchAll(/```python\n([\s\S]*?)```/g)][n]?.[1] ?? '';
  return program
    .replace(/s3 = fs\.S3FileSystem\(.*\)/, 's3 = fs.LocalFileSystem()')
    .replace(/folder = '.*'/, `folder = '${folder}'`)
    .replaceAll("'datalake/'", `'${root}/'`);
}

/** The ways in that docs/lake.md gives, in pyarrow, which shares no code with what we write with. */
test.skipIf(NO_NETWORK)(
  'what pyarrow reads is what DuckDB reads',
  async () => {
    const bin = await pythonEnvironment(['pyarrow==18.1.0']);
    await using lake = await Lake.start('folder');
    const root = join(String(lake.config()['s3_endpoint']).replace('file://', ''), BUCKET);
    const ids = (program: string): unknown => {
      const path = join(lake.scratch, 'program.py');
      const sorted = "print(json.dumps(sorted(rows.to_table(columns=['id'])['id'].to_pylist())))";
      writeFileSync(path, `import json\n${program}\n${sorted}\n`);
      return JSON.parse(execFileSync(join(bin, 'python'), [path], { encoding: 'utf8' }));
    };

    const topic = new MemoryTopic();
    topic.register(1, [column('id', 'int64', {}, true), column('doc', 'json')]);
    for (const id of range(0, 30)) {
      topic.append(1, { after: { id: BigInt(id), doc: `{"k${id % 4}": ${id}}` } });
    }
    const appended = lake.newConnection();
    const small = { join_small_files: true, join_from_files: 4 };
    const writer = await lake.open(topic, appended, small);
    await writer.open(topic.target);
    for (const id of range(0, 30)) {
      await writer.write([topic.batch(id, id + 1)]);
      await writer.flush();
    }
    // Some are joined by now, and what was joined is there beside it.
    const folder = `${root}/${appended}/production_public/customers`;
    await until('files to be joined', async () => (await lake.files(appended)).length > 30);
    expect(ids(fromPage(0, folder, root))).toEqual(range(0, 30));
    // Made anew from offset 10 on; what was there before lies beside it for a while.
    const replay = { id: 'again', from: 10, until: 30, rebuild: true };
    const target = { ...topic.target, replay };
    expect(await writer.open(target)).toBe(10);
    await writer.write([{ ...topic.batch(10, 29), target }]);
    await writer.flush();
    expect(ids(fromPage(0, folder, root))).toEqual(range(0, 30));
    await writer.write([{ ...topic.batch(29, 30), target }]);
    await writer.close();
    expect(ids(fromPage(0, folder, root))).toEqual(range(10, 30));

    const workload = randomChanges(7, 200, 30);
    const deduped = lake.newConnection();
    const other = await lake.open(workload.topic, deduped);
    await other.open(workload.topic.target);
    for (const at of [0, 100]) {
      await other.write([workload.topic.batch(at, at + 100)]);
      await other.flush();
    }
    await other.close();
    const generations = `${root}/${deduped}/production_public/customers/_generations`;
    const expected = [...workload.rowsAt(200).keys()].map(Number).toSorted((a, b) => a - b);
    expect(ids(fromPage(1, generations, root))).toEqual(expected);
  },
  240_000,
);
