import { NONE, throwIfKafkaError } from '../errors.ts';
import type { WireRequest } from '../wire/broker-connection.ts';
import { ByteReader } from '../wire/bytes.ts';
import { flexibleBody } from '../wire/cluster-requests.ts';

/**
 * The requests of a Kafka transaction. Protocol 2 (brokers from 4.0): partitions join by being
 * written to, and every end of a transaction answers a new epoch, so that a late EndTxn can never
 * hit the next transaction. Protocol 1: partitions are announced first, the epoch stays.
 */
export type TransactionProtocol = 1 | 2;

const INIT_PRODUCER_ID = 22;
const ADD_PARTITIONS = 24;
const END_TXN = 26;

/** Kafka's identity of a transactional writer; a higher epoch fences a lower one. */
export interface ProducerIdentity {
  readonly producerId: number;
  readonly epoch: number;
}

export interface TopicPartitionRef {
  readonly topic: string;
  readonly partition: number;
}

/** Asks without an identity, which makes the broker fence whoever had one for this id. */
export function initProducerRequest(transactionalId: string, timeoutMs: number): WireRequest {
  const body = flexibleBody()
    .compactString(transactionalId)
    .int32(timeoutMs)
    .int64(-1)
    .int16(-1)
    .noTags();
  return { apiKey: INIT_PRODUCER_ID, apiVersion: 4, body: [body.view()] };
}

export function readInitProducer(answer: Buffer, doing: string): ProducerIdentity {
  const reader = new ByteReader(answer);
  reader.tags();
  reader.int32();
  throwIfKafkaError(reader.int16(), doing);
  return { producerId: reader.int64(), epoch: reader.int16() };
}

export function addPartitionsRequest(
  transactionalId: string,
  identity: ProducerIdentity,
  partitions: readonly TopicPartitionRef[],
): WireRequest {
  const body = flexibleBody()
    .compactString(transactionalId)
    .int64(identity.producerId)
    .int16(identity.epoch)
    .arrayLength(partitions.length);
  for (const { topic, partition } of partitions) {
    body.compactString(topic).arrayLength(1).int32(partition).noTags();
  }
  return { apiKey: ADD_PARTITIONS, apiVersion: 3, body: [body.noTags().view()] };
}

/** The first error other than OPERATION_NOT_ATTEMPTED, which only says that another one failed. */
export function readAddPartitions(answer: Buffer): number {
  const reader = new ByteReader(answer);
  reader.tags();
  reader.int32();
  let first = NONE;
  reader.array(() => {
    reader.compactString();
    reader.array(() => {
      reader.int32();
      const errorCode = reader.int16();
      if (errorCode !== NONE && (first === NONE || first === OPERATION_NOT_ATTEMPTED)) {
        first = errorCode;
      }
      reader.tags();
    });
    reader.tags();
  });
  return first;
}

const OPERATION_NOT_ATTEMPTED = 55;

export function endTransactionRequest(
  transactionalId: string,
  identity: ProducerIdentity,
  protocol: TransactionProtocol,
  commit: boolean,
): WireRequest {
  const body = flexibleBody()
    .compactString(transactionalId)
    .int64(identity.producerId)
    .int16(identity.epoch)
    .boolean(commit)
    .noTags();
  return { apiKey: END_TXN, apiVersion: protocol === 2 ? 5 : 3, body: [body.view()] };
}

/** The identity to go on with: a new epoch in protocol 2, the old one in protocol 1. */
export function readEndTransaction(
  answer: Buffer,
  identity: ProducerIdentity,
  protocol: TransactionProtocol,
): { errorCode: number; identity: ProducerIdentity } {
  const reader = new ByteReader(answer);
  reader.tags();
  reader.int32();
  const errorCode = reader.int16();
  if (protocol === 1 || errorCode !== NONE) return { errorCode, identity };
  return { errorCode, identity: { producerId: reader.int64(), epoch: reader.int16() } };
}
