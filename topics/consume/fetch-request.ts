import type { WireRequest } from '../wire/broker-connection.ts';
import { ByteReader } from '../wire/bytes.ts';
import { flexibleBody } from '../wire/cluster-requests.ts';

/**
 * Fetch by topic id (version 13): a topic that was deleted and created again under its old name is
 * another topic to the broker, so that no offset of ours is ever looked up in it.
 */
const FETCH = 1;
const READ_COMMITTED = 1;

export interface FetchTarget {
  readonly topicId: string;
  readonly partition: number;
  /** Offset to read from. */
  readonly position: number;
  readonly leaderEpoch: number;
}

/** What a request says of its session with the broker (fetch-session.ts). */
export interface SessionStep {
  readonly id: number;
  /** 0 asks for a session, -1 for none. */
  readonly epoch: number;
  /** Partitions that are new, or to be read from elsewhere. */
  readonly changed: readonly FetchTarget[];
  readonly forgotten: readonly FetchTarget[];
}

export interface FetchLimits {
  readonly maxWaitMs: number;
  readonly maxBytes: number;
  readonly partitionMaxBytes: number;
}

/** Of partitions that are named for the first time, earlier ones are served first. */
export function fetchRequest(step: SessionStep, limits: FetchLimits): WireRequest {
  const { id, epoch, changed, forgotten } = step;
  const body = flexibleBody(64 + (changed.length + forgotten.length) * 64)
    .int32(-1)
    .int32(limits.maxWaitMs)
    .int32(1)
    .int32(limits.maxBytes)
    .int8(READ_COMMITTED)
    .int32(id)
    .int32(epoch)
    .arrayLength(changed.length);
  for (const { topicId, partition, position, leaderEpoch } of changed) {
    body.raw(Buffer.from(topicId, 'hex')).arrayLength(1);
    body.int32(partition).int32(leaderEpoch).int64(position).int32(-1).int64(-1);
    body.int32(limits.partitionMaxBytes).noTags().noTags();
  }
  body.arrayLength(forgotten.length);
  for (const { topicId, partition } of forgotten) {
    body.raw(Buffer.from(topicId, 'hex')).arrayLength(1).int32(partition).noTags();
  }
  body.compactString('').noTags();
  const timeoutMs = limits.maxWaitMs + ANSWER_TIMEOUT_MS;
  return { apiKey: FETCH, apiVersion: 13, body: [body.view()], timeoutMs };
}

/** Beyond the long poll itself; a broker that is silent for longer is taken for dead. */
const ANSWER_TIMEOUT_MS = 15_000;

export interface AbortedTransaction {
  readonly producerId: number;
  readonly firstOffset: number;
}

export interface FetchedPartition {
  readonly topicId: string;
  readonly partition: number;
  readonly errorCode: number;
  readonly highWatermark: number;
  readonly lastStableOffset: number;
  readonly logStartOffset: number;
  readonly aborted: readonly AbortedTransaction[];
  /** Record batches as they lie in the log, the last one possibly cut off; a view on the answer. */
  readonly records: Buffer;
}

export interface FetchAnswer {
  readonly errorCode: number;
  /** 0 where the broker has made no session. */
  readonly sessionId: number;
  readonly partitions: readonly FetchedPartition[];
}

export function readFetchAnswer(answer: Buffer): FetchAnswer {
  const reader = new ByteReader(answer);
  reader.tags();
  reader.int32();
  const errorCode = reader.int16();
  const sessionId = reader.int32();
  const partitions: FetchedPartition[] = [];
  reader.array(() => {
    const topicId = reader.uuid();
    reader.array(() => partitions.push(readPartition(reader, topicId)));
    reader.tags();
  });
  return { errorCode, sessionId, partitions };
}

function readPartition(reader: ByteReader, topicId: string): FetchedPartition {
  const partition = reader.int32();
  const errorCode = reader.int16();
  const highWatermark = reader.int64();
  const lastStableOffset = reader.int64();
  const logStartOffset = reader.int64();
  const aborted = reader.array(() => {
    const transaction = { producerId: reader.int64(), firstOffset: reader.int64() };
    reader.tags();
    return transaction;
  });
  reader.int32();
  const length = Math.max(0, reader.uvarint() - 1);
  const records = reader.bytes.subarray(reader.pos, reader.pos + length);
  reader.pos += length;
  reader.tags();
  return {
    topicId,
    partition,
    errorCode,
    highWatermark,
    lastStableOffset,
    logStartOffset,
    aborted,
    records,
  };
}
