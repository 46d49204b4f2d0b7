import { setTimeout as delay } from 'node:timers/promises';
import { PipelineError } from '../../core/errors/pipeline-error.ts';
import { failpoint } from '../../core/run/failpoints.ts';
import type { RecordArena } from '../../schemas/envelope/record-arena.ts';
import { CONCURRENT_TRANSACTIONS, NONE, partitionError } from '../errors.ts';
import type { BrokerConnection } from '../wire/broker-connection.ts';
import { ByteWriter } from '../wire/bytes.ts';
import type { KafkaCluster } from '../wire/kafka-cluster.ts';
import {
  produceRequest,
  readProduceAnswer,
  type OutBatch,
  type ProduceOptions,
  type ProduceResult,
} from './produce-request.ts';
import { cutBatches, type BatchCut, type BatchProducer } from './record-batch.ts';

/** Records for one partition of a topic. */
export interface TopicPart {
  readonly topic: string;
  readonly partition: number;
  readonly arena: RecordArena;
}

/** Kafka's own default for max.message.bytes, which is counted per batch. */
export const DEFAULT_MAX_MESSAGE_BYTES = 1_048_588;
const MAX_REQUEST_BYTES = 8 * 1024 * 1024;
/** Requests under way per broker: enough to hide the round trip, few enough to bound memory. */
const MAX_IN_FLIGHT = 4;
/** After a transaction ends its markers are still being written for some milliseconds; the next one
 * is refused meanwhile. Kafka's clients wait 100 ms and more, which would be most of our latency. */
const CONCURRENT_RETRY_MS = 3;
const CONCURRENT_PATIENCE_MS = 30_000;

/** Of many topics at once: a question takes some milliseconds, and a new writer may have hundreds of
 * topics. */
export type MaxMessageBytes = (topics: readonly string[]) => Promise<ReadonlyMap<string, number>>;

export interface BatchSenderOptions {
  readonly cluster: KafkaCluster;
  /** Topics' max.message.bytes, asked for once; Kafka's default when not given. */
  readonly maxMessageBytes?: MaxMessageBytes;
}

/** Gives a batch of `count` records its place: called once per batch, in the partition's order. */
export type Stamp = (topic: string, partition: number, count: number) => BatchProducer;

/** A request whose answer, one result per batch in their order, has not come yet. An object, so that
 * awaiting the writing does not await the answer. */
interface UnderWay {
  readonly answer: Promise<ProduceResult[]>;
}

interface PartitionQueue {
  readonly topic: string;
  readonly partition: number;
  readonly cuts: BatchCut[];
  next: number;
}

/**
 * Sends records to the leaders of their partitions: every leader by itself, the requests to one
 * leader one behind the other on one socket, so that the order within a partition holds. Nothing is
 * ever sent twice on an error; what to do then is for the caller to decide.
 */
export class BatchSender {
  private readonly cluster: KafkaCluster;
  private readonly maxMessageBytes: MaxMessageBytes | null;
  private readonly limits = new Map<string, number>();
  private readonly connections = new Map<number, Promise<BrokerConnection>>();
  private readonly spare: ByteWriter[] = [];
  private closed = false;

  constructor(options: BatchSenderOptions) {
    this.cluster = options.cluster;
    this.maxMessageBytes = options.maxMessageBytes ?? null;
  }

  /** Resolves when every record is acknowledged by all in-sync replicas. Rejects with the gravest of
   * the answers, after all have come: nothing of this call is under way any more then. */
  async send(
    parts: readonly TopicPart[],
    options: ProduceOptions,
    stamp: Stamp,
  ): Promise<ProduceResult[]> {
    const lanes = await this.byLeader(await this.queuesOf(parts));
    const sent = await Promise.allSettled(
      [...lanes].map(([leader, queues]) => this.sendLane(leader, queues, options, stamp)),
    );
    const failed = sent.filter((outcome) => outcome.status === 'rejected');
    if (failed.length > 0) {
      // Whatever failed, a leader may have died or moved: the next sender is to ask who leads now.
      for (const { topic } of parts) this.cluster.forget(topic);
      throw gravest(failed.map((outcome) => outcome.reason as unknown));
    }
    return sent.flatMap((outcome) => (outcome.status === 'fulfilled' ? outcome.value : []));
  }

