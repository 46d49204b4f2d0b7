import { NONE, partitionError, throwIfKafkaError } from '../errors.ts';
import type { BrokerAbilities, BrokerConnection, WireRequest } from './broker-connection.ts';
import { ByteReader, ByteWriter } from './bytes.ts';

/**
 * What is asked about the cluster: versions, topics and leaders, coordinators, offsets. One version
 * of each, offered by every broker since Kafka 3.1, which is the oldest we work with.
 */

const API_VERSIONS = 18;
const METADATA = 3;
const FIND_COORDINATOR = 10;
const LIST_OFFSETS = 2;
const CLIENT_VERSION = '1';

/** A flexible request's body begins with the empty tags of its header. */
export function flexibleBody(capacity?: number): ByteWriter {
  return new ByteWriter(capacity).noTags();
}

export async function askAbilities(connection: BrokerConnection): Promise<BrokerAbilities> {
  const body = flexibleBody().compactString('headrace').compactString(CLIENT_VERSION).noTags();
  const answer = await connection.request({
    apiKey: API_VERSIONS,
    apiVersion: 3,
    body: [body.view()],
  });
  // This answer alone has no tags in its header, so that any client can read it.
  const reader = new ByteReader(answer);
  throwIfKafkaError(reader.int16(), 'asking the broker for its versions');
  const apis = new Map<number, { min: number; max: number }>();
  reader.array(() => {
    apis.set(reader.int16(), { min: reader.int16(), max: reader.int16() });
    reader.tags();
  });
  reader.int32();
  return { apis, features: readFeatures(reader) };
}

const FINALIZED_FEATURES_TAG = 2;

function readFeatures(reader: ByteReader): Map<string, number> {
  const features = new Map<string, number>();
  reader.tags((tag) => {
    if (tag !== FINALIZED_FEATURES_TAG) return;
    reader.array(() => {
      features.set(reader.compactString() ?? '', reader.int16());
      reader.int16();
      reader.tags();
    });
  });
  return features;
}

export interface BrokerAddress {
  readonly nodeId: number;
  readonly host: string;
  readonly port: number;
}

export interface PartitionMetadata {
  readonly partition: number;
  /** -1 while the partition has no leader. */
  readonly leader: number;
  readonly leaderEpoch: number;
  readonly replicas: number;
}

export interface TopicMetadata {
  readonly errorCode: number;
  readonly topic: string;
  /** Kafka's id of this incarnation of the topic, in hexadecimal. */
  readonly topicId: string;
  readonly internal: boolean;
  /** In order of their numbers. */
  readonly partitions: readonly PartitionMetadata[];
}

export interface ClusterMetadata {
  readonly clusterId: string | null;
  readonly controller: number;
  readonly brokers: readonly BrokerAddress[];
  readonly topics: readonly TopicMetadata[];
}

/** Null asks for every topic. */
export function metadataRequest(topics: readonly string[] | null): WireRequest {
  const body = flexibleBody();
  if (topics === null) body.uvarint(0);
  else {
    body.arrayLength(topics.length);
    for (const topic of topics) body.raw(NO_UUID).compactString(topic).noTags();
  }
  return { apiKey: METADATA, apiVersion: 12, body: [body.int8(0).int8(0).noTags().view()] };
}

const NO_UUID = Buffer.alloc(16);

export function readMetadata(answer: Buffer): ClusterMetadata {
  const reader = new ByteReader(answer);
  reader.tags();
  reader.int32();
  const brokers = reader.array(() => {
    const broker = {
      nodeId: reader.int32(),
      host: reader.compactString() ?? '',
      port: reader.int32(),
    };
    reader.compactString();
    reader.tags();
    return broker;
  });
  const clusterId = reader.compactString();
  const controller = reader.int32();
  const topics = reader.array(() => readTopic(reader));
  return { clusterId, controller, brokers, topics };
}

function readTopic(reader: ByteReader): TopicMetadata {
  const errorCode = reader.int16();
  const topic = reader.compactString() ?? '';
  const topicId = reader.uuid();
  const internal = reader.boolean();
  const partitions = reader.array(() => readPartition(reader));
  reader.int32();
  reader.tags();
  partitions.sort((a, b) => a.partition - b.partition);
  return { errorCode, topic, topicId, internal, partitions };
}

function readPartition(reader: ByteReader): PartitionMetadata {
  reader.int16();
  const partition = reader.int32();
  const leader = reader.int32();
  const leaderEpoch = reader.int32();
  const replicas = reader.array(() => reader.int32()).length;
  reader.array(() => reader.int32());
  reader.array(() => reader.int32());
  reader.tags();
  return { partition, leader, leaderEpoch, replicas };
}

const COORDINATOR_TYPE = { group: 0, transaction: 1 } as const;
export type CoordinatorType = keyof typeof COORDINATOR_TYPE;

export function coordinatorRequest(type: CoordinatorType, key: string): WireRequest {
  const body = flexibleBody().compactString(key).int8(COORDINATOR_TYPE[type]).noTags();
  return { apiKey: FIND_COORDINATOR, apiVersion: 3, body: [body.view()] };
}

/** The coordinator's node id; throws the answer's error, which is a passing one on a new broker. */
export function readCoordinator(answer: Buffer, doing: string): number {
  const reader = new ByteReader(answer);
  reader.tags();
  reader.int32();
  const errorCode = reader.int16();
  reader.compactString();
  throwIfKafkaError(errorCode, doing);
  return reader.int32();
}

export const EARLIEST = -2;
export const LATEST = -1;

export interface OffsetQuery {
  readonly partition: number;
  /** Epoch milliseconds, EARLIEST or LATEST. */
  readonly time: number;
}

/** With `committed`, LATEST is the last stable offset instead of the high watermark. */
export function listOffsetsRequest(
  topic: string,
  queries: readonly OffsetQuery[],
  committed: boolean,
): WireRequest {
  const body = flexibleBody()
    .int32(-1)
    .int8(committed ? 1 : 0)
    .arrayLength(1)
    .compactString(topic)
    .arrayLength(queries.length);
  for (const { partition, time } of queries) body.int32(partition).int32(-1).int64(time).noTags();
  return { apiKey: LIST_OFFSETS, apiVersion: 6, body: [body.noTags().noTags().view()] };
}

/** Offsets by partition; -1 where no record is as new as the time asked for. */
export function readListOffsets(answer: Buffer, topic: string): Map<number, number> {
  const reader = new ByteReader(answer);
  reader.tags();
  reader.int32();
  const offsets = new Map<number, number>();
  reader.array(() => {
    reader.compactString();
    reader.array(() => {
      const partition = reader.int32();
      const errorCode = reader.int16();
      reader.int64();
      const offset = reader.int64();
      reader.int32();
      reader.tags();
      if (errorCode !== NONE) {
        throw partitionError(errorCode, `asking for offsets of ${topic}/${partition}`, { topic });
      }
      offsets.set(partition, offset);
    });
    reader.tags();
  });
  return offsets;
}
