import { join } from 'node:path';
import type { Connectors } from '../../connectors/registry.ts';
import type { KeyText } from '../../connectors/spi/comparison.ts';
import type { Destination, DestinationStream } from '../../connectors/spi/destination.ts';
import type { Source } from '../../connectors/spi/source.ts';
import type { ErrorCode } from '../../core/errors/codes.ts';
import { PipelineError, toPipelineError } from '../../core/errors/pipeline-error.ts';
import type { ConnectionStreamWork, ConnectionWork, SourceWork } from '../../core/store/work.ts';
import type { WorkerStore } from '../../core/store/worker-store.ts';
import { streamLabel } from '../../schemas/catalog/stream-id.ts';
import type { KafkaClient } from '../../topics/kafka-client.ts';
import { streamTopic } from '../../topics/naming.ts';
import { CatchUp } from './caught-up.ts';
import { compareEvents } from './event-comparison.ts';
import type { Fault } from './suspects.ts';
import { compareTables, type TableFindings } from './table-comparison.ts';

export interface VerifyOptions {
  readonly work: WorkerStore;
  readonly connectors: Connectors;
  readonly kafka: KafkaClient;
  readonly topicPrefix: string;
  /** HEADRACE_HOME; files that are compared lie below it for a while. */
  readonly home: string;
}

/** What was found of one stream. Keys are arrays of the key's cells as text. */
export interface StreamVerdict {
  readonly stream: string;
  readonly rows: number;
  readonly ranges: number;
  readonly differingRanges: number;
  readonly reread: number;
  readonly missing: readonly KeyText[];
  readonly extra: readonly KeyText[];
  readonly different: readonly KeyText[];
  readonly unsettled: readonly KeyText[];
  /** More keys differ than are listed. */
  readonly more: boolean;
  /** Rows of an append table that repeat the key of another one; absent where that is not counted. */
  readonly repeatedKeys?: number;
}

/** A stream that was not compared, and why. */
export interface StreamRefusal {
  readonly stream: string;
  readonly error: { readonly code: ErrorCode; readonly message: string; readonly fix: string };
}

/** How long delivery may take to catch up with a look at the source. */
const PATIENCE_MS = 120_000;

/** Compares a connection's streams one after the other while everything goes on. Throws
 * VFY_NOT_REACHED for a connection that is inactive. */
export async function verifyConnection(
  options: VerifyOptions,
  connectionId: string,
): Promise<AsyncIterable<StreamVerdict | StreamRefusal>> {
  const { sources, connections } = await options.work.listActive();
  const connection = connections.find((each) => each.connectionId === connectionId);
  if (connection === undefined) {
    throw new PipelineError('VFY_NOT_REACHED', `the connection ${connectionId} is inactive`, {
      details: { id: connectionId },
    });
  }
  const now = await options.work.listWork();
  const work = sources.find((each) => each.sourceId === connection.sourceId);
  const { sources: known, destinations } = options.connectors;
  return verdicts({
    ...options,
    connection,
    isDelivered: now.connections.some((each) => each.connectionId === connectionId),
    source: work === undefined ? null : { work, connector: await known.load(work.connector) },
    destination: await destinations.load(connection.connector),
  });
}

interface CapturedSource {
  readonly work: SourceWork;
  readonly connector: Source;
}

interface Verification extends VerifyOptions {
  readonly connection: ConnectionWork;
  /** False while it rests until its next job. */
  readonly isDelivered: boolean;
  /** Null when jobs read all streams. */
  readonly source: CapturedSource | null;
  readonly destination: Destination;
}

async function* verdicts(context: Verification): AsyncGenerator<StreamVerdict | StreamRefusal> {
  for (const stream of context.connection.streams) {
    const label = streamLabel(stream);
    try {
      yield verdictOf(label, await compareStream(context, stream));
    } catch (thrown) {
      const { code, message, spec } = toPipelineError(thrown);
      yield { stream: label, error: { code, message, fix: spec.fix } };
    }
  }
}

