import { describe, expect, it } from 'vitest';
import { checkCron, intervalMs, nextCronRun } from '../../../../core/run/schedule.ts';

const from = Date.parse('2025-10-16T10:00:00Z');

function runs(cronExpression: string, count: number, cronTimeZone = 'UTC', after = from): string[] {
  const found: string[] = [];
  let at: number | null = after;
  while (at !== null && found.length < count) {
    at = nextCronRun({ cronExpression, cronTimeZone }, at);
    if (at !== null) found.push(new Date(at).toISOString().slice(0, 16));
  }
  return found;
}

describe('cron', () => {
  it.each([
    ['0 2 * * *', ['2025-10-17T02:00', '2025-10-18T02:00']],
    ['0 */6 * * *', ['2025-10-16T12:00', '2025-10-16T18:00', '2025-10-17T00:00']],
    // Monday to Friday, not Sunday to Thursday.
    ['0 2 * * 1-5', ['2025-10-17T02:00', '2025-10-20T02:00', '2025-10-21T02:00']],
    ['0 0 1 * *', ['2025-11-01T00:00', '2025-12-01T00:00']],
    ['0 2 * * 7', ['2025-10-19T02:00', '2025-10-26T02:00']],
    ['0 2 * * 0', ['2025-10-19T02:00', '2025-10-26T02:00']],
    // Quartz: seconds first, 1 is Sunday.
    ['0 0 2 ? * 2-6', ['2025-10-17T02:00', '2025-10-20T02:00']],
    ['0 0 2 ? * MON-FRI', ['2025-10-17T02:00', '2025-10-20T02:00']],
    ['0 0 12 * * ?', ['2025-10-16T12:00', '2025-10-17T12:00']],
    ['0 15 10 ? * 6L', ['2025-10-31T10:15', '2025-11-28T10:15']],
    ['0 15 10 ? * 6#3', ['2025-10-17T10:15', '2025-11-21T10:15']],
    ['0 0 0 1 * ? 2027', ['2027-01-01T00:00', '2027-02-01T00:00']],
  ])('%s', (expression, expected) => {
    checkCron({ cronExpression: expression, cronTimeZone: 'UTC' });
    expect(runs(expression, expected.length)).toEqual(expected);
  });

  it('follows the zone through the hours that do not exist and exist twice', () => {
    const zone = 'America/New_York';
    // 02:30 is skipped on 8 March 2026: 03:00 local is 07:00 UTC.
    expect(runs('30 2 * * *', 1, zone, Date.parse('2026-03-08T05:00:00Z'))[0]).toMatch(
      /^2026-03-08T07:/,
    );
    // 01:30 comes twice on 1 November 2026: one run.
    expect(runs('30 1 * * *', 2, zone, Date.parse('2026-11-01T04:00:00Z'))).toEqual([
      '2026-11-01T05:30',
      '2026-11-02T06:30',
    ]);
  });

  it.each([
    ['0 2 * * 8', 'UTC', 'cronExpression'],
    ['61 * * * *', 'UTC', 'cronExpression'],
    ['* * *', 'UTC', 'cronExpression'],
    ['*/5 * * * * *', 'UTC', 'cronExpression'],
    ['0 2 * * *', 'Mars/Olympus', 'cronTimeZone'],
  ])('refuses %s in %s and names %s', (cronExpression, cronTimeZone, field) => {
    expect(() => checkCron({ cronExpression, cronTimeZone })).toThrow(field);
  });
});

it('has an interval for every unit', () => {
  expect(intervalMs({ units: 2, timeUnit: 'hours' })).toBe(7_200_000);
  expect(intervalMs({ units: 1, timeUnit: 'weeks' })).toBe(604_800_000);
});
