import { describe, expect, it } from 'vitest';
import type { ConnectionDocument } from '../../../../core/store/connection-document.ts';
import { dueAt } from '../../../../services/scheduler/timetable.ts';

/**
 * A thousand days of each expression, DST included, against a reference that looks at every minute
 * and knows nothing of how the next one is computed.
 */
const DAYS = 1000;
const MINUTE_MS = 60_000;
const START = Date.parse('2025-10-16T10:07:00Z');
const END = START + DAYS * 24 * 60 * MINUTE_MS;

interface Fields {
  readonly second: string;
  readonly minute: string;
  readonly hour: string;
  readonly day: string;
  readonly month: string;
  readonly weekday: string;
  readonly quartz: boolean;
}

function fieldsOf(expression: string): Fields {
  const words = expression.split(' ');
  const quartz = words.length > 5;
  const [minute, hour, day, month, weekday] = (quartz ? words.slice(1) : words) as [
    string,
    string,
    string,
    string,
    string,
  ];
  return { second: quartz ? words[0]! : '0', minute, hour, day, month, weekday, quartz };
}

const NAMES = ['SUN', 'MON', 'TUE', 'WED', 'THU', 'FRI', 'SAT'];

function holds(field: string, value: number, low: number): boolean {
  return field.split(',').some((part) => {
    const [span = '', step] = part.split('/');
    const every = step === undefined ? 1 : Number(step);
    if (span === '*' || span === '?') return (value - low) % every === 0;
    const [from = 0, to] = span.split('-').map(Number);
    const last = to ?? (step === undefined ? from : Infinity);
    return value >= from && value <= last && (value - from) % every === 0;
  });
}

