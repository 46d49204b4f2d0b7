import type { StreamStats } from '../../core/store/jobs.ts';
import type { ConnectionReport, ConnectionStreamReport } from '../../core/store/work.ts';
import type { TimedReport } from '../../core/store/worker-store.ts';

const COUNTS = ['records', 'bytes', 'emittedRecords', 'emittedBytes'] as const;
type Counts = Readonly<Record<(typeof COUNTS)[number], number>>;

/** Totals of one stream: as last reported, and what of it fell into this attempt. Plain JSON. */
export interface StreamFigures {
  readonly namespace: string;
  readonly name: string;
  readonly seen: Counts;
  readonly counted: Counts;
  /** The same of values that did not fit, by field. */
  readonly nulledSeen?: Nulled;
  readonly nulled?: Nulled;
}

type Nulled = Readonly<Record<string, number>>;

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
  return figures.map(({ namespace, name, counted, nulled }) => ({
    streamName: name,
    ...(namespace === '' ? {} : { streamNamespace: namespace }),
    stats: {
      recordsEmitted: counted.emittedRecords,
      bytesEmitted: counted.emittedBytes,
      recordsCommitted: counted.records,
      bytesCommitted: counted.bytes,
    },
    ...(nulled === undefined ? {} : { nulledValues: nulled }),
  }));
}

function next(
  old: StreamFigures | undefined,
  stream: ConnectionStreamReport,
  { counts }: { counts: boolean },
): StreamFigures {
  const { namespace, name, records, bytes } = stream;
  const { emittedRecords = records, emittedBytes = bytes } = stream;
  const seen: Counts = { records, bytes, emittedRecords, emittedBytes };
  const restarted = old === undefined || seen.emittedRecords < old.seen.emittedRecords;
  const since = (count: keyof Counts): number =>
    counts ? Math.max(0, seen[count] - (restarted ? 0 : old.seen[count])) : 0;
  const counted = Object.fromEntries(
    COUNTS.map((count) => [count, (old?.counted[count] ?? 0) + since(count)]),
  ) as unknown as Counts;
  const nulled = counts ? nulledSince(old, stream.nulledValues, restarted) : undefined;
  return {
    namespace,
    name,
    seen,
    counted,
    ...(stream.nulledValues && { nulledSeen: stream.nulledValues }),
    ...(nulled && { nulled }),
  };
}

/** Absent while there are none. */
function nulledSince(
  old: StreamFigures | undefined,
  now: Nulled | undefined,
  restarted: boolean,
): Nulled | undefined {
  const sums = { ...old?.nulled };
  for (const [field, total] of Object.entries(now ?? {})) {
    const before = restarted ? 0 : (old?.nulledSeen?.[field] ?? 0);
    if (total > before) sums[field] = (sums[field] ?? 0) + total - before;
  }
  return Object.keys(sums).length === 0 ? undefined : sums;
}
