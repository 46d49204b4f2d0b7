import { toPipelineError, type PipelineError } from '../../core/errors/pipeline-error.ts';
import { Backoff } from '../../core/run/backoff.ts';
import { MemoryBudget, type BufferAccount } from '../../core/run/memory-budget.ts';
import { kafkaError, NONE, UNKNOWN_TOPIC_ID, UNKNOWN_TOPIC_OR_PARTITION } from '../errors.ts';
import { EARLIEST, type TopicMetadata } from '../wire/cluster-requests.ts';
import type { KafkaCluster } from '../wire/kafka-cluster.ts';
import {
  Assignment,
  NO_LEADER,
  topicGone,
  topicRecreated,
  type FetchedBatch,
} from './assignment.ts';
import { BrokerFetcher, type FetchOwner } from './broker-fetcher.ts';

export type { FetchedBatch } from './assignment.ts';

export interface TopicReaderOptions {
  readonly cluster: KafkaCluster;
  /** Longest long poll, and longest wait of `next`. Default 500 ms. */
  readonly maxWaitMs?: number;
  /** Bytes that may lie ready before fetching rests; one answer per broker, of at most as many, may
   * come on top (invariant 9). Default 4 MiB. */
  readonly maxBytes?: number;
  /** What of the process's memory lies ready; fetching rests earlier when that is full. */
  readonly buffers?: BufferAccount;
  /** Bytes of one partition in one answer; default 1 MiB. */
  readonly partitionMaxBytes?: number;
}

export interface ReadPosition {
  readonly topic: string;
  readonly partition: number;
  readonly offset: number | 'beginning';
}

/** Where a partition's reader stands and what the broker last said of the log; -1 before its first
 * answer. `nextOffset` counts what was fetched, even if `next` has not handed it out yet. */
export interface ReadProgress {
  readonly nextOffset: number;
  readonly highWatermark: number;
  readonly lastStableOffset: number;
  readonly logStartOffset: number;
}

/** How long metadata must say that a topic does not exist: a starting broker says so for a moment. */
const ABSENT_PATIENCE_MS = 3_000;

/**
 * Reads partitions that it is told to, from where it is told to, committed records only. It outlives
 * brokers: leaders are looked for again with patience, positions are never reset. A partition that
 * cannot go on gets a batch with an error, the others go on.
 */
export class TopicReader implements FetchOwner {
  private readonly cluster: KafkaCluster;
  private readonly maxWaitMs: number;
  private readonly maxBytes: number;
  private readonly buffers: BufferAccount;
  private readonly partitionMaxBytes: number;
  /** In the order in which they are to be served. */
  private readonly assignments = new Map<string, Assignment>();
  private readonly fetchers = new Map<number, BrokerFetcher>();
  private ready: { batch: FetchedBatch; bytes: number; from: Assignment }[] = [];
  private readyBytes = 0;
  private wakeNext: (() => void) | null = null;
  private readonly backoff = new Backoff({ firstMs: 20, maxMs: 1_000 });
  private readonly closing = new AbortController();
  private locating = false;
  private trouble: PipelineError | null = null;

  constructor(options: TopicReaderOptions) {
    this.cluster = options.cluster;
    this.maxWaitMs = options.maxWaitMs ?? 500;
    this.maxBytes = options.maxBytes ?? 4 * 1024 * 1024;
    this.buffers = options.buffers ?? new MemoryBudget(Infinity).account();
    this.partitionMaxBytes = options.partitionMaxBytes ?? 1024 * 1024;
  }

  /** What keeps partitions from being read at the moment; null while all is well. */
  get currentTrouble(): PipelineError | null {
    return this.trouble;
  }

