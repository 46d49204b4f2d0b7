import type { Admin } from 'kafkajs';
import { setTimeout as delay } from 'node:timers/promises';
import { PipelineError, toPipelineError } from '../../core/errors/pipeline-error.ts';
import { classifyClientError, kafkaError, NONE, UNKNOWN_TOPIC_OR_PARTITION } from '../errors.ts';
import { kafkajsAdmin } from '../wire/broker-connection.ts';
import { EARLIEST, LATEST, type PartitionMetadata } from '../wire/cluster-requests.ts';
import type { KafkaCluster } from '../wire/kafka-cluster.ts';
import {
  checkCommitOffsets,
  commitOffsetsRequest,
  fetchOffsetsRequest,
  readFetchOffsets,
  type TopicOffset,
} from './group-offsets.ts';
import type { TopicPlan } from './topic-defaults.ts';

export type { TopicOffset } from './group-offsets.ts';

export interface TopicDescription {
  readonly topic: string;
  /** Another after the topic was deleted and created again. */
  readonly topicId: string;
  readonly partitions: readonly PartitionMetadata[];
}

/** Records of a partition have offsets in [low, high); those below `stable` are decided. */
export interface PartitionBounds {
  readonly partition: number;
  readonly low: number;
  readonly high: number;
  readonly stable: number;
}

const BROKER_RESOURCE = 4;
const TOPIC_RESOURCE = 2;
const NEW_TOPIC_PATIENCE_MS = 10_000;
const NEW_TOPIC_RETRY_MS = 50;
const GROUP_PATIENCE_MS = 30_000;
const GROUP_RETRY_MS = 50;

/** Topics and group offsets: what is asked rarely. Errors are PipelineErrors. */
export class TopicAdmin {
  private readonly cluster: KafkaCluster;
  private connecting: Promise<Admin> | null = null;
  private readonly groupCoordinators = new Map<string, number>();

  constructor(options: { readonly cluster: KafkaCluster }) {
    this.cluster = options.cluster;
  }

  /**
   * Creates what is missing, on up to three brokers each, and answers with all of them. An existing
   * topic keeps its configuration, except that `cleanup.policy` must be the plan's where the plan is
   * strict; one with another number of partitions is refused, because its keys would move.
   */
  async ensure(plans: readonly TopicPlan[]): Promise<TopicDescription[]> {
    const names = plans.map(({ topic }) => topic);
    const { brokers, topics } = await this.cluster.refresh(names);
    const existing = new Set(topics.filter((t) => t.errorCode === NONE).map((t) => t.topic));
    const missing = plans.filter(({ topic }) => !existing.has(topic));
    if (missing.length > 0) await this.create(missing, Math.min(3, brokers.length));
    const described = await (missing.length > 0 ? this.describeNew(names) : this.describe(names));
    for (const { topic } of missing) await this.offsetsAt(topic, LATEST, false);
    for (const [index, plan] of plans.entries()) {
      await this.verify(plan, described[index] as TopicDescription, existing.has(plan.topic));
    }
    return described;
  }

  /** Waits until every partition has a leader; whether that is in office shows when it is asked. Another
   * broker than the one that created a topic hears of it a moment later,
   * and says until then that there is none. */
  private async describeNew(topics: readonly string[]): Promise<TopicDescription[]> {
    const deadline = Date.now() + NEW_TOPIC_PATIENCE_MS;
    for (;;) {
      try {
        const described = await this.describe(topics);
        const led = described.every(({ partitions }) => partitions.every((p) => p.leader >= 0));
        if (led || Date.now() > deadline) return described;
      } catch (error) {
        const passes = error instanceof PipelineError && error.code === 'KAFKA_TOPIC_GONE';
        if (!passes || Date.now() > deadline) throw error;
      }
      await delay(NEW_TOPIC_RETRY_MS);
    }
  }

  private async create(plans: readonly TopicPlan[], replicationFactor: number): Promise<void> {
    const topics = plans.map(({ topic, partitions, configs }) => ({
      topic,
      numPartitions: partitions,
      replicationFactor,
      configEntries: Object.entries(configs).map(([name, value]) => ({ name, value })),
    }));
    // Answers false for a topic that another instance has created in the meantime: as good.
    await this.ask(`creating ${plans.map((p) => p.topic).join(', ')}`, (admin) =>
      admin.createTopics({ topics, waitForLeaders: false }),
    );
  }

