import type { Connection } from '../../core/store/connections.ts';
import type { Job } from '../../core/store/jobs.ts';
import type { StreamReplay } from '../../core/store/replays.ts';
import type { Store } from '../../core/store/store.ts';
import type {
  ConnectionReport,
  ConnectionStreamReport,
  NamedStream,
  SourceReport,
  SourceStreamReport,
} from '../../core/store/work.ts';
import { isReadByJob, selectedStreams } from '../../core/store/connection-document.ts';
import { jobRead } from './job-shapes.ts';

/** What its workers last said about a connection: their reports whole with their ages, the streams
 * with both ends side by side, totals, lag, the last job, and what a stopped one waits for. */
export async function connectionStatus(store: Store, connectionId: string): Promise<object> {
  const connection = await store.connections.get(connectionId);
  const captureId = await store.work.captureIdOf(connection.sourceId);
  const source = await store.work.sourceReport(captureId);
  const read = await store.work.readReport(connectionId);
  const sink = await store.work.connectionReport(connectionId);
  const cleanup = await store.cleanups.pendingFor(connection.sourceId);
  const job = await store.jobs.last(connectionId);
  const log = await store.monitoring.retainedLog(captureId);
  const replays = await store.replays.of(connectionId);
  const streams = selectedStreams(connection.document).map((each) => {
    const { stream } = each;
    const named = { namespace: stream.namespace ?? '', name: stream.name };
    const replay = replays.find((order) => same(order, named));
    return {
      ...streamStatus(named, isReadByJob(each) ? read?.report : source?.report, sink?.report),
      ...(replay === undefined ? {} : { replay: replayStatus(replay) }),
    };
  });
  return {
    connectionId,
    status: connection.status,
    ...(source && { sourceReport: { ...source.report, ageSeconds: source.ageMs / 1000 } }),
    ...(read && { readReport: { ...read.report, ageSeconds: read.ageMs / 1000 } }),
    ...(sink && { connectionReport: { ...sink.report, ageSeconds: sink.ageMs / 1000 } }),
    streams,
    ...totals(source?.report, sink?.report),
    ...(cleanup === null ? {} : { waitingFor: `the source's clean-up before ${cleanup}`.trim() }),
    ...(log === null ? {} : { retainedLogBytes: log.bytes }),
    warnings: warningsOf(connection, log),
    ...lastJob(job),
  };
}

/** What nobody would notice otherwise until the source's disk is full. */
function warningsOf({ status }: Connection, log: { bytes: number } | null): string[] {
  if (status !== 'inactive' || log === null) return [];
  return [
    `the connection is inactive and its source's slot stays: the source's server keeps ${log.bytes} ` +
      'bytes of log for it, more with every change; activate it, or delete it to let the slot go',
  ];
}

function replayStatus({ replay, start, rebuild, done }: StreamReplay): object {
  return { replayId: replay, from: start, rebuild, status: done ? 'succeeded' : 'running' };
}

function lastJob(job: Job | null): object {
  return job === null ? {} : { lastJob: jobRead(job) };
}

function streamStatus(
  stream: NamedStream,
  source: SourceReport | undefined,
  sink: ConnectionReport | undefined,
): object {
  const captured = source?.streams.find((each) => same(each, stream));
  const delivered = sink?.streams.find((each) => same(each, stream));
  const error = captured?.error ?? delivered?.error;
  return {
    name: stream.name,
    ...(stream.namespace === '' ? {} : { namespace: stream.namespace }),
    ...capturedPart(captured),
    ...deliveredPart(delivered),
    ...(error === undefined ? {} : { error }),
  };
}

function capturedPart(stream: SourceStreamReport | undefined): object {
  if (stream === undefined) return {};
  const { phase, rowsDone, rowsEstimate } = stream;
  return { sourcePhase: phase, rowsDone, ...(rowsEstimate === null ? {} : { rowsEstimate }) };
}

function deliveredPart(stream: ConnectionStreamReport | undefined): object {
  if (stream === undefined) return {};
  const { phase, records, bytes, watermarkMs, nulledValues } = stream;
  const nulled = nulledValues === undefined ? {} : { nulledValues };
  return { destinationPhase: phase, records, bytes, watermarkMs, ...nulled };
}

function totals(source: SourceReport | undefined, sink: ConnectionReport | undefined): object {
  const sum = (pick: (stream: ConnectionStreamReport) => number): number =>
    (sink?.streams ?? []).reduce((total, stream) => total + pick(stream), 0);
  const behind = (sink?.partitions ?? []).reduce((total, p) => total + (p.end - p.durable), 0);
  return {
    lagBytes: source?.lagBytes ?? 0,
    lagSeconds: (source?.lagMs ?? 0) / 1000,
    lagRecords: behind,
    records: sum((stream) => stream.records),
    bytes: sum((stream) => stream.bytes),
  };
}

function same(a: NamedStream, b: NamedStream): boolean {
  return a.name === b.name && a.namespace === b.namespace;
}
