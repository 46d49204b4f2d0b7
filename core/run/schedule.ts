import { Cron } from 'croner';
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

export const TIME_UNITS = Object.keys(UNIT_MS) as TimeUnit[];

export function intervalMs({ timeUnit, units }: BasicSchedule): number {
  return UNIT_MS[timeUnit] * units;
}

/** The first run after `afterMs` (epoch milliseconds), or null when there is none any more. */
export function nextCronRun(schedule: CronSchedule, afterMs: number): number | null {
  return parse(schedule).nextRun(new Date(afterMs))?.getTime() ?? null;
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

function parse({ cronExpression, cronTimeZone }: CronSchedule): Cron {
  const fields = cronExpression.trim().split(/\s+/).length;
  if (fields < 5 || fields > 7) throw wrong('cronExpression', `has ${fields} fields, not 5 to 7`);
  try {
    new Intl.DateTimeFormat('en', { timeZone: cronTimeZone });
  } catch {
    throw wrong('cronTimeZone', 'is not a known time zone');
  }
  try {
    return new Cron(cronExpression.trim(), {
      timezone: cronTimeZone,
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
