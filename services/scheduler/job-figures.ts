import type { StreamStats } from '../../core/store/jobs.ts';
import type { ConnectionReport, ConnectionStreamReport } from '../../core/store/work.ts';
import type { TimedReport } from '../../core/store/worker-store.ts';

/** Totals of one stream: as last reported, and what of it fell into this job. Plain JSON. */
export interface StreamFigures {
  readonly namespace: string;
  readonly name: string;
  readonly seenRecords: number;
  readonly seenBytes: number;
  readonly records: number;
  readonly bytes: number;
}

/** An older report is not of a sink that runs now, and the next one's totals begin at zero. */
const RUNNING_MS = 5_000;

/** Where the count begins: at the totals of a sink that runs already, else at zero. */
export function firstFigures(timed: TimedReport<ConnectionReport> | null): StreamFigures[] {
  if (timed === null || timed.ageMs > RUNNING_MS) return [];
  return timed.report.streams.map((stream) => next(undefined, stream, { counts: false }));
}

/** Adds what was delivered since. Totals that went down are a new sink's, counted from zero. */
export function addFigures(
  before: readonly StreamFigures[],
  timed: TimedReport<ConnectionReport> | null,
): readonly StreamFigures[] {
  if (timed === null || timed.ageMs > RUNNING_MS) return before;
  return timed.report.streams.map((stream) => {
    const old = before.find(
      (each) => each.name === stream.name && each.namespace === stream.namespace,
    );
    return next(old, stream, { counts: true });
  });
}

export function streamStats(figures: readonly StreamFigures[]): StreamStats[] {
  return figures.map(({ namespace, name, records, bytes }) => ({
    streamName: name,
    ...(namespace === '' ? {} : { streamNamespace: namespace }),
    stats: { recordsCommitted: records, bytesCommitted: bytes },
  }));
}

function next(
  old: StreamFigures | undefined,
  now: ConnectionStreamReport,
  { counts }: { counts: boolean },
): StreamFigures {
  const restarted = old === undefined || now.records < old.seenRecords;
  const newRecords = counts ? now.records - (restarted ? 0 : old.seenRecords) : 0;
  const newBytes = counts ? now.bytes - (restarted ? 0 : old.seenBytes) : 0;
  return {
    namespace: now.namespace,
    name: now.name,
    seenRecords: now.records,
    seenBytes: now.bytes,
    records: (old?.records ?? 0) + newRecords,
    bytes: (old?.bytes ?? 0) + Math.max(0, newBytes),
  };
}
