import { ERROR_CODES } from '../../core/errors/codes.ts';
import { failureReason } from '../../core/store/failure-reason.ts';
import type { FailureReason } from '../../core/store/jobs.ts';
import {
  jobPosition,
  type ConnectionReport,
  type ConnectionWork,
  type NamedStream,
  type ReadWork,
  type ReportedError,
  type SourceReport,
  type SourceWork,
} from '../../core/store/work.ts';
import type { TimedReport } from '../../core/store/worker-store.ts';

/** What reports say about one stage of a sync. `kind` of a wait changes when its reason does; `why`
 * is for people and carries figures. A wait for something that fails names it as its `cause`. */
export type Verdict =
  | { readonly is: 'met' }
  | {
      readonly is: 'wait';
      readonly kind: string;
      readonly why: string;
      readonly cause?: FailureReason;
    }
  | { readonly is: 'failed'; readonly failures: readonly FailureReason[] };

/** Workers report twice a second; one that has said nothing for this long is not there. */
const SILENT_MS = 30_000;

const MET: Verdict = { is: 'met' };

/**
 * Has the source handed over everything up to `position`? Every stream of the connection must be
 * past its first copy, and the report must be on the work as it stands now: one from before a stream
 * was added says nothing about that stream.
 */
export function captureVerdict(
  position: string,
  connection: ConnectionWork,
  source: SourceWork,
  timed: TimedReport<SourceReport> | null,
  since: Since = 0,
): Verdict {
  const unheard = notHeard('source', source.version, timed);
  if (unheard !== null || timed === null) return unheard ?? MET;
  const { report } = timed;
  const streams = report.streams.filter((each) => isAmong(connection.streams, each));
  // A source's stopped stream stays stopped: when it stopped does not matter.
  const failures = troubles(errorSince(report.error, since), streams);
  if (failures.length > 0) return { is: 'failed', failures };
  if (report.error !== undefined) return waitingOut('source', report.error);
  const behind = connection.streams.find(
    (each) => !streams.some((s) => isSame(s, each) && s.phase === 'streaming'),
  );
  if (behind !== undefined) {
    const found = streams.find((each) => isSame(each, behind));
    const rows = found === undefined ? '' : ` (${found.phase}, ${found.rowsDone} rows)`;
    const why = report.waitingFor ?? `stream ${label(behind)} is not streaming yet${rows}`;
    return { is: 'wait', kind: `stream ${label(behind)}`, why: `source: ${why}` };
  }
  if (report.capturedThrough !== null && report.capturedThrough >= position) return MET;
  const captured = report.capturedThrough ?? 'nothing';
  return {
    is: 'wait',
    kind: 'position',
    why: `source: captured ${captured} of ${position}, ${report.lagBytes} bytes behind`,
  };
}

/** Streams that a job's read ended without, and why. */
export interface Unread {
  readonly streams: readonly NamedStream[];
  readonly failures: readonly FailureReason[];
}

/** `partly`: the read has ended, for some streams with a failure instead of their rows. */
export type ReadVerdict = Verdict | { readonly is: 'partly'; readonly unread: Unread };

/** Has the source read all that the job is to read? */
export function readVerdict(
  read: ReadWork,
  timed: TimedReport<SourceReport> | null,
  since: Since = 0,
): ReadVerdict {
  const unheard = notHeard('source', read.version, timed);
  if (unheard !== null || timed === null) return unheard ?? MET;
  const { report } = timed;
  if ((report.capturedThrough ?? '') >= jobPosition(read.job)) return MET;
  const failures = troubles(errorSince(report.error, since), []);
  if (failures.length > 0) return { is: 'failed', failures };
  if (report.error !== undefined) return waitingOut('source', report.error);
  const stopped = report.streams.filter((each) => each.phase === 'stopped');
  if (report.phase === 'read' && stopped.length > 0) {
    const streams = stopped.map(({ namespace, name }) => ({ namespace, name }));
    return { is: 'partly', unread: { streams, failures: troubles(undefined, stopped) } };
  }
  const now = report.streams.find((each) => each.phase === 'snapshot') ?? report.streams[0];
  const of = now?.rowsEstimate == null ? '' : ` of about ${now.rowsEstimate}`;
  const rows = now === undefined ? '' : ` (${label(now)}: ${now.rowsDone}${of} rows)`;
  const why = `source: ${report.waitingFor ?? 'reading'}${rows}`;
  return { is: 'wait', kind: `read ${now === undefined ? '' : label(now)}`, why };
}

/**
 * Everything that keeps the connection from going on, at both ends: a person mends all of it at once.
 * What was noticed first is not the whole cause, and may be the one that was known already.
 */
export function standingFailures(
  connection: ConnectionWork,
  source: SourceReport | undefined,
  delivery: ConnectionReport | undefined,
): FailureReason[] {
  const captured = source?.streams.filter((each) => isAmong(connection.streams, each)) ?? [];
  return [
    ...troubles(source?.error, captured),
    ...troubles(delivery?.error, delivery?.streams ?? []),
  ];
}

export type DeliveryVerdict = Verdict | { readonly is: 'flush' };

