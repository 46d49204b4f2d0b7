import { PipelineError, toPipelineError } from '../../core/errors/pipeline-error.ts';
import { kafkaError, NONE, OFFSET_OUT_OF_RANGE } from '../errors.ts';
import type { BrokerConnection } from '../wire/broker-connection.ts';
import { EARLIEST, LATEST } from '../wire/cluster-requests.ts';
import type { KafkaCluster } from '../wire/kafka-cluster.ts';
import { NO_LEADER, outOfRange, type Assignment, type FetchedBatch } from './assignment.ts';
import { fetchRequest, readFetchAnswer, type FetchedPartition } from './fetch-request.ts';
import { FetchSession } from './fetch-session.ts';
import { parseBatches } from './record-batches.ts';

export interface FetcherOptions {
  readonly cluster: KafkaCluster;
  readonly nodeId: number;
  readonly maxWaitMs: number;
  readonly maxBytes: number;
  readonly partitionMaxBytes: number;
  readonly owner: FetchOwner;
}

/** The reader that fetchers work for. */
export interface FetchOwner {
  /** Partitions this broker leads and that may be fetched, those served least lately first; empty
   * while enough is waiting to be taken. */
  wanted(nodeId: number): Assignment[];
  deliver(batch: FetchedBatch, bytes: number): void;
  /** The partition answered: it goes to the end of the queue. */
  served(assignment: Assignment): void;
  /** Something went wrong; the partitions have no known leader now. */
  lost(assignments: readonly Assignment[], error: PipelineError): void;
  /** A partition answered without an error. */
  answered(): void;
}

/** How long the second fetch waits at the broker. */
const SIDE_WAIT_MS = 20;

interface Slot {
  readonly maxWaitMs: number;
  readonly session: FetchSession;
  connection: BrokerConnection | null;
  busy: boolean;
}

/**
 * Fetches from one broker. One long poll is always under way for all partitions that may be read. A
 * partition that is resumed or assigned meanwhile is not part of it, and Kafka answers requests of a
 * socket in order; so a second socket fetches it with a short wait, until the long poll is over and
 * takes it in. Without it a resumed partition would stand still for the rest of the poll.
 */
export class BrokerFetcher {
  private readonly options: FetcherOptions;
  private readonly slots: readonly Slot[];
  private closed = false;

  constructor(options: FetcherOptions) {
    this.options = options;
    this.slots = [options.maxWaitMs, Math.min(SIDE_WAIT_MS, options.maxWaitMs)].map(
      (maxWaitMs) => ({ maxWaitMs, session: new FetchSession(), connection: null, busy: false }),
    );
  }

  /** Begins a fetch if there is a partition to be fetched and a socket free. */
  pump(): void {
    for (const slot of this.slots) {
      if (slot.busy || this.closed) continue;
      const wanted = this.options.owner.wanted(this.options.nodeId);
      if (wanted.length === 0) return;
      void this.run(slot, wanted);
    }
  }

  close(): void {
    this.closed = true;
    for (const slot of this.slots) slot.connection?.close();
  }

  private async run(slot: Slot, assignments: readonly Assignment[]): Promise<void> {
    slot.busy = true;
    for (const assignment of assignments) assignment.busy = true;
    try {
      await this.fetch(slot, assignments);
    } catch (error) {
      slot.connection?.close();
      slot.session.reset();
      if (!this.closed) this.options.owner.lost(assignments, toPipelineError(error));
    }
    for (const assignment of assignments) assignment.busy = false;
    slot.busy = false;
    this.pump();
  }

  private async fetch(slot: Slot, assignments: readonly Assignment[]): Promise<void> {
    const { cluster, nodeId, maxBytes, partitionMaxBytes } = this.options;
    if (slot.connection?.isOpen !== true) slot.connection = await cluster.connect(nodeId);
    if (this.closed) slot.connection.close();
    const { session } = slot;
    const limits = { maxWaitMs: slot.maxWaitMs, maxBytes, partitionMaxBytes };
    const request = fetchRequest(session.next(assignments), limits);
    const answer = readFetchAnswer(await slot.connection.request(request));
    if (!session.accepts(answer)) return;
    if (answer.errorCode !== NONE) throw kafkaError(answer.errorCode, 'fetching');
    for (const fetched of answer.partitions) {
      const assignment = session.assignmentOf(fetched.topicId, fetched.partition);
      if (assignment !== undefined && !assignment.stopped) await this.take(assignment, fetched);
    }
  }

  private async take(assignment: Assignment, fetched: FetchedPartition): Promise<void> {
    if (fetched.errorCode !== NONE) {
      await this.takeError(assignment, fetched.errorCode);
      return;
    }
    assignment.heard(fetched);
    this.options.owner.answered();
    if (fetched.records.length === 0) return;
    const parsed = await this.parse(assignment, fetched);
    // Whoever unassigned it during the parsing wants nothing of it any more.
    if (parsed === null || assignment.stopped) return;
    if (parsed.nextOffset === assignment.position) return;
    const batch = assignment.advance(parsed.nextOffset, parsed.records);
    this.options.owner.served(assignment);
    this.options.owner.deliver(batch, fetched.records.length);
  }

  private async parse(assignment: Assignment, fetched: FetchedPartition) {
    try {
      return await parseBatches(fetched.records, assignment.position, fetched.aborted);
    } catch (error) {
      const { topic, partition, position } = assignment;
      const failure = toPipelineError(error);
      const details = { offset: position, ...failure.details, topic, partition };
      const message = `${topic}/${partition} at ${String(details.offset)}: ${failure.message}`;
      this.fail(assignment, new PipelineError(failure.code, message, { details, cause: error }));
      return null;
    }
  }

  private async takeError(assignment: Assignment, errorCode: number): Promise<void> {
    const { topic, partition } = assignment;
    if (errorCode === OFFSET_OUT_OF_RANGE) {
      await this.checkRange(assignment);
      return;
    }
    const error = kafkaError(errorCode, `reading ${topic}/${partition}`, { topic, partition });
    // A topic that is gone is so when metadata says it, and says it for a while: see the reader.
    const passes = error.spec.reaction === 'retry' || error.code === 'KAFKA_TOPIC_GONE';
    if (passes) this.options.owner.lost([assignment], error);
    else this.fail(assignment, error);
  }

  /** Never resets a position: a gap is an error of the partition (invariant 2). */
  private async checkRange(assignment: Assignment): Promise<void> {
    const { topic, partition, position } = assignment;
    const { cluster } = this.options;
    const at = async (time: number): Promise<number> =>
      (await cluster.offsets(topic, [{ partition, time }])).get(partition) ?? -1;
    const low = await at(EARLIEST);
    const high = await at(LATEST);
    if (position < low || position > high) this.fail(assignment, outOfRange(assignment, low, high));
    else this.options.owner.lost([assignment], kafkaError(OFFSET_OUT_OF_RANGE, `reading ${topic}`));
  }

  private fail(assignment: Assignment, error: PipelineError): void {
    assignment.leader = NO_LEADER;
    this.options.owner.deliver(assignment.fail(error), 0);
  }
}
