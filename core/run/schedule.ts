import { Cron } from 'croner';
import { endOfGap, instantsOf, isSteady, offsetAt } from './wall-time.ts';
import { PipelineError } from '../errors/pipeline-error.ts';
import type { BasicSchedule, CronSchedule, TimeUnit } from '../store/connection-document.ts';

const HOUR_MS = 3_600_000;
const UNIT_MS: Record<TimeUnit, number> = {
  minutes: 60_000,
  hours: HOUR_MS,
  days: 24 * HOUR_MS,
  weeks: 7 * 24 * HOUR_MS,
  months: 30 * 24 * HOUR_MS,
};
const CLOSEST_RUNS_MS = 60_000;
/** Longer than any clock is put forward or back. */
const CHANGE_MS = 3 * HOUR_MS;

export const TIME_UNITS = Object.keys(UNIT_MS) as TimeUnit[];

export function intervalMs({ timeUnit, units }: BasicSchedule): number {
  return UNIT_MS[timeUnit] * units;
}

/**
 * The first run after `afterMs` (epoch milliseconds), or null when there is none any more. Times are
 * those of the zone's clock. When it is put forward over a time, an expression with fixed hours and
 * minutes runs at the moment of the change, once; when a time comes twice, it runs the first time.
 * One with `*` among its seconds, minutes or hours follows the clock: no run for what is skipped, two for
 * what comes twice.
 */
export function nextCronRun(schedule: CronSchedule, afterMs: number): number | null {
  const zone = schedule.cronTimeZone;
  const cron = parse(schedule);
  const offset = offsetAt(zone, afterMs);
  const wall = nextWall(cron, afterMs + offset);
  if (wall === null) return null;
  const instant = wall - offset;
  const steady =
    offsetAt(zone, instant) === offset && isSteady(zone, afterMs) && isSteady(zone, instant);
  return steady ? instant : nextAcrossChange(schedule, cron, afterMs);
}

/** The clock is changed somewhere near: what it shows does not rise with time. */
function nextAcrossChange(schedule: CronSchedule, cron: Cron, afterMs: number): number | null {
  const zone = schedule.cronTimeZone;
  const fixed = isFixed(schedule);
  let first: number | null = null;
  let wall = nextWall(cron, afterMs + offsetAt(zone, afterMs) - CHANGE_MS);
  let until = Infinity;
  while (wall !== null && wall <= until) {
    for (const instant of runsAt(zone, wall, fixed)) {
      if (instant > afterMs && (first === null || instant < first)) first = instant;
    }
    if (first !== null && until === Infinity) until = wall + CHANGE_MS;
    wall = nextWall(cron, wall);
  }
  return first;
}

function runsAt(zone: string, wall: number, fixed: boolean): number[] {
  const instants = instantsOf(zone, wall);
  if (!fixed) return instants;
  return [instants[0] ?? endOfGap(zone, wall)];
}

function nextWall(cron: Cron, afterWall: number): number | null {
  return cron.nextRun(new Date(afterWall))?.getTime() ?? null;
}

function isFixed({ cronExpression }: CronSchedule): boolean {
  const fields = cronExpression.trim().split(/\s+/);
  return !fields.slice(0, fields.length > 5 ? 3 : 2).some((field) => field.includes('*'));
}

/**
 * Five fields are read the Unix way (0 and 7 are Sunday), six and seven the Quartz way (seconds
 * first, 1 is Sunday). Throws API_INVALID_CONNECTION naming the field that is wrong, also for runs
 * closer together than a minute.
 */
export function checkCron(schedule: CronSchedule): void {
  const runs = parse(schedule).nextRuns(20, new Date(0));
  runs.forEach((run, i) => {
    const next = runs[i + 1];
    if (next !== undefined && next.getTime() - run.getTime() < CLOSEST_RUNS_MS) {
      throw wrong('cronExpression', 'runs more than once a minute');
    }
  });
}

/** A scheduler asks for the same few again and again; a check of a request must not fill memory. */
const MAX_KNOWN = 1000;
const known = new Map<string, Cron>();

function parse(schedule: CronSchedule): Cron {
  const key = JSON.stringify([schedule.cronExpression, schedule.cronTimeZone]);
  const found = known.get(key);
  if (found !== undefined) return found;
  const parsed = parseAnew(schedule);
  if (known.size >= MAX_KNOWN) known.clear();
  known.set(key, parsed);
  return parsed;
}

function parseAnew({ cronExpression, cronTimeZone }: CronSchedule): Cron {
  const fields = cronExpression.trim().split(/\s+/).length;
  if (fields < 5 || fields > 7) throw wrong('cronExpression', `has ${fields} fields, not 5 to 7`);
  try {
    new Intl.DateTimeFormat('en', { timeZone: cronTimeZone });
  } catch {
    throw wrong('cronTimeZone', 'is not a known time zone');
  }
  try {
    return new Cron(cronExpression.trim(), {
      // Wall times are written as UTC's; what a zone makes of them is decided here.
      timezone: 'UTC',
      alternativeWeekdays: fields > 5,
      paused: true,
    });
  } catch (error) {
    throw wrong('cronExpression', error instanceof Error ? error.message : String(error));
  }
}

function wrong(field: string, why: string): PipelineError {
  return new PipelineError('API_INVALID_CONNECTION', `scheduleData.cron.${field} ${why}`, {
    details: { field },
  });
}
