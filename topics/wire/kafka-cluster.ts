import { setTimeout as delay } from 'node:timers/promises';
import { PipelineError, toPipelineError } from '../../core/errors/pipeline-error.ts';
import { kafkaError, NONE, UNKNOWN_TOPIC_OR_PARTITION } from '../errors.ts';
import {
  BrokerConnection,
  type BrokerAbilities,
  type KafkaSettings,
  type WireRequest,
} from './broker-connection.ts';
import {
  askAbilities,
  coordinatorRequest,
  listOffsetsRequest,
  metadataRequest,
  readCoordinator,
  readListOffsets,
  readMetadata,
  type BrokerAddress,
  type ClusterMetadata,
  type CoordinatorType,
  type OffsetQuery,
  type TopicMetadata,
} from './cluster-requests.ts';

/** A new topic's leader takes office a moment after the metadata names it. */
const LEADER_PATIENCE_MS = 5_000;
const LEADER_RETRY_MS = 20;

/**
 * A Kafka cluster as one process sees it: its brokers, a shared connection to each for short
 * questions, and what was last heard of each topic. Writers and readers open connections of their
 * own, because a long poll would hold up whatever stands behind it on the same socket.
 */
export class KafkaCluster {
  readonly settings: KafkaSettings;
  private brokers = new Map<number, BrokerAddress>();
  private readonly topics = new Map<string, TopicMetadata>();
  private readonly shared = new Map<string, Promise<BrokerConnection>>();
  private known: BrokerAbilities | null = null;
  private closed = false;

  constructor(settings: KafkaSettings) {
    this.settings = settings;
  }

  /** Asks for the topics and keeps the answer; null asks for all. A topic that does not exist is in
   * the answer with its error code. */
  async refresh(topics: readonly string[] | null): Promise<ClusterMetadata> {
    const metadata = readMetadata(await this.askAnyBroker(metadataRequest(topics)));
    if (metadata.brokers.length > 0) {
      this.brokers = new Map(metadata.brokers.map((broker) => [broker.nodeId, broker]));
    }
    for (const topic of metadata.topics) {
      if (topic.errorCode === NONE) this.topics.set(topic.topic, topic);
      else this.topics.delete(topic.topic);
    }
    return metadata;
  }

  /** What was last heard of a topic, asked for when nothing was yet. Rejects with KAFKA_TOPIC_GONE
   * when it does not exist. */
  async topic(topic: string): Promise<TopicMetadata> {
    const known = this.topics.get(topic);
    if (known !== undefined) return known;
    const { topics } = await this.refresh([topic]);
    const heard = topics[0];
    if (heard?.errorCode === NONE) return heard;
    const code = heard?.errorCode ?? UNKNOWN_TOPIC_OR_PARTITION;
    throw kafkaError(code, `looking for topic ${topic}`, { topic });
  }

  /** Asks for those of which nothing was heard yet, all at once. */
  async meet(topics: readonly string[]): Promise<void> {
    const unknown = topics.filter((topic) => !this.topics.has(topic));
    if (unknown.length > 1) await this.refresh([...new Set(unknown)]);
  }

  /** Makes the next `topic` ask again. */
  forget(topic: string): void {
    this.topics.delete(topic);
  }

  async leaderOf(topic: string, partition: number): Promise<number> {
    const { partitions } = await this.topic(topic);
    const found = partitions[partition];
    if (found === undefined) {
      throw kafkaError(UNKNOWN_TOPIC_OR_PARTITION, `looking for ${topic}/${partition}`, { topic });
    }
    if (found.leader >= 0) return found.leader;
    this.forget(topic);
    throw new PipelineError('KAFKA_UNAVAILABLE', `${topic}/${partition} has no leader now`);
  }

  /** A connection of the caller's own, to be closed by it. */
  async connect(nodeId: number): Promise<BrokerConnection> {
    if (!this.brokers.has(nodeId)) await this.refresh([]);
    const broker = this.brokers.get(nodeId);
    if (broker === undefined) {
      throw new PipelineError('KAFKA_UNAVAILABLE', `broker ${nodeId} is not in the cluster now`);
    }
    return this.open(broker.host, broker.port);
  }

  /** What the brokers can do; asked for when no connection was opened yet. */
  async abilities(): Promise<BrokerAbilities> {
    if (this.known === null) await this.refresh([]);
    return this.known as BrokerAbilities;
  }