function onWeekday({ weekday, quartz }: Fields, date: Date): boolean {
  const day = date.getUTCDay();
  const numbered = NAMES.reduce(
    (text, name, i) => text.replaceAll(name, String(quartz ? i + 1 : i)),
    weekday,
  );
  const own = quartz ? day + 1 : day;
  const special = /^(\d)(L|#(\d))$/.exec(numbered);
  if (special === null)
    return holds(numbered, own, quartz ? 1 : 0) || (!quartz && day === 0 && holds(numbered, 7, 0));
  if (Number(special[1]) !== own) return false;
  const dayOfMonth = date.getUTCDate();
  if (special[2] !== 'L') return Math.ceil(dayOfMonth / 7) === Number(special[3]);
  return new Date(date.getTime() + 7 * 86_400_000).getUTCMonth() !== date.getUTCMonth();
}

function onDay(fields: Fields, date: Date): boolean {
  const any = (field: string): boolean => field === '*' || field === '?';
  const tomorrow = new Date(date.getTime() + 86_400_000);
  const inMonth =
    fields.day === 'L' ? tomorrow.getUTCDate() === 1 : holds(fields.day, date.getUTCDate(), 1);
  const onWeek = onWeekday(fields, date);
  if (any(fields.day) || any(fields.weekday)) return inMonth && onWeek;
  return inMonth || onWeek;
}

function matcher(fields: Fields): (wall: number) => boolean {
  const minutes = Array.from({ length: 60 }, (_, i) => holds(fields.minute, i, 0));
  const hours = Array.from({ length: 24 }, (_, i) => holds(fields.hour, i, 0));
  return (wall) => {
    const minute = Math.floor(wall / MINUTE_MS);
    if (minutes[minute % 60] !== true || hours[Math.floor(minute / 60) % 24] !== true) return false;
    const date = new Date(wall);
    return holds(fields.month, date.getUTCMonth() + 1, 1) && onDay(fields, date);
  };
}

/** What the zone's clock shows; offsets change on quarter hours only. */
function wallClock(zone: string): (instant: number) => number {
  const format = new Intl.DateTimeFormat('sv-SE', {
    timeZone: zone,
    dateStyle: 'short',
    timeStyle: 'medium',
  });
  let quarter = -1;
  let offset = 0;
  return (instant) => {
    const now = Math.floor(instant / (15 * MINUTE_MS));
    if (now !== quarter) {
      quarter = now;
      const start = now * 15 * MINUTE_MS;
      offset = Date.parse(`${format.format(start).replace(' ', 'T')}Z`) - start;
    }
    return instant + offset;
  };
}

function reference(expression: string, zone: string): number[] {
  const fields = fieldsOf(expression);
  const matches = matcher(fields);
  const fixed = ![fields.second, fields.minute, fields.hour].some((each) => each.includes('*'));
  const seconds = Number(fields.second) * 1000;
  const wallAt = wallClock(zone);
  const found: number[] = [];
  let shown = wallAt(START - 3 * 60 * MINUTE_MS);
  for (let instant = START - 3 * 60 * MINUTE_MS; instant < END; instant += MINUTE_MS) {
    const wall = wallAt(instant);
    if (fixed) {
      let isDue = wall > shown && matches(wall);
      const first = isDue ? instant + seconds : instant;
      let skipped = false;
      for (let over = shown + MINUTE_MS; over < wall; over += MINUTE_MS) {
        skipped ||= matches(over);
      }
      if (skipped) found.push(instant);
      isDue &&= !(skipped && first === instant);
      if (isDue) found.push(first);
      shown = Math.max(shown, wall);
    } else if (matches(wall)) found.push(instant + seconds);
  }
  return found.filter((instant) => instant > START && instant < END);
}

/** The scheduler's own loop: each job is made a little after its run was due. */
function simulate(cronExpression: string, cronTimeZone: string): number[] {
  const scheduleData = { cron: { cronExpression, cronTimeZone } };
  const document = { scheduleType: 'cron', scheduleData } as unknown as ConnectionDocument;
  const runs: number[] = [];
  let lastJobAt: number | null = null;
  for (;;) {
    const due = dueAt({ document, createdAt: START, scheduledAt: START, lastJobAt });
    if (due === null || due >= END) return runs;
    runs.push(due);
    lastJobAt = due + (runs.length % 500);
  }
}

describe('a thousand days', () => {
  it.each([
    ['0 2 * * *', 'UTC'],
    ['0 */6 * * *', 'Asia/Kolkata'],
    ['0 2 * * 1-5', 'Europe/Berlin'],
    ['0 0 1 * *', 'America/New_York'],
    ['30 2 * * *', 'America/New_York'],
    ['30 2,3 * * *', 'America/New_York'],
    ['30 1 * * *', 'America/New_York'],
    ['0,15,30,45 1,2 * * *', 'Europe/London'],
    ['*/20 1-3 * * *', 'Europe/Paris'],
    ['*/45 1-2 * * *', 'Australia/Lord_Howe'],
    ['15 2 * * *', 'Australia/Lord_Howe'],
    ['0 */3 * * *', 'Pacific/Chatham'],
    ['0 12 1 * 5', 'America/Sao_Paulo'],
    ['5 0 * 3,11 0', 'America/Havana'],
    ['0 0 * * *', 'America/Havana'],
    ['0 0 * * *', 'Africa/Cairo'],
    ['30 0 2 ? * 2-6', 'America/Los_Angeles'],
    ['0 15 10 ? * 6L', 'Europe/Madrid'],
    ['0 15 2 ? * SUN#2', 'America/Chicago'],
    ['0 30 1 L * ?', 'Asia/Beirut'],
    ['0 0 2 31 3 ? 2027', 'Europe/Rome'],
  ])('%s in %s', (expression, zone) => {
    const expected = reference(expression, zone);
    const year = /\b(20\d\d)$/.exec(expression)?.[1];
    const inYear = expected.filter(
      (each) => year === undefined || new Date(each).getUTCFullYear() === Number(year),
    );
    expect(inYear.length).toBeGreaterThan(0);
    const iso = (times: readonly number[]) => times.map((time) => new Date(time).toISOString());
    expect(iso(simulate(expression, zone))).toEqual(iso(inYear));
  });
});

describe('missed runs', () => {
  const cron = { cronExpression: '0 2 * * *', cronTimeZone: 'UTC' };
  const document = {
    scheduleType: 'cron',
    scheduleData: { cron },
  } as unknown as ConnectionDocument;
  const day = 86_400_000;
  const two = Date.parse('2026-01-01T02:00:00Z');

  it('are one run at once, however many there were', () => {
    const before = { document, createdAt: 0, scheduledAt: 0, lastJobAt: two };
    expect(dueAt(before)).toBe(two + day);
    // Ten days later, at noon, the run is made up for; the next one is tomorrow's.
    const noon = two + 10 * day + 10 * 3_600_000;
    expect(dueAt({ ...before, lastJobAt: noon })).toBe(two + 11 * day);
  });

  it('of an earlier schedule are none of this one', () => {
    const changed = { document, createdAt: 0, scheduledAt: two + 5 * day + 1, lastJobAt: two };
    expect(dueAt(changed)).toBe(two + 6 * day);
  });

  it('are not made twice when the clock of the store is behind', () => {
    // Made for two o'clock, noted by a clock that shows a second before: `lastJobAt` is the run's time.
    expect(dueAt({ document, createdAt: 0, scheduledAt: 0, lastJobAt: two })).toBe(two + day);
  });
});