/** May the end of the topics be asked for? The sink must know the topic of every stream. */
export function topicsVerdict(
  connection: ConnectionWork,
  timed: TimedReport<ConnectionReport> | null,
  since: Since = 0,
): Verdict {
  const verdict = sinkVerdict(connection, timed, since);
  if (verdict !== MET || timed === null) return verdict;
  const known = topicsOf(timed.report).length;
  if (known >= connection.streams.length) return MET;
  const why = `destination: ${known} of ${connection.streams.length} topics are open`;
  return { is: 'wait', kind: 'topics', why };
}

/**
 * Is everything below `targets` ("topic:partition" to offset) durable? `flush` when all of it has
 * been read and accepted, so that an order to flush finds nothing more to wait for.
 */
export function deliveryVerdict(
  targets: ReadonlyMap<string, number>,
  connection: ConnectionWork,
  timed: TimedReport<ConnectionReport> | null,
  since: Since = 0,
): DeliveryVerdict {
  const verdict = sinkVerdict(connection, timed, since);
  if (verdict !== MET || timed === null) return verdict;
  const partitions = new Map(
    timed.report.partitions.map((each) => [`${each.topic}:${each.partition}`, each]),
  );
  let missing = 0;
  let unread = 0;
  for (const [key, target] of targets) {
    const { durable, consumed } = partitions.get(key) ?? { durable: 0, consumed: 0 };
    missing += Math.max(0, target - durable);
    unread += Math.max(0, target - Math.max(consumed, durable));
  }
  if (missing === 0) return MET;
  if (unread === 0) return { is: 'flush' };
  const why = `destination: ${missing} records are not durable yet, ${unread} of them not read`;
  return { is: 'wait', kind: 'records', why };
}

export function topicsOf(report: ConnectionReport): string[] {
  return [...new Set(report.partitions.map((each) => each.topic))];
}

function sinkVerdict(
  connection: ConnectionWork,
  timed: TimedReport<ConnectionReport> | null,
  since: Since,
): Verdict {
  const unheard = notHeard('sink', connection.version, timed);
  if (unheard !== null || timed === null) return unheard ?? MET;
  const { error, streams } = timed.report;
  const failures = troubles(
    errorSince(error, since),
    streams.filter((each) => each.error === undefined || each.error.at >= since),
  );
  if (failures.length > 0) return { is: 'failed', failures };
  const again = error ?? streams.find((each) => each.phase === 'stopped')?.error;
  return again === undefined ? MET : waitingOut('destination', again);
}

function notHeard(
  role: 'source' | 'sink',
  version: string,
  timed: TimedReport<SourceReport | ConnectionReport> | null,
): Verdict | null {
  if (timed === null || timed.ageMs > SILENT_MS) {
    const why = `no ${role} service reports on this connection: is one running?`;
    return { is: 'wait', kind: `no ${role}`, why };
  }
  if (timed.report.version === version) return null;
  return { is: 'wait', kind: `${role} version`, why: `${role}: takes up the new configuration` };
}

/**
 * A worker tries again what failed, but not at once. An error from before the job began may have been
 * mended since (which is often why the job was started), so it is waited for a newer one, though not
 * for longer than the longest back-off: clocks of two machines may differ.
 */
export const RETRY_GRACE_MS = 45_000;

/** Errors reported at or after this time (epoch milliseconds) fail the job. */
export type Since = number;

export function failuresSince(jobCreatedAt: number, now: number): Since {
  return now - jobCreatedAt > RETRY_GRACE_MS ? 0 : jobCreatedAt;
}

/** A stopped stream never catches up by itself, and what is not retried waits for a person. */
function troubles(
  error: ReportedError | undefined,
  streams: readonly (NamedStream & { phase: string; error?: ReportedError })[],
): FailureReason[] {
  const failures = streams
    .filter((each) => each.phase === 'stopped')
    .map((each) => {
      const { code, message, at } = each.error ?? {
        code: 'BUG_UNEXPECTED' as const,
        message: 'it stopped and did not say why.',
        at: Date.now(),
      };
      return failureReason(code, `stream ${label(each)}: ${message}`, at);
    });
  if (error === undefined || !needsPerson(error)) return failures;
  return [failureReason(error.code, error.message, error.at), ...failures];
}

function errorSince(error: ReportedError | undefined, since: Since): ReportedError | undefined {
  return error !== undefined && error.at >= since ? error : undefined;
}

function needsPerson({ code }: ReportedError): boolean {
  const { reaction } = ERROR_CODES[code];
  return reaction !== 'retry';
}

function waitingOut(end: 'source' | 'destination', { code, message, at }: ReportedError): Verdict {
  const cause = failureReason(code, message, at);
  return { is: 'wait', kind: `${end} ${code}`, why: `${end}: ${code}: ${message}`, cause };
}

export function isAmong(streams: readonly NamedStream[], stream: NamedStream): boolean {
  return streams.some((each) => isSame(each, stream));
}

function isSame(a: NamedStream, b: NamedStream): boolean {
  return a.name === b.name && a.namespace === b.namespace;
}

function label({ namespace, name }: NamedStream): string {
  return namespace === '' ? name : `${namespace}.${name}`;
}