  async coordinator(type: CoordinatorType, key: string): Promise<number> {
    const doing = `looking for the ${type} coordinator of ${key}`;
    return readCoordinator(await this.askAnyBroker(coordinatorRequest(type, key)), doing);
  }

  /** Offsets at times for partitions of a topic, asked of their leaders. One that says it is not the
   * leader, or not yet, is asked again, as is who leads. */
  async offsets(
    topic: string,
    queries: readonly OffsetQuery[],
    committed = false,
  ): Promise<Map<number, number>> {
    const deadline = Date.now() + LEADER_PATIENCE_MS;
    for (;;) {
      try {
        return await this.offsetsNow(topic, queries, committed);
      } catch (thrown) {
        const error = toPipelineError(thrown);
        const passes = error.code === 'KAFKA_UNAVAILABLE' && 'kafkaError' in error.details;
        if (!passes || Date.now() > deadline) throw error;
        await delay(LEADER_RETRY_MS);
      }
    }
  }

  private async offsetsNow(
    topic: string,
    queries: readonly OffsetQuery[],
    committed: boolean,
  ): Promise<Map<number, number>> {
    const byLeader = new Map<number, OffsetQuery[]>();
    for (const query of queries) {
      const leader = await this.leaderOf(topic, query.partition);
      byLeader.set(leader, [...(byLeader.get(leader) ?? []), query]);
    }
    const found = new Map<number, number>();
    try {
      for (const [leader, mine] of byLeader) {
        const connection = await this.sharedTo(leader);
        const answer = await connection.request(listOffsetsRequest(topic, mine, committed));
        for (const [partition, offset] of readListOffsets(answer, topic)) {
          found.set(partition, offset);
        }
      }
    } catch (error) {
      this.forget(topic);
      throw error;
    }
    return found;
  }

  /** Sends a request to a broker over the shared connection. */
  async ask(nodeId: number, request: WireRequest): Promise<Buffer> {
    return (await this.sharedTo(nodeId)).request(request);
  }

  close(): void {
    this.closed = true;
    for (const opening of this.shared.values()) {
      opening.then((connection) => connection.close()).catch(() => {});
    }
    this.shared.clear();
  }

  private async sharedTo(nodeId: number): Promise<BrokerConnection> {
    if (!this.brokers.has(nodeId)) await this.refresh([]);
    const broker = this.brokers.get(nodeId);
    if (broker === undefined) {
      throw new PipelineError('KAFKA_UNAVAILABLE', `broker ${nodeId} is not in the cluster now`);
    }
    return this.sharedAt(broker.host, broker.port);
  }

  private async sharedAt(host: string, port: number): Promise<BrokerConnection> {
    const address = `${host}:${port}`;
    const opening = this.shared.get(address) ?? this.open(host, port);
    this.shared.set(address, opening);
    try {
      const connection = await opening;
      if (connection.isOpen) return connection;
    } catch (error) {
      if (this.shared.get(address) === opening) this.shared.delete(address);
      throw error;
    }
    if (this.shared.get(address) === opening) this.shared.delete(address);
    return this.sharedAt(host, port);
  }

  private async open(host: string, port: number): Promise<BrokerConnection> {
    if (this.closed) throw new PipelineError('KAFKA_UNAVAILABLE', 'the Kafka client was closed');
    const opened = await BrokerConnection.open(host, port, this.settings, askAbilities);
    this.known = opened.abilities;
    return opened.connection;
  }

  /** Brokers known from the cluster first, then those of the settings: all of the known ones may
   * have moved while we slept. */
  private async askAnyBroker(request: WireRequest): Promise<Buffer> {
    const addresses = new Map<string, { host: string; port: number }>();
    for (const { host, port } of this.brokers.values()) {
      addresses.set(`${host}:${port}`, { host, port });
    }
    for (const broker of this.settings.brokers) addresses.set(broker, splitAddress(broker));
    let last: PipelineError | null = null;
    for (const { host, port } of addresses.values()) {
      try {
        return await (await this.sharedAt(host, port)).request(request);
      } catch (error) {
        last = toPipelineError(error);
        if (last.code !== 'KAFKA_UNAVAILABLE') throw last;
      }
    }
    throw new PipelineError(
      'KAFKA_UNAVAILABLE',
      `no Kafka broker answers (${[...addresses.keys()].join(', ')})`,
      { cause: last },
    );
  }
}

function splitAddress(address: string): { host: string; port: number } {
  const colon = address.lastIndexOf(':');
  const host = address.slice(0, colon).replace(/^\[|\]$/g, '');
  return { host, port: Number(address.slice(colon + 1)) };
}
