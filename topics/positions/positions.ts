import { PipelineError } from '../../core/errors/pipeline-error.ts';
import { partitionOf } from '../../schemas/envelope/partition.ts';
import type { RecordView } from '../../schemas/envelope/record-view.ts';
import { positionsTopicPlan } from '../admin/topic-defaults.ts';
import type { TopicAdmin } from '../admin/topic-admin.ts';
import { TopicReader } from '../consume/topic-reader.ts';
import { EARLIEST, LATEST } from '../wire/cluster-requests.ts';
import type { KafkaCluster } from '../wire/kafka-cluster.ts';
import { StoredPosition, type PositionRecords, type PositionState } from './stored-position.ts';

export interface PositionsOptions {
  readonly cluster: KafkaCluster;
  readonly admin: TopicAdmin;
  readonly topic: string;
}

/** Longer than any transaction of a streaming source may stay open: one that its owner left holds
 * the end of what is decided back until it times out. */
const PATIENCE_MS = 90_000;

/**
 * The newest position of each source, kept in a compacted topic (stored-position.ts). A position is
 * written in the transaction of the events before it, so the two can never disagree (invariants 1
 * and 2).
 */
export class Positions {
  private readonly options: PositionsOptions;
  private readonly partitions: number;
  private ensured: Promise<unknown> | null = null;

  constructor(options: PositionsOptions) {
    this.options = options;
    this.partitions = positionsTopicPlan(options.topic).partitions;
  }

  /**
   * The last committed position, and what writes the next ones. To be called after the source's writer
   * was opened: only then is it certain that no older instance adds another. Reads to
   * the end as it is at the call, and waits for other sources' open transactions in it.
   */
  async open<State extends PositionState = PositionState>(
    sourceId: string,
  ): Promise<StoredPosition<State>> {
    await this.ensureTopic();
    const place = { topic: this.options.topic, partition: this.partitionFor(sourceId) };
    return new StoredPosition<State>(
      sourceId,
      place,
      await this.records(sourceId, place.partition),
    );
  }

  /** The last committed position; null for a source that never had one. */
  async read<State extends PositionState = PositionState>(sourceId: string): Promise<State | null> {
    return (await this.open<State>(sourceId)).state;
  }

  private async records(sourceId: string, partition: number): Promise<PositionRecords> {
    const { cluster, topic } = this.options;
    const at = async (time: number): Promise<number> =>
      (await cluster.offsets(topic, [{ partition, time }])).get(partition) ?? 0;
    const end = await at(LATEST);
    const reader = new TopicReader({ cluster });
    const deadline = Date.now() + PATIENCE_MS;
    let offset = await at(EARLIEST);
    const newest = new NewestRecords(sourceId);
    try {
      await reader.assign({ topic, partition, offset });
      while (offset < end) {
        if (Date.now() > deadline) throw undecided(topic, partition);
        for (const batch of await reader.next()) {
          if (batch.error !== undefined) throw batch.error;
          newest.take(batch.records);
          offset = batch.nextOffset;
        }
      }
    } finally {
      await reader.close();
    }
    return newest;
  }

  private ensureTopic(): Promise<unknown> {
    const { admin, topic } = this.options;
    this.ensured ??= admin.ensure([positionsTopicPlan(topic)]).catch((error: unknown) => {
      this.ensured = null;
      throw error;
    });
    return this.ensured;
  }

  private partitionFor(sourceId: string): number {
    const key = Buffer.from(sourceId);
    return partitionOf(key, 0, key.length, this.partitions);
  }
}

/** Of the records of one source, the last value of each key. */
class NewestRecords implements PositionRecords {
  position: string | null = null;
  readonly streams = new Map<string, string>();
  private readonly sourceId: string;

  constructor(sourceId: string) {
    this.sourceId = sourceId;
  }

  take({ bytes, count, keyStarts, keyEnds, valueStarts, valueEnds }: RecordView): void {
    for (let i = 0; i < count; i++) {
      const key = bytes.toString('utf8', keyStarts[i], keyEnds[i]);
      if (!key.startsWith(this.sourceId)) continue;
      const isGone = (valueStarts[i] as number) < 0;
      const value = isGone ? null : bytes.toString('utf8', valueStarts[i], valueEnds[i]);
      if (key.length === this.sourceId.length) this.position = value;
      else if (key[this.sourceId.length] === '/') {
        const stream = key.slice(this.sourceId.length + 1);
        if (value === null) this.streams.delete(stream);
        else this.streams.set(stream, value);
      }
    }
  }
}

function undecided(topic: string, partition: number): PipelineError {
  return new PipelineError(
    'KAFKA_UNAVAILABLE',
    `a transaction that another writer left open holds up ${topic}/${partition}`,
    { details: { topic, partition } },
  );
}