  private async verify(plan: TopicPlan, found: TopicDescription, wasThere: boolean): Promise<void> {
    const { topic, partitions } = plan;
    if (found.partitions.length !== partitions) {
      throw new PipelineError(
        'KAFKA_PARTITIONS_CHANGED',
        `topic ${topic} has ${found.partitions.length} partitions instead of ${partitions}`,
        { details: { topic, found: found.partitions.length, wanted: partitions } },
      );
    }
    if (!plan.strict || !wasThere) return;
    const wanted = plan.configs['cleanup.policy'] ?? '';
    const policy = await this.config(TOPIC_RESOURCE, topic, 'cleanup.policy');
    if (policy !== wanted) {
      throw new PipelineError(
        'KAFKA_REFUSED',
        `topic ${topic} must have cleanup.policy=${wanted}, it has ${policy}`,
        { details: { topic } },
      );
    }
  }

  /** In the order asked. Rejects with KAFKA_TOPIC_GONE for one that does not exist. */
  async describe(topics: readonly string[]): Promise<TopicDescription[]> {
    const found = await this.findAll(topics);
    return topics.map((topic) => {
      const description =
        found.get(topic) ??
        kafkaError(UNKNOWN_TOPIC_OR_PARTITION, `looking for topic ${topic}`, { topic });
      if (description instanceof PipelineError) throw description;
      return description;
    });
  }

  /** Null for a topic that does not exist. */
  async find(topic: string): Promise<TopicDescription | null> {
    const found = (await this.findAll([topic])).get(topic) ?? null;
    if (found instanceof PipelineError) throw found;
    return found;
  }

  /** By name, in one question; those that do not exist are left out, and why one cannot be told of. */
  async findAll(topics: readonly string[]): Promise<Map<string, TopicDescription | PipelineError>> {
    const found = new Map<string, TopicDescription | PipelineError>();
    if (topics.length === 0) return found;
    const metadata = await this.cluster.refresh([...new Set(topics)]);
    for (const { topic, topicId, partitions, errorCode } of metadata.topics) {
      if (errorCode === NONE) found.set(topic, { topic, topicId, partitions });
      else if (errorCode !== UNKNOWN_TOPIC_OR_PARTITION) {
        found.set(topic, kafkaError(errorCode, `looking for topic ${topic}`, { topic }));
      }
    }
    return found;
  }

  /** All topics whose names begin so, in alphabetical order. */
  async list(beginning: string): Promise<string[]> {
    const { topics } = await this.cluster.refresh(null);
    const names = topics.filter((t) => t.errorCode === NONE && !t.internal).map((t) => t.topic);
    return names.filter((name) => name.startsWith(beginning)).toSorted();
  }

  async bounds(topic: string): Promise<PartitionBounds[]> {
    const low = await this.offsetsAt(topic, EARLIEST, false);
    const stable = await this.offsetsAt(topic, LATEST, true);
    const high = await this.offsetsAt(topic, LATEST, false);
    return [...low.keys()]
      .toSorted((a, b) => a - b)
      .map((partition) => ({
        partition,
        low: low.get(partition) ?? 0,
        high: high.get(partition) ?? 0,
        stable: stable.get(partition) ?? 0,
      }));
  }

  /** By partition, the first offset whose record was written at or after the time (epoch
   * milliseconds); the end of the partition where all are older. */
  async offsetsForTime(topic: string, timeMs: number): Promise<Map<number, number>> {
    const end = await this.offsetsAt(topic, LATEST, false);
    const found = await this.offsetsAt(topic, timeMs, false);
    for (const [partition, offset] of found) if (offset >= 0) end.set(partition, offset);
    return end;
  }

  private async offsetsAt(topic: string, time: number, committed: boolean) {
    const { partitions } = await this.cluster.topic(topic);
    const queries = partitions.map(({ partition }) => ({ partition, time }));
    return this.cluster.offsets(topic, queries, committed);
  }

