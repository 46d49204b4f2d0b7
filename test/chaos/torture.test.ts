import { describe, expect, it } from 'vitest';
import { torture } from './torture-run.ts';

/** `npm run torture` in short. */
const SEED = 13;
const MINUTES = 5;

describe('torture', () => {
  it('loses, doubles, reorders and tears nothing', { timeout: 1_200_000 }, async () => {
    const lines: string[] = [];
    const report = (line: string) => lines.push(line);
    const result = await torture({ minutes: MINUTES, seed: SEED, report });
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
    expect(result['faults']).toBeGreaterThanOrEqual(8 * MINUTES);
  });
});
