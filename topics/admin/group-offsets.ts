import { kafkaError, NONE, throwIfKafkaError } from '../errors.ts';
import type { WireRequest } from '../wire/broker-connection.ts';
import { ByteReader } from '../wire/bytes.ts';
import { flexibleBody } from '../wire/cluster-requests.ts';

/**
 * Offsets of a consumer group, written without being a member of it: monitoring tools show lag by
 * them. Nothing of ours ever starts from them.
 */
export interface TopicOffset {
  readonly topic: string;
  readonly partition: number;
  readonly offset: number;
}

const OFFSET_COMMIT = 8;
const OFFSET_FETCH = 9;

export function commitOffsetsRequest(group: string, offsets: readonly TopicOffset[]): WireRequest {
  const body = flexibleBody()
    .compactString(group)
    .int32(-1)
    .compactString('')
    .compactString(null)
    .arrayLength(offsets.length);
  for (const { topic, partition, offset } of offsets) {
    body.compactString(topic).arrayLength(1);
    body.int32(partition).int64(offset).int32(-1).compactString(null).noTags().noTags();
  }
  return { apiKey: OFFSET_COMMIT, apiVersion: 8, body: [body.noTags().view()] };
}

export function checkCommitOffsets(answer: Buffer, group: string): void {
  const reader = new ByteReader(answer);
  reader.tags();
  reader.int32();
  reader.array(() => {
    const topic = reader.compactString();
    reader.array(() => {
      reader.int32();
      throwIfKafkaError(reader.int16(), `storing offsets of group ${group} for ${topic}`);
      reader.tags();
    });
    reader.tags();
  });
}

export function fetchOffsetsRequest(group: string): WireRequest {
  const body = flexibleBody().compactString(group).uvarint(0).boolean(false).noTags();
  return { apiKey: OFFSET_FETCH, apiVersion: 7, body: [body.view()] };
}

export function readFetchOffsets(answer: Buffer, group: string): TopicOffset[] {
  const reader = new ByteReader(answer);
  const doing = `reading the offsets of group ${group}`;
  const offsets: TopicOffset[] = [];
  reader.tags();
  reader.int32();
  reader.array(() => {
    const topic = reader.compactString() ?? '';
    reader.array(() => {
      const partition = reader.int32();
      const offset = reader.int64();
      reader.int32();
      reader.compactString();
      const errorCode = reader.int16();
      reader.tags();
      if (errorCode !== NONE) throw kafkaError(errorCode, doing, { topic, partition });
      if (offset >= 0) offsets.push({ topic, partition, offset });
    });
    reader.tags();
  });
  throwIfKafkaError(reader.int16(), doing);
  return offsets;
}
