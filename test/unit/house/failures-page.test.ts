import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { ROOT } from './source-files.ts';

/** The faults that the first release must have an answer to, each shown by a test with its id. */
const FIRST_RELEASE = [
  ...['PG-01', 'PG-02', 'PG-03', 'PG-04', 'PG-05', 'PG-06', 'PG-07', 'PG-09', 'PG-11', 'PG-12'],
  ...['PG-16', 'PG-21', 'SP-01', 'SP-02', 'SP-03', 'KA-01', 'KA-02', 'KA-05', 'KA-06', 'KA-07'],
  ...['KA-10', 'SR-02', 'SR-05', 'SI-01', 'SI-02', 'SI-12', 'PT-01', 'PT-03', 'S3-01', 'S3-02'],
  ...['AD-01', 'HO-01'],
];

const rows = readFileSync(join(ROOT, 'docs/failures.md'), 'utf8')
  .split('\n')
  .filter((line) => line.startsWith('| ') && !line.startsWith('| **'))
  .map((line) => line.split('|').slice(1, -1))
  .filter((cells) => cells.length === 3 && cells[0]?.trim() !== 'Fault') as string[][];

function testsOf(cell: string): string[] {
  return [...cell.matchAll(/`([\w./-]+)`/g)].map(([, name]) => join(ROOT, `test/${name}.test.ts`));
}

describe('docs/failures.md', () => {
  it.each(FIRST_RELEASE)('has a row for %s, with a test that names it', (id) => {
    const row = rows.find(([fault]) => fault?.includes(`(${id})`));
    expect(row, 'a row').toBeDefined();
    const named = testsOf(row?.[2] ?? '').filter((file) => readFileSync(file, 'utf8').includes(id));
    expect(named, 'tests with the id').not.toEqual([]);
  });

  it('has no empty cell, and names no test that is gone', () => {
    for (const cells of rows) {
      expect(
        cells.every((cell) => cell.trim() !== ''),
        cells[0],
      ).toBe(true);
      for (const file of testsOf(cells[2] ?? '')) expect(existsSync(file), file).toBe(true);
    }
  });
});
