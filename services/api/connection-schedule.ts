import { PipelineError } from '../../core/errors/pipeline-error.ts';
import { checkCron } from '../../core/run/schedule.ts';
import {
  isReadByJob,
  selectedStreams,
  type ConfiguredStream,
  type ConnectionDocument,
  type ScheduleType,
} from '../../core/store/connection-document.ts';
import type { ConnectionContent } from './connection-requests.ts';
import { InvalidRequest } from './request-body.ts';

export type Schedule = Pick<ConnectionDocument, 'scheduleType' | 'scheduleData' | 'schedule'>;

/** Airbyte's two ways to write a schedule, as stored. Both at once, or a type without its data, is a
 * 400; a cron expression that cannot be read is a 422 naming the field. */
export function scheduleOf(body: ConnectionContent, whenNone: ScheduleType): Schedule {
  if (body.schedule !== undefined && body.scheduleType !== undefined) {
    throw new PipelineError(
      'API_INVALID_REQUEST',
      'Supply the old schedule or the new scheduleType and scheduleData, not both',
    );
  }
  if (body.schedule !== undefined) {
    return {
      scheduleType: 'basic',
      scheduleData: { basicSchedule: body.schedule },
      schedule: body.schedule,
    };
  }
  return typedSchedule(body.scheduleType ?? whenNone, body);
}

function typedSchedule(scheduleType: ScheduleType, { scheduleData }: ConnectionContent): Schedule {
  switch (scheduleType) {
    case 'manual':
    case 'continuous':
      return { scheduleType };
    case 'basic': {
      const basicSchedule = scheduleData?.basicSchedule;
      if (basicSchedule === undefined) throw missing('scheduleData.basicSchedule');
      return { scheduleType, scheduleData: { basicSchedule } };
    }
    case 'cron': {
      const given = scheduleData?.cron;
      if (given === undefined) throw missing('scheduleData.cron');
      const cron = { ...given, cronTimeZone: given.cronTimeZone ?? 'UTC' };
      checkCron(cron);
      return { scheduleType, scheduleData: { cron } };
    }
  }
}

/** Whether anything is there to flow by itself: a stream that is followed by its source's log. */
export function isContinuous(streams: readonly ConfiguredStream[]): boolean {
  return streams.some((each) => each.config.selected !== false && !isReadByJob(each));
}

/** Jobs read the other streams, and `continuous` has none but those that are asked for. */
export function refuseIdleSchedule(document: ConnectionDocument): void {
  const streams = selectedStreams(document);
  if (document.scheduleType !== 'continuous' || streams.length === 0) return;
  if (isContinuous(streams)) return;
  throw new PipelineError(
    'API_INVALID_CONNECTION',
    "scheduleType continuous needs a stream that is followed by its source's log (CDC, incremental); choose manual, basic or cron",
  );
}

function missing(propertyPath: string): InvalidRequest {
  return new InvalidRequest([{ propertyPath, message: 'is required' }]);
}
