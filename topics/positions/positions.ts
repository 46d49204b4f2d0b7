import { PipelineError } from '../../core/errors/pipeline-error.ts';
import { partitionOf } from '../../schemas/envelope/partition.ts';
import { RecordArena } from '../../schemas/envelope/record-arena.ts';
import type { RecordView } from '../../schemas/envelope/record-view.ts';
import { positionsTopicPlan } from '../admin/topic-defaults.ts';
import type { TopicAdmin } from '../admin/topic-admin.ts';
import { TopicReader } from '../consume/topic-reader.ts';
import type { TopicPart } from '../produce/batch-sender.ts';
import { EARLIEST, LATEST } from '../wire/cluster-requests.ts';
import type { KafkaCluster } from '../wire/kafka-cluster.ts';

export interface PositionsOptions {
  readonly cluster: KafkaCluster;
  readonly admin: TopicAdmin;
  readonly topic: string;
}

/** Longer than any transaction of a streaming source may stay open: one that its owner left holds
 * the end of what is decided back until it times out. */
const PATIENCE_MS = 90_000;

/**
 * The newest position of each source, kept in a compacted topic under the source's id. A position is
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

  /** The record of a position, to be committed with the events that it stands behind. `state` is
   * plain JSON. */
  part(sourceId: string, state: object): TopicPart {
    const arena = new RecordArena(1024);
    put(arena, sourceId);
    arena.endKey();
    put(arena, JSON.stringify(state));
    arena.endValue();
    return { topic: this.options.topic, partition: this.partitionFor(sourceId), arena };
  }

  /** The record that makes a source begin anew. */
  forgetPart(sourceId: string): TopicPart {
    const arena = new RecordArena(1024);
    put(arena, sourceId);
    arena.endKey();
    arena.endValue();
    return { topic: this.options.topic, partition: this.partitionFor(sourceId), arena };
  }

  /**
   * The last committed position; null for a source that never had one. To be called after the
   * source's writer was opened: only then is it certain that no older instance adds another. Reads to
   * the end as it is at the call, and waits for other sources' open transactions in it.
   */
  async read<State extends object>(sourceId: string): Promise<State | null> {
    await this.ensureTopic();
    const { cluster, topic } = this.options;
    const partition = this.partitionFor(sourceId);
    const at = async (time: number): Promise<number> =>
      (await cluster.offsets(topic, [{ partition, time }])).get(partition) ?? 0;
    const end = await at(LATEST);
    const reader = new TopicReader({ cluster });
    const deadline = Date.now() + PATIENCE_MS;
    let offset = await at(EARLIEST);
    let last: string | null = null;
    try {
      await reader.assign({ topic, partition, offset });
      while (offset < end) {
        if (Date.now() > deadline) throw undecided(topic, partition);
        for (const batch of await reader.next()) {
          if (batch.error !== undefined) throw batch.error;
          last = lastValueOf(batch.records, sourceId, last);
          offset = batch.nextOffset;
        }
      }
    } finally {
      await reader.close();
    }
    return last === null ? null : (JSON.parse(last) as State);
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

function put(arena: RecordArena, text: string): void {
  const bytes = Buffer.from(text);
  arena.out.ensure(bytes.length);
  arena.out.copyRaw(bytes, 0, bytes.length);
}

/** The value of the source's last record, null for a tombstone; `before` when there is none. */
function lastValueOf(records: RecordView, sourceId: string, before: string | null): string | null {
  const { bytes, keyStarts, keyEnds, valueStarts, valueEnds } = records;
  for (let i = records.count - 1; i >= 0; i--) {
    if (bytes.toString('utf8', keyStarts[i], keyEnds[i]) !== sourceId) continue;
    return (valueStarts[i] as number) < 0
      ? null
      : bytes.toString('utf8', valueStarts[i], valueEnds[i]);
  }
  return before;
}

function undecided(topic: string, partition: number): PipelineError {
  return new PipelineError(
    'KAFKA_UNAVAILABLE',
    `a transaction that another writer left open holds up ${topic}/${partition}`,
    { details: { topic, partition } },
  );
}