  /** Begins to read a partition; one that is assigned already begins anew at the offset given.
   * Rejects with KAFKA_TOPIC_GONE when the topic does not exist. */
  async assign(where: ReadPosition): Promise<void> {
    const { topic, partition, offset } = where;
    // Not from the cache: this answer fixes which incarnation of the topic is meant.
    const { topics } = await this.cluster.refresh([topic]);
    const metadata = topics[0];
    const errorCode = metadata?.errorCode ?? UNKNOWN_TOPIC_OR_PARTITION;
    if (metadata === undefined || errorCode !== NONE) {
      throw kafkaError(errorCode, `assigning ${topic}/${partition}`, { topic, partition });
    }
    const position =
      offset === 'beginning'
        ? ((await this.cluster.offsets(topic, [{ partition, time: EARLIEST }])).get(partition) ?? 0)
        : offset;
    this.unassign(topic, partition);
    const assignment = new Assignment(topic, partition, metadata.topicId, position);
    this.assignments.set(keyOf(topic, partition), assignment);
    this.place(assignment, metadata);
    if (assignment.leader === NO_LEADER) void this.locate();
    this.pumpAll();
  }

  unassign(topic: string, partition: number): void {
    const key = keyOf(topic, partition);
    const assignment = this.assignments.get(key);
    if (assignment === undefined) return;
    assignment.stopped = true;
    this.assignments.delete(key);
    this.drop((from) => from === assignment);
  }

  /** What was fetched already is kept back by `next` until `resume`. */
  pause(topic: string, partition: number): void {
    const assignment = this.assignments.get(keyOf(topic, partition));
    if (assignment !== undefined) assignment.paused = true;
  }

  resume(topic: string, partition: number): void {
    const assignment = this.assignments.get(keyOf(topic, partition));
    if (assignment === undefined || !assignment.paused) return;
    assignment.paused = false;
    this.wakeNext?.();
    this.pumpAll();
  }

  progress(topic: string, partition: number): ReadProgress | null {
    const assignment = this.assignments.get(keyOf(topic, partition));
    if (assignment === undefined) return null;
    const { position, highWatermark, lastStableOffset, logStartOffset } = assignment;
    return { nextOffset: position, highWatermark, lastStableOffset, logStartOffset };
  }

  /** Whatever has been fetched, as soon as there is something; [] after maxWaitMs or `close`. Rejects
   * when Kafka refuses us (KAFKA_AUTH); a Kafka that is away is waited for, see currentTrouble. */
  async next(): Promise<FetchedBatch[]> {
    const batches = this.takeReady();
    if (batches.length > 0 || this.closing.signal.aborted) return batches;
    if (this.trouble?.code === 'KAFKA_AUTH') throw this.trouble;
    await this.somethingReady();
    return this.takeReady();
  }

  async close(): Promise<void> {
    this.closing.abort();
    for (const assignment of this.assignments.values()) assignment.stopped = true;
    this.assignments.clear();
    this.ready = [];
    for (const fetcher of this.fetchers.values()) fetcher.close();
    this.wakeNext?.();
  }

  private takeReady(): FetchedBatch[] {
    const taken: FetchedBatch[] = [];
    this.drop((from, batch) => {
      if (!from.paused) taken.push(batch);
      return !from.paused;
    });
    this.buffers.hold(this.readyBytes);
    if (taken.length > 0) this.pumpAll();
    return taken;
  }

  private drop(choose: (from: Assignment, batch: FetchedBatch) => boolean): void {
    this.ready = this.ready.filter(({ from, batch, bytes }) => {
      if (!choose(from, batch)) return true;
      this.readyBytes -= bytes;
      return false;
    });
  }

  private somethingReady(): Promise<void> {
    return new Promise((resolve) => {
      const finish = (): void => {
        clearTimeout(timer);
        this.wakeNext = null;
        resolve();
      };
      const timer = setTimeout(finish, this.maxWaitMs);
      this.wakeNext = finish;
    });
  }

  wanted(nodeId: number): Assignment[] {
    if (this.buffers.isFull(this.readyBytes, this.maxBytes)) return [];
    return [...this.assignments.values()].filter((a) => a.leader === nodeId && a.readable);
  }

