import type { EventJob, StoredEvent } from '../../core/store/events.ts';
import type { StreamStats } from '../../core/store/jobs.ts';
import {
  channelsFor,
  distinct,
  itemFor,
  type Channel,
  type NotificationSettings,
  type Trigger,
} from '../../core/store/notification-settings.ts';
import type { NewNotification } from '../../core/store/notifications.ts';
import { failureRule, tellsOfFailure, tellsOfRecovery } from './failure-rule.ts';
import { ends, messageFor, subjectData, type Alert, type Link } from '../../core/notify/message.ts';

/** Older facts are history when this service comes back from a long absence, and no alert any more. */
const NEWS_MS = 24 * 3_600_000;

/** The messages that an event becomes; none when nobody is to be told. */
export function alertsOf(
  event: StoredEvent,
  settings: NotificationSettings,
  link: Link,
  now: number,
): NewNotification[] {
  if (now - event.createdAt > NEWS_MS) return [];
  switch (event.kind) {
    case 'job':
      return event.job === null ? [] : jobAlerts(event, event.job, settings, link);
    case 'disabled':
      return toAll(channelsFor(settings, 'disabled'), disabledAlert(event, link));
    case 'disable_warning':
      return toAll(channelsFor(settings, 'disable_warning'), warningAlert(event, link));
    case 'schema_change':
      return schemaAlerts(event, settings, link);
  }
}

/** A connection that does not want to hear of changes hears of those that need somebody. */
function schemaAlerts(
  event: StoredEvent,
  settings: NotificationSettings,
  link: Link,
): NewNotification[] {
  const { outcome } = event.details;
  const needsSomebody = outcome === 'stopped' || outcome === 'disabled';
  if (!needsSomebody && event.subject.document['notifySchemaChanges'] === false) return [];
  const triggers: Trigger[] = [needsSomebody ? 'schema_break' : 'schema_change'];
  if (outcome === 'disabled') triggers.push('disabled');
  const channels = triggers.flatMap((trigger) => channelsFor(settings, trigger));
  return toAll(distinct(channels), schemaAlert(event, link));
}

const OUTCOME: Readonly<Record<string, string>> = {
  propagated: 'The destination follows.',
  ignored: 'What the connection does not know is not delivered, until its catalog is updated.',
  disabled: 'The connection was switched off; make it active again to accept the change.',
  stopped: 'The stream cannot go on with it; the others do.',
};

function schemaAlert({ subject, details }: StoredEvent, link: Link): Alert {
  const { stream, message, outcome } = details;
  return {
    title: `The schema of ${String(stream)} changed at the source of ${subject.document.name}`,
    lines: [ends(subject), String(message), OUTCOME[String(outcome)] ?? ''],
    data: { event: 'schema_changed', ...subjectData(subject, link), ...details },
  };
}

export function toAll(channels: readonly Channel[], alert: Alert): NewNotification[] {
  return channels.map((target) => ({ target, message: messageFor(target, alert) }));
}

function jobAlerts(
  event: StoredEvent,
  job: EventJob,
  settings: NotificationSettings,
  link: Link,
): NewNotification[] {
  const rule = ({ type }: Channel) => failureRule(type, itemFor(settings, 'failure'));
  const failureChannels = channelsFor(settings, 'failure');
  if (job.status === 'failed') {
    const told = failureChannels.filter((each) => tellsOfFailure(rule(each), job.failedInARow));
    return toAll(told, jobAlert(event, job, link));
  }
  const successes = channelsFor(settings, 'success');
  const isTold = (channel: Channel): boolean =>
    successes.some((each) => each.type === channel.type && each.url === channel.url);
  const recovered = failureChannels.filter(
    (each) => tellsOfRecovery(rule(each), job.failedInARow) && !isTold(each),
  );
  return toAll([...successes, ...recovered], jobAlert(event, job, link));
}

function jobAlert(event: StoredEvent, job: EventJob, link: Link): Alert {
  const { subject } = event;
  const success = job.status === 'succeeded';
  const seconds = Math.max(0, Math.round((job.endedAt - job.startedAt) / 1000));
  const [failure] = job.failures;
  const sum = (pick: keyof StreamStats['stats']): number =>
    job.streamStats.reduce((total, { stats }) => total + stats[pick], 0);
  const figures = {
    recordsEmitted: sum('recordsEmitted'),
    recordsCommitted: sum('recordsCommitted'),
    bytesEmitted: sum('bytesEmitted'),
    bytesCommitted: sum('bytesCommitted'),
  };
  const again = success && job.failedInARow > 0 ? ` again, after ${job.failedInARow} failures` : '';
  return {
    title: success
      ? `Sync of ${subject.document.name} succeeded${again}`
      : `Sync of ${subject.document.name} failed${inARow(job.failedInARow)}`,
    lines: [
      ends(subject),
      ...job.failures.map((each) => each.externalMessage),
      `Job ${job.id}, ${seconds} s, ${figures.recordsCommitted} records (${figures.bytesCommitted} bytes) delivered`,
    ],
    data: {
      event: success ? 'sync_succeeded' : 'sync_failed',
      ...subjectData(subject, link),
      jobId: job.id,
      success,
      startedAt: new Date(job.startedAt).toISOString(),
      finishedAt: new Date(job.endedAt).toISOString(),
      durationInSeconds: seconds,
      ...figures,
      failedInARow: job.failedInARow,
      ...(failure === undefined
        ? {}
        : {
            errorMessage: failure.externalMessage,
            errorType: failure.failureType,
            errorOrigin: failure.failureOrigin,
          }),
    },
  };
}

function inARow(failures: number): string {
  return failures > 1 ? ` (${failures} in a row)` : '';
}

function disabledAlert(event: StoredEvent, link: Link): Alert {
  const { subject, details } = event;
  return {
    title: `Connection ${subject.document.name} was switched off`,
    lines: [
      ends(subject),
      `It was ${String(details['statusReason'])}`,
      `Workspace ${subject.workspaceId}, connection ${subject.connectionId}`,
    ],
    data: { event: 'connection_disabled', ...subjectData(subject, link), ...details },
  };
}

function warningAlert(event: StoredEvent, link: Link): Alert {
  const { subject, details } = event;
  return {
    title: `Connection ${subject.document.name} will be switched off if its syncs go on failing`,
    lines: [
      ends(subject),
      String(details['remaining']),
      `Workspace ${subject.workspaceId}, connection ${subject.connectionId}`,
    ],
    data: { event: 'connection_disable_warning', ...subjectData(subject, link), ...details },
  };
}
