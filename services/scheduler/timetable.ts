import { intervalMs, nextCronRun } from '../../core/run/schedule.ts';
import type { Connection } from '../../core/store/connections.ts';

/** A schedule's first run waits this long: the client that creates a connection often asks for a
 * sync in its next call, which would otherwise meet a running one. */
const FIRST_RUN_MS = 60_000;

/**
 * When a scheduled connection is due next, in epoch milliseconds; null for never. Runs that came due
 * while one was running, or while no scheduler was there, are one run, not several.
 */
export function dueAt(
  connection: Pick<Connection, 'document' | 'createdAt'> & {
    /** Of the newest job: when it was made, or the run that it was made for, whichever is later. */
    readonly lastJobAt: number | null;
    /** When the schedule was given to the connection: earlier runs of it were never due. */
    readonly scheduledAt: number;
  },
): number | null {
  const { scheduleData } = connection.document;
  const { lastJobAt, createdAt, scheduledAt } = connection;
  if (scheduleData?.basicSchedule !== undefined) {
    return lastJobAt === null
      ? createdAt + FIRST_RUN_MS
      : lastJobAt + intervalMs(scheduleData.basicSchedule);
  }
  if (scheduleData?.cron !== undefined) {
    return nextCronRun(scheduleData.cron, Math.max(lastJobAt ?? 0, scheduledAt));
  }
  return null;
}