  /** This sender's own connection to a broker. Callers that ask at once get the same one: another
   * would be forgotten without being closed. */
  async connectionTo(nodeId: number): Promise<BrokerConnection> {
    for (;;) {
      const known = this.connections.get(nodeId) ?? this.connect(nodeId);
      const connection = await known;
      if (this.closed) throw new PipelineError('KAFKA_UNAVAILABLE', 'the writer was closed');
      if (connection.isOpen) return connection;
      if (this.connections.get(nodeId) === known) this.connections.delete(nodeId);
    }
  }

  private connect(nodeId: number): Promise<BrokerConnection> {
    const opening = this.cluster.connect(nodeId);
    this.connections.set(nodeId, opening);
    opening.catch(() => {
      if (this.connections.get(nodeId) === opening) this.connections.delete(nodeId);
    });
    return opening;
  }

  /** For good. */
  close(): void {
    this.closed = true;
    for (const opening of this.connections.values()) {
      opening.then((connection) => connection.close()).catch(() => {});
    }
    this.connections.clear();
  }

  private async queuesOf(parts: readonly TopicPart[]): Promise<PartitionQueue[]> {
    const queues = new Map<string, PartitionQueue>();
    await this.learnLimits(parts);
    for (const { topic, partition, arena } of parts) {
      if (arena.count === 0) continue;
      const limit = this.limits.get(topic) ?? DEFAULT_MAX_MESSAGE_BYTES;
      const cuts = cutBatches(arena, limit, (bytes) => refuseRecord(topic, bytes, limit));
      const key = `${topic}/${partition}`;
      const queue = queues.get(key);
      if (queue === undefined) queues.set(key, { topic, partition, cuts, next: 0 });
      else queue.cuts.push(...cuts);
    }
    return [...queues.values()];
  }

  private async learnLimits(parts: readonly TopicPart[]): Promise<void> {
    if (this.maxMessageBytes === null) return;
    const unknown = new Set<string>();
    for (const { topic } of parts) if (!this.limits.has(topic)) unknown.add(topic);
    if (unknown.size === 0) return;
    for (const [topic, limit] of await this.maxMessageBytes([...unknown])) {
      this.limits.set(topic, limit);
    }
  }

  private async byLeader(
    queues: readonly PartitionQueue[],
  ): Promise<Map<number, PartitionQueue[]>> {
    const lanes = new Map<number, PartitionQueue[]>();
    await this.cluster.meet(queues.map(({ topic }) => topic));
    for (const queue of queues) {
      const leader = await this.cluster.leaderOf(queue.topic, queue.partition);
      const lane = lanes.get(leader);
      if (lane === undefined) lanes.set(leader, [queue]);
      else lane.push(queue);
    }
    return lanes;
  }

  private async sendLane(
    leader: number,
    queues: readonly PartitionQueue[],
    options: ProduceOptions,
    stamp: Stamp,
  ): Promise<ProduceResult[]> {
    const connection = await this.connectionTo(leader);
    const results: ProduceResult[] = [];
    const underWay: UnderWay[] = [];
    try {
      for (;;) {
        const batches = takeBatches(queues, stamp);
        if (batches.length === 0) break;
        // The batch that brings a partition into a transaction may have to wait for the one before;
        // what follows it must not overtake.
        if (batches.some(opensPartition)) {
          results.push(...(await this.sendOpening(connection, batches, options)));
          if (queues.some(hasMore)) await failpoint('kafka.produced_partly');
          continue;
        }
        underWay.push(await this.sendRequest(connection, batches, options, []));
        if (underWay.length >= MAX_IN_FLIGHT) results.push(...(await oldest(underWay)));
      }
      while (underWay.length > 0) results.push(...(await oldest(underWay)));
    } catch (error) {
      await Promise.allSettled(underWay.map(({ answer }) => answer));
      throw error;
    }
    return results;
  }

