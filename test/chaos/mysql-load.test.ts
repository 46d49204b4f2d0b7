import { describe, expect, it } from 'vitest';
import { mysqlLoad } from './mysql-load-run.ts';

/** `node test/chaos/mysql-load.ts` in short. */
describe('MySQL under load', () => {
  it('misses and repeats nothing over kills of all its parts', { timeout: 400_000 }, async () => {
    const lines: string[] = [];
    const seed = Math.floor(Math.random() * 1_000_000);
    console.log(`MySQL under load: seed ${seed}`);
    const report = (line: string): number => lines.push(line);
    const result = await mysqlLoad({ kind: 'mysql', seconds: 12, seed, report });
    const none = { unequal: 0, twice: 0, missing: 0, disorder: 0, failedJobs: 0 };
    expect(result.faults, JSON.stringify({ result, lines })).toEqual(none);
    expect(result.transactions).toBeGreaterThan(50);
  });
});
