import type { MonitoredConnection, MonitoredSource } from '../../core/store/monitoring.ts';
import { itemFor, type NotificationSettings } from '../../core/store/notification-settings.ts';
import { ends, subjectData, type Alert, type Link } from '../../core/notify/message.ts';

/** Workers report twice a second; older words say nothing of the present. */
const SILENT_MS = 30_000;
const DEFAULT_OBJECTIVE_SECONDS = 900;
const DEFAULT_BUDGET_MB = 10_240;
const MB = 1024 * 1024;

/** How old the newest row of a connection's destination may be, in seconds; the connection's own
 * `freshnessObjectiveSeconds` comes first. Null: there is none for a schedule without one. */
export function objectiveOf(
  connection: MonitoredConnection,
  settings: NotificationSettings,
): number | null {
  const { document } = connection.subject;
  const own = document['freshnessObjectiveSeconds'];
  if (typeof own === 'number') return own;
  if (document.scheduleType !== 'continuous') return null;
  return itemFor(settings, 'freshness').objectiveSeconds ?? DEFAULT_OBJECTIVE_SECONDS;
}

/** Seconds by which a connection's destination is behind its source: 0 when all that is known of is
 * there. A service that is silent is behind for as long as it is. */
export function stalenessOf(connection: MonitoredConnection, now: number): number {
  const { document } = connection.subject;
  if (document.scheduleType !== 'continuous') {
    return Math.max(0, now - (connection.lastSuccessAt ?? connection.createdAt)) / 1000;
  }
  const { source, sourceAgeMs, delivery, deliveryAgeMs } = connection;
  const silentMs = Math.max(
    sourceAgeMs ?? now - connection.createdAt,
    deliveryAgeMs ?? now - connection.createdAt,
  );
  const behind = (delivery?.partitions ?? []).some((each) => each.end > each.durable);
  const newest = Math.max(0, ...(delivery?.streams ?? []).map((each) => each.watermarkMs));
  const stopped = [...(source?.streams ?? []), ...(delivery?.streams ?? [])]
    .filter((each) => each.phase === 'stopped')
    .map((each) => now - (each.error?.at ?? now));
  const failing = [source?.error, delivery?.error].map((error) => (error ? now - error.at : 0));
  return (
    Math.max(
      silentMs > SILENT_MS ? silentMs : 0,
      source?.lagMs ?? 0,
      behind && newest > 0 ? now - newest : 0,
      ...stopped,
      ...failing,
    ) / 1000
  );
}

export function budgetMbOf(settings: NotificationSettings): number {
  return itemFor(settings, 'retained_log').budgetMb ?? DEFAULT_BUDGET_MB;
}

export function freshnessAlert(
  { subject }: MonitoredConnection,
  figures: { readonly seconds: number; readonly objective: number; readonly holds: boolean },
  link: Link,
): Alert {
  const { seconds, objective, holds } = figures;
  const name = subject.document.name;
  return {
    title: holds
      ? `Connection ${name} is ${Math.round(seconds)} s behind; ${objective} s are allowed`
      : `Connection ${name} is fresh again`,
    lines: [ends(subject), ...(holds ? ['connections/status says what it waits for.'] : [])],
    data: {
      event: holds ? 'freshness_missed' : 'freshness_met',
      ...subjectData(subject, link),
      behindSeconds: Math.round(seconds),
      objectiveSeconds: objective,
    },
  };
}

export function retainedLogAlert(
  source: MonitoredSource,
  figures: { readonly bytes: number; readonly budgetMb: number; readonly holds: boolean },
  link: Link,
): Alert | null {
  const [subject] = source.subjects;
  if (subject === undefined) return null;
  const { bytes, budgetMb, holds } = figures;
  const mb = Math.round(bytes / MB);
  return {
    title: holds
      ? `The server of source ${subject.source.name} keeps ${mb} MB of log for us; ${budgetMb} are allowed`
      : `The server of source ${subject.source.name} keeps ${mb} MB of log for us: within its budget again`,
    lines: holds ? [remedy(source)] : [],
    data: {
      event: holds ? 'retained_log_over_budget' : 'retained_log_within_budget',
      ...subjectData(subject, link),
      retainedBytes: bytes,
      budgetBytes: budgetMb * MB,
      isRead: source.isRead,
    },
  };
}

export function isOverBudget(bytes: number, budgetMb: number): boolean {
  return bytes > budgetMb * MB;
}

function remedy({ isRead }: MonitoredSource): string {
  return isRead
    ? 'Bring the source service or Kafka back before its disk is full; connections/status says what it waits for.'
    : 'None of its connections is active: activate one, or delete them all, which lets the slot go.';
}
