import { PipelineError } from '../../core/errors/pipeline-error.ts';
import { kafkaError, NONE, throwIfKafkaError } from '../errors.ts';
import type { WireRequest } from '../wire/broker-connection.ts';
import { ByteReader } from '../wire/bytes.ts';
import { flexibleBody, type TopicMetadata } from '../wire/cluster-requests.ts';
import type { KafkaCluster } from '../wire/kafka-cluster.ts';
import type { ProducerIdentity, TopicPartitionRef } from './transaction-requests.ts';

/**
 * Transactions that are over for their coordinator and open for their partitions. A broker (4.3.1)
 * that is killed between deciding a transaction and writing its markers can take it for complete
 * when it starts again, without having written them: readers of committed records then stand still
 * in those partitions for ever, and what was committed is never seen. The coordinator still knows
 * the outcome until its next InitProducerId, so the markers are written here, before that.
 */
const WRITE_TXN_MARKERS = 27;
const DESCRIBE_PRODUCERS = 61;
const DESCRIBE_TRANSACTIONS = 65;
const TRANSACTIONAL_ID_NOT_FOUND = 105;

/** The last transaction of an id as its coordinator has it; null when it never had one. */
interface LastTransaction extends ProducerIdentity {
  readonly state: string;
}

interface HangingPartition extends TopicPartitionRef {
  readonly coordinatorEpoch: number;
}

/** Rejects with KAFKA_UNAVAILABLE while the coordinator is still ending it. */
export async function endHangingTransactions(
  cluster: KafkaCluster,
  coordinator: number,
  transactionalId: string,
): Promise<void> {
  const answer = await cluster.ask(coordinator, describeTransactionRequest(transactionalId));
  const last = readLastTransaction(answer, transactionalId);
  if (last === null) return;
  if (last.state.startsWith('Prepare')) {
    const message = `the last transaction of ${transactionalId} is still being ended`;
    throw new PipelineError('KAFKA_UNAVAILABLE', message);
  }
  if (last.state !== 'CompleteCommit' && last.state !== 'CompleteAbort') return;
  const { topics } = await cluster.refresh(null);
  for (const [leader, partitions] of partitionsByLeader(topics)) {
    const producers = await cluster.ask(leader, describeProducersRequest(partitions));
    const hanging = readHanging(producers, last);
    if (hanging.length === 0) continue;
    const request = markersRequest(last, last.state === 'CompleteCommit', hanging);
    throwIfMarkersFailed(await cluster.ask(leader, request), transactionalId);
  }
}

function partitionsByLeader(topics: readonly TopicMetadata[]): Map<number, Map<string, number[]>> {
  const leaders = new Map<number, Map<string, number[]>>();
  for (const { topic, internal, partitions } of topics) {
    if (internal) continue;
    for (const { partition, leader } of partitions) {
      // One without a leader is asked by whoever finds it held up next.
      if (leader < 0) continue;
      const led = leaders.get(leader) ?? new Map<string, number[]>();
      led.set(topic, [...(led.get(topic) ?? []), partition]);
      leaders.set(leader, led);
    }
  }
  return leaders;
}

function describeTransactionRequest(transactionalId: string): WireRequest {
  const body = flexibleBody().arrayLength(1).compactString(transactionalId).noTags();
  return { apiKey: DESCRIBE_TRANSACTIONS, apiVersion: 0, body: [body.view()] };
}

function readLastTransaction(answer: Buffer, transactionalId: string): LastTransaction | null {
  const reader = new ByteReader(answer);
  reader.tags();
  reader.int32();
  const [found] = reader.array(() => {
    const errorCode = reader.int16();
    reader.compactString();
    const state = reader.compactString() ?? '';
    reader.int32();
    reader.int64();
    const last = { state, producerId: reader.int64(), epoch: reader.int16() };
    reader.array(() => {
      reader.compactString();
      reader.array(() => reader.int32());
      reader.tags();
    });
    reader.tags();
    return { errorCode, last };
  });
  if (found === undefined || found.errorCode === TRANSACTIONAL_ID_NOT_FOUND) return null;
  throwIfKafkaError(found.errorCode, `asking for the last transaction of ${transactionalId}`);
  return found.last;
}

function describeProducersRequest(partitions: ReadonlyMap<string, readonly number[]>): WireRequest {
  const body = flexibleBody(1024).arrayLength(partitions.size);
  for (const [topic, numbers] of partitions) {
    body.compactString(topic).arrayLength(numbers.length);
    for (const number of numbers) body.int32(number);
    body.noTags();
  }
  return { apiKey: DESCRIBE_PRODUCERS, apiVersion: 0, body: [body.noTags().view()] };
}

/** Partitions where an older transaction of the producer is open. Every end of a transaction raises
 * the epoch (protocol 2): one that has just begun has the coordinator's own. Partitions that may not
 * be looked at are none of ours. */
function readHanging(answer: Buffer, { producerId, epoch }: ProducerIdentity): HangingPartition[] {
  const reader = new ByteReader(answer);
  reader.tags();
  reader.int32();
  const hanging: HangingPartition[] = [];
  reader.array(() => {
    const topic = reader.compactString() ?? '';
    reader.array(() => {
      const partition = reader.int32();
      reader.int16();
      reader.compactString();
      reader.array(() => {
        const producer = { producerId: reader.int64(), epoch: reader.int32() };
        reader.int32();
        reader.int64();
        const coordinatorEpoch = reader.int32();
        const isOpen = reader.int64() >= 0;
        reader.tags();
        if (!isOpen || producer.producerId !== producerId || producer.epoch >= epoch) return;
        hanging.push({ topic, partition, coordinatorEpoch });
      });
      reader.tags();
    });
    reader.tags();
  });
  return hanging;
}

/** One marker for each partition: the epoch of the coordinator that each has seen last is its own. */
function markersRequest(
  { producerId, epoch }: ProducerIdentity,
  commit: boolean,
  hanging: readonly HangingPartition[],
): WireRequest {
  const body = flexibleBody().arrayLength(hanging.length);
  for (const { topic, partition, coordinatorEpoch } of hanging) {
    body.int64(producerId).int16(epoch).boolean(commit).arrayLength(1);
    body.compactString(topic).arrayLength(1).int32(partition).noTags();
    body.int32(Math.max(0, coordinatorEpoch)).noTags();
  }
  return { apiKey: WRITE_TXN_MARKERS, apiVersion: 1, body: [body.noTags().view()] };
}

function throwIfMarkersFailed(answer: Buffer, transactionalId: string): void {
  const reader = new ByteReader(answer);
  reader.tags();
  reader.array(() => {
    reader.int64();
    reader.array(() => {
      const topic = reader.compactString() ?? '';
      reader.array(() => {
        const partition = reader.int32();
        const errorCode = reader.int16();
        reader.tags();
        if (errorCode === NONE) return;
        const doing = `ending the transaction of ${transactionalId} left open in ${topic}/${partition}`;
        throw kafkaError(errorCode, doing, { topic, partition });
      });
      reader.tags();
    });
    reader.tags();
  });
}
