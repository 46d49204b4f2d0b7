import type { Store } from '../../core/store/store.ts';
import type {
  ConnectionWork,
  ReadWork,
  SourceReport,
  SourceWork,
  Work,
} from '../../core/store/work.ts';
import type { TimedReport } from '../../core/store/worker-store.ts';
import { captureVerdict, readVerdict, type ReadVerdict, type Since } from './barrier.ts';

/**
 * What a job needs of its source: the log up to the barrier's mark for streams that are captured from
 * it, and the job's own read of the others. A connection may have both.
 */
export interface SourceSide {
  readonly connection: ConnectionWork;
  /** Of the connection, with the streams of the log only. */
  readonly logged: ConnectionWork;
  /** Absent when no stream is captured from a log, or while its source is being let go. */
  readonly source: SourceWork | undefined;
  readonly read: ReadWork | undefined;
}

/** Null while a deleted source is let go first. */
export function sourceSideOf(work: Work, connectionId: string): SourceSide | null {
  const connection = work.connections.find((each) => each.connectionId === connectionId);
  if (connection === undefined) return null;
  const streams = connection.streams.filter((each) => !each.isReadByJob);
  const source = work.sources.find((each) => each.sourceId === connection.sourceId);
  if (streams.length > 0 && source === undefined) return null;
  return {
    connection,
    logged: { ...connection, streams },
    source: streams.length > 0 ? source : undefined,
    read: work.reads.find((each) => each.connectionId === connectionId),
  };
}

/** The report that tells how the job's source side is doing: of the log where one is followed. */
export function sourceSideReport(
  { work }: Pick<Store, 'work'>,
  { connection, source }: SourceSide,
): Promise<TimedReport<SourceReport> | null> {
  return source === undefined
    ? work.readReport(connection.connectionId)
    : work.sourceReport(source.sourceId);
}

/** `position` is the barrier's mark, null where no log is followed. */
export async function sourceSideVerdict(
  { work }: Pick<Store, 'work'>,
  side: SourceSide,
  position: string | null,
  since: Since,
): Promise<ReadVerdict> {
  const { source, read, connection, logged } = side;
  if (source !== undefined && position !== null) {
    const report = await work.sourceReport(source.sourceId);
    const verdict = captureVerdict(position, logged, source, report, since);
    if (verdict.is !== 'met') return verdict;
  }
  if (read === undefined) return { is: 'met' };
  return readVerdict(read, await work.readReport(connection.connectionId), since);
}