async function compareStream(
  context: Verification,
  stream: ConnectionStreamWork,
): Promise<TableFindings> {
  const { source } = context;
  const hasLog =
    !stream.isReadByJob && source !== null && source.connector.hasLog(source.work.config);
  if (hasLog && stream.mode === 'append_dedup') {
    const findings = await compareDeduped(context, stream, source);
    if (findings !== null) return findings;
  }
  return compareAppended(context, stream);
}

/** A row per event, or per event that is kept, against the topic. */
async function compareAppended(
  { connection, destination, kafka, topicPrefix, home }: Verification,
  stream: ConnectionStreamWork,
): Promise<TableFindings> {
  const { openAppended, spec } = destination;
  if (openAppended === undefined) {
    throw unsupported(stream, `its copy in a ${spec.title} destination`);
  }
  const topic = streamTopic(topicPrefix, stream.topicOwner, stream);
  const bounds = await kafka.admin.bounds(topic);
  const copy = await openAppended({
    config: connection.config,
    connectionId: connection.connectionId,
    topic,
    partitions: bounds.map(({ partition }) => partition),
    stream: destinationStream(stream),
    scratchFolder: join(home, 'scratch'),
  });
  try {
    return await copy.look((view) => compareEvents(kafka, topic, copy, view));
  } finally {
    await copy.close();
  }
}

/** A row per key, against the source; null where one side cannot be asked. */
async function compareDeduped(
  context: Verification,
  stream: ConnectionStreamWork,
  source: CapturedSource,
): Promise<TableFindings | null> {
  const { connection, destination: to, kafka } = context;
  const { work, connector: from } = source;
  if (from.openTable === undefined || to.openTable === undefined) return null;
  const topic = streamTopic(context.topicPrefix, stream.topicOwner, stream);
  const { primaryKey } = stream;
  const there = await from.openTable({ config: work.config, stream, primaryKey });
  try {
    const here = await to.openTable({
      config: connection.config,
      connectionId: connection.connectionId,
      topic,
      stream: destinationStream(stream),
      compared: there.compared,
      epoch: (await kafka.positions.read(work.sourceId))?.epoch ?? 0,
    });
    if (here === null) return null;
    const catchUp = new CatchUp({
      stream,
      topic,
      patienceMs: PATIENCE_MS,
      sourceReport: () => context.work.sourceReport(work.sourceId),
      endOffsets: (topics) => kafka.endOffsets(topics),
    });
    try {
      if (!context.isDelivered) throw resting(stream);
      return await compareTables({
        source: (work) => there.look(work),
        rowsNow: (keys) => there.rowsOfKeys(keys),
        destination: (position, since, work) => catchUp.look(here, position, since, work),
      });
    } finally {
      await here.close();
    }
  } finally {
    await there.close();
  }
}

function destinationStream(stream: ConnectionStreamWork): DestinationStream {
  const { namespace, name, destinationNamespace, destinationName, mode, primaryKey } = stream;
  return {
    stream: { namespace, name },
    namespace: destinationNamespace,
    name: destinationName,
    mode,
    primaryKey,
  };
}

function resting(stream: ConnectionStreamWork): PipelineError {
  const label = streamLabel(stream);
  const message = `stream ${label}: it is not delivered now: its connection waits for its next job`;
  return new PipelineError('VFY_NOT_REACHED', message, { details: { stream: label } });
}

function unsupported(stream: ConnectionStreamWork, what: string): PipelineError {
  const label = streamLabel(stream);
  return new PipelineError('VFY_UNSUPPORTED', `stream ${label}: ${what} cannot be compared`, {
    details: { stream: label },
  });
}

function verdictOf(stream: string, findings: TableFindings): StreamVerdict {
  const { faults, ...figures } = findings;
  const keysOf = (fault: Fault): KeyText[] =>
    faults.filter((each) => each.fault === fault).map(({ key }) => key);
  return {
    stream,
    ...figures,
    missing: keysOf('missing'),
    extra: keysOf('extra'),
    different: keysOf('different'),
  };
}