  private async sendOpening(
    connection: BrokerConnection,
    batches: readonly OutBatch[],
    options: ProduceOptions,
  ): Promise<ProduceResult[]> {
    const results: ProduceResult[] = [];
    const deadline = Date.now() + CONCURRENT_PATIENCE_MS;
    for (let left = batches; ; await delay(CONCURRENT_RETRY_MS)) {
      const request = await this.sendRequest(connection, left, options, [CONCURRENT_TRANSACTIONS]);
      const answered = await request.answer;
      const waiting = new Set<OutBatch>();
      for (const [index, result] of answered.entries()) {
        if (result.errorCode === NONE) results.push(result);
        else waiting.add(left[index] as OutBatch);
      }
      left = left.filter((batch) => waiting.has(batch));
      if (left.length === 0) return results;
      if (Date.now() > deadline) throw this.failed(left[0] as OutBatch, CONCURRENT_TRANSACTIONS);
    }
  }

  /** Writes one request to the socket. */
  private async sendRequest(
    connection: BrokerConnection,
    batches: readonly OutBatch[],
    options: ProduceOptions,
    tolerated: readonly number[],
  ): Promise<UnderWay> {
    const out = this.spare.pop() ?? new ByteWriter(64 * 1024);
    const request = await produceRequest(out, batches, options);
    const answer = connection.request(request).then((bytes) => {
      if (this.spare.length < MAX_IN_FLIGHT) this.spare.push(out);
      return this.check(batches, readProduceAnswer(bytes), tolerated);
    });
    // Whoever awaits it sees the rejection; until then Node must not take it for a forgotten one.
    answer.catch(() => {});
    return { answer };
  }

  private check(
    batches: readonly OutBatch[],
    results: readonly ProduceResult[],
    tolerated: readonly number[],
  ): ProduceResult[] {
    const byPartition = new Map(results.map((r) => [`${r.topic}/${r.partition}`, r]));
    return batches.map((batch) => {
      const result = byPartition.get(`${batch.topic}/${batch.partition}`);
      if (result === undefined) {
        const { topic, partition } = batch;
        throw new PipelineError('BUG_UNEXPECTED', `no answer for a batch of ${topic}/${partition}`);
      }
      if (result.errorCode !== NONE && !tolerated.includes(result.errorCode)) {
        throw this.failed(batch, result.errorCode);
      }
      return result;
    });
  }

  private failed(batch: OutBatch, errorCode: number): PipelineError {
    const { topic, partition } = batch;
    return partitionError(errorCode, `writing to ${topic}/${partition}`, { topic, partition });
  }
}

/** The next batch of every partition, as many as a request may hold. */
function takeBatches(queues: readonly PartitionQueue[], stamp: Stamp): OutBatch[] {
  const batches: OutBatch[] = [];
  let bytes = 0;
  for (const queue of queues) {
    const cut = queue.cuts[queue.next];
    if (cut === undefined) continue;
    if (batches.length > 0 && bytes + cut.bytes > MAX_REQUEST_BYTES) break;
    const { topic, partition } = queue;
    batches.push({ topic, partition, cut, producer: stamp(topic, partition, cut.to - cut.from) });
    bytes += cut.bytes;
    queue.next++;
  }
  return batches;
}

function hasMore(queue: PartitionQueue): boolean {
  return queue.next < queue.cuts.length;
}

function opensPartition(batch: OutBatch): boolean {
  return batch.producer.transactional && batch.producer.sequence === 0;
}

async function oldest(underWay: UnderWay[]): Promise<ProduceResult[]> {
  return (underWay.shift() as UnderWay).answer;
}

function refuseRecord(topic: string, bytes: number, limit: number): never {
  throw new PipelineError(
    'EVT_TOO_LARGE',
    `a record of ${bytes} bytes does not fit into topic ${topic}, which takes ${limit}`,
    { details: { topic, bytes, limit } },
  );
}

/** A fence or a refusal says more than the time-out of the broker beside it. */
function gravest(errors: readonly unknown[]): unknown {
  const tells = (error: unknown): boolean =>
    error instanceof PipelineError && error.spec.reaction !== 'retry';
  return errors.find(tells) ?? errors[0];
}
