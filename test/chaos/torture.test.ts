import { describe, expect, it } from 'vitest';
import { torture } from './torture-run.ts';

/** `npm run torture` in short: every kind of component is hit once. */
const SEED = 13;

describe('torture', () => {
  it('loses, doubles, reorders and tears nothing', { timeout: 400_000 }, async () => {
    const lines: string[] = [];
    const result = await torture({ minutes: 0.5, seed: SEED, report: (line) => lines.push(line) });
    expect({ ...result, lines }).toMatchObject({
      lost: 0,
      duplicated: 0,
      reordered: 0,
      wrong: 0,
      torn: 0,
      stuck: 0,
      acknowledgedTooEarly: 0,
      problems: [],
    });
    expect(result['faults']).toBeGreaterThanOrEqual(5);
  });
});