  deliver(batch: FetchedBatch, bytes: number): void {
    const from = this.assignments.get(keyOf(batch.topic, batch.partition));
    if (from === undefined) return;
    this.ready.push({ batch, bytes, from });
    this.readyBytes += bytes;
    this.buffers.hold(this.readyBytes);
    if (!from.paused) this.wakeNext?.();
  }

  served(assignment: Assignment): void {
    const key = keyOf(assignment.topic, assignment.partition);
    this.assignments.delete(key);
    this.assignments.set(key, assignment);
  }

  lost(assignments: readonly Assignment[], error: PipelineError): void {
    this.trouble = error;
    for (const assignment of assignments) assignment.leader = NO_LEADER;
    void this.locate();
  }

  answered(): void {
    this.trouble = null;
    this.backoff.reset();
  }

  private pumpAll(): void {
    for (const fetcher of this.fetchers.values()) fetcher.pump();
  }

  /** Looks for leaders until every partition has one. */
  private async locate(): Promise<void> {
    if (this.locating) return;
    this.locating = true;
    while (!this.closing.signal.aborted) {
      const homeless = [...this.assignments.values()].filter(
        (a) => a.leader === NO_LEADER && !a.stopped,
      );
      if (homeless.length === 0) break;
      await this.backoff.wait(this.closing.signal);
      await this.askForLeaders(homeless);
    }
    this.locating = false;
  }

  private async askForLeaders(homeless: readonly Assignment[]): Promise<void> {
    try {
      const names = [...new Set(homeless.map((a) => a.topic))];
      const { topics } = await this.cluster.refresh(names);
      const byName = new Map(topics.map((topic) => [topic.topic, topic]));
      for (const assignment of homeless) {
        const metadata = byName.get(assignment.topic);
        if (metadata !== undefined && !assignment.stopped) this.place(assignment, metadata);
      }
      this.pumpAll();
    } catch (error) {
      this.trouble = toPipelineError(error);
      if (this.trouble.code === 'KAFKA_AUTH') this.wakeNext?.();
    }
  }

  private place(assignment: Assignment, metadata: TopicMetadata): void {
    const failure = this.failureOf(assignment, metadata);
    if (failure !== null) {
      this.deliver(assignment.fail(failure), 0);
      return;
    }
    const place = metadata.partitions[assignment.partition];
    if (metadata.errorCode !== NONE || place === undefined || place.leader < 0) return;
    assignment.leader = place.leader;
    assignment.leaderEpoch = place.leaderEpoch;
    if (!this.fetchers.has(place.leader)) this.addFetcher(place.leader);
  }

  private failureOf(assignment: Assignment, metadata: TopicMetadata): PipelineError | null {
    const { errorCode, topicId, topic } = metadata;
    if (errorCode === UNKNOWN_TOPIC_OR_PARTITION || errorCode === UNKNOWN_TOPIC_ID) {
      if (assignment.absentSince === 0) assignment.absentSince = Date.now();
      const absentFor = Date.now() - assignment.absentSince;
      return absentFor >= ABSENT_PATIENCE_MS ? topicGone(assignment) : null;
    }
    assignment.absentSince = 0;
    if (errorCode !== NONE) {
      const error = kafkaError(errorCode, `reading ${topic}`, { topic });
      return error.spec.reaction === 'retry' ? null : error;
    }
    return topicId === assignment.topicId ? null : topicRecreated(assignment);
  }

  private addFetcher(nodeId: number): void {
    const { cluster, maxWaitMs, maxBytes, partitionMaxBytes } = this;
    this.fetchers.set(
      nodeId,
      new BrokerFetcher({ cluster, nodeId, maxWaitMs, maxBytes, partitionMaxBytes, owner: this }),
    );
  }
}

function keyOf(topic: string, partition: number): string {
  return `${topic}/${partition}`;
}