  /** Deletes topics; one that does not exist is as good as deleted. */
  async remove(topics: readonly string[]): Promise<void> {
    const { topics: found } = await this.cluster.refresh(topics);
    const existing = found.filter((t) => t.errorCode === NONE).map((t) => t.topic);
    if (existing.length === 0) return;
    await this.ask(`deleting ${existing.join(', ')}`, (admin) =>
      admin.deleteTopics({ topics: existing }),
    );
    for (const topic of existing) this.cluster.forget(topic);
  }

  /** The longest time-out that the brokers grant a transaction. */
  async maxTransactionMs(): Promise<number> {
    const { brokers } = await this.cluster.refresh([]);
    const node = String(brokers[0]?.nodeId ?? 0);
    return Number(await this.config(BROKER_RESOURCE, node, 'transaction.max.timeout.ms'));
  }

  /** By topic, the largest batch that it takes, and so the largest record but for its 75 bytes of
   * framing at most. */
  async maxMessageBytes(topics: readonly string[]): Promise<Map<string, number>> {
    const found = await this.configs(TOPIC_RESOURCE, topics, 'max.message.bytes');
    return new Map([...found].map(([topic, bytes]) => [topic, Number(bytes)]));
  }

  private async config(type: number, name: string, configName: string): Promise<string> {
    return (await this.configs(type, [name], configName)).get(name) ?? '';
  }

  private async configs(
    type: number,
    names: readonly string[],
    configName: string,
  ): Promise<Map<string, string>> {
    const whose = names.length === 1 ? names[0] : `${names.length} topics`;
    const answer = await this.ask(`reading ${configName} of ${whose}`, (admin) =>
      admin.describeConfigs({
        includeSynonyms: false,
        resources: names.map((name) => ({ type, name, configNames: [configName] })),
      }),
    );
    return new Map(
      answer.resources.map(({ resourceName, configEntries }) => [
        resourceName,
        configEntries[0]?.configValue ?? '',
      ]),
    );
  }

  /** Stores where a group stands, for display. The group must have no live members. */
  async commitGroupOffsets(group: string, offsets: readonly TopicOffset[]): Promise<void> {
    if (offsets.length === 0) return;
    const request = commitOffsetsRequest(group, offsets);
    await this.askCoordinator(group, async (nodeId) =>
      checkCommitOffsets(await this.cluster.ask(nodeId, request), group),
    );
  }

  async groupOffsets(group: string): Promise<TopicOffset[]> {
    return this.askCoordinator(group, async (nodeId) =>
      readFetchOffsets(await this.cluster.ask(nodeId, fetchOffsetsRequest(group)), group),
    );
  }

  async close(): Promise<void> {
    const admin = await this.connecting?.catch(() => null);
    this.connecting = null;
    await admin?.disconnect();
  }

  /** A coordinator moves, and on a new broker it must be elected first. */
  private async askCoordinator<T>(group: string, work: (nodeId: number) => Promise<T>): Promise<T> {
    for (const deadline = Date.now() + GROUP_PATIENCE_MS; ; await delay(GROUP_RETRY_MS)) {
      try {
        const known = this.groupCoordinators.get(group);
        const nodeId = known ?? (await this.cluster.coordinator('group', group));
        this.groupCoordinators.set(group, nodeId);
        return await work(nodeId);
      } catch (error) {
        this.groupCoordinators.delete(group);
        const failure = toPipelineError(error);
        if (failure.code !== 'KAFKA_UNAVAILABLE' || Date.now() > deadline) throw failure;
      }
    }
  }

  private async ask<T>(doing: string, work: (admin: Admin) => Promise<T>): Promise<T> {
    try {
      this.connecting ??= this.connect();
      return await work(await this.connecting);
    } catch (error) {
      throw classifyClientError(error, doing);
    }
  }

  private async connect(): Promise<Admin> {
    const admin = kafkajsAdmin(this.cluster.settings);
    try {
      await admin.connect();
      return admin;
    } catch (error) {
      this.connecting = null;
      throw error;
    }
  }
}
