import { PipelineError } from '../../core/errors/pipeline-error.ts';
import type { RecordView } from '../../schemas/envelope/record-view.ts';
import type { FetchedPartition } from './fetch-request.ts';
import { partitionName } from './fetch-session.ts';

/** What one fetch brought of one partition. */
export interface FetchedBatch {
  readonly topic: string;
  readonly partition: number;
  /** Where the reader stood before it. */
  readonly firstOffset: number;
  /** Where it stands behind it: past control records, aborted data and compacted holes as well, so
   * that a reader of a quiet topic reaches its end. */
  readonly nextOffset: number;
  readonly highWatermark: number;
  readonly lastStableOffset: number;
  readonly logStartOffset: number;
  readonly records: RecordView;
  /** Set when the partition cannot go on; it is not fetched any more until it is assigned again. */
  readonly error?: PipelineError;
}

export const NO_LEADER = -1;

/** A partition that a reader reads, and where it stands. */
export class Assignment {
  readonly topic: string;
  readonly partition: number;
  /** The incarnation of the topic that was there when the partition was assigned. */
  readonly topicId: string;
  /** In requests and answers: `partitionName`. */
  readonly name: string;
  /** Offset of the next fetch. */
  position: number;
  paused = false;
  /** Failed or unassigned: what a fetch under way still brings is dropped. */
  stopped = false;
  /** A fetch of it is under way. */
  busy = false;
  leader = NO_LEADER;
  leaderEpoch = -1;
  /** Since when metadata says that the topic does not exist; 0 while it does. */
  absentSince = 0;
  highWatermark = -1;
  lastStableOffset = -1;
  logStartOffset = -1;

  constructor(topic: string, partition: number, topicId: string, position: number) {
    this.topic = topic;
    this.partition = partition;
    this.topicId = topicId;
    this.name = partitionName(topicId, partition);
    this.position = position;
  }

  get readable(): boolean {
    return !this.paused && !this.stopped && !this.busy;
  }

  heard(fetched: FetchedPartition): void {
    this.highWatermark = fetched.highWatermark;
    this.lastStableOffset = fetched.lastStableOffset;
    this.logStartOffset = fetched.logStartOffset;
  }

  /** Moves on to `nextOffset` and makes the batch that says so. */
  advance(nextOffset: number, records: RecordView): FetchedBatch {
    const batch = this.batch(this.position, nextOffset, records);
    this.position = nextOffset;
    return batch;
  }

  fail(error: PipelineError): FetchedBatch {
    this.stopped = true;
    return { ...this.batch(this.position, this.position, NO_RECORDS), error };
  }

  private batch(firstOffset: number, nextOffset: number, records: RecordView): FetchedBatch {
    const { topic, partition, highWatermark, lastStableOffset, logStartOffset } = this;
    return {
      topic,
      partition,
      firstOffset,
      nextOffset,
      highWatermark,
      lastStableOffset,
      logStartOffset,
      records,
    };
  }
}

const NO_RECORDS: RecordView = {
  count: 0,
  bytes: Buffer.alloc(0),
  offsets: new Float64Array(0),
  keyStarts: new Int32Array(0),
  keyEnds: new Int32Array(0),
  valueStarts: new Int32Array(0),
  valueEnds: new Int32Array(0),
};

/** The error of a partition whose position lies outside of its log [low, high). */
export function outOfRange(assignment: Assignment, low: number, high: number): PipelineError {
  const { topic, partition, position } = assignment;
  const details = { topic, partition, offset: position, low, high };
  if (position < low) {
    const missing = low - position;
    return new PipelineError(
      'KAFKA_GAP',
      `${missing} offsets of ${topic}/${partition} were removed before they were read: ` +
        `the next one to read is ${position}, the log begins at ${low}`,
      { details: { ...details, missing } },
    );
  }
  return new PipelineError(
    'KAFKA_IDENTITY_CHANGED',
    `${topic}/${partition} ends at ${high}, before the offset ${position} that is to be read next: ` +
      'its log was cut, or it is another topic of the same name',
    { details },
  );
}

export function topicGone(assignment: Assignment): PipelineError {
  const { topic, partition, position } = assignment;
  return new PipelineError('KAFKA_TOPIC_GONE', `topic ${topic} was deleted`, {
    details: { topic, partition, offset: position },
  });
}

export function topicRecreated(assignment: Assignment): PipelineError {
  const { topic, partition, position } = assignment;
  return new PipelineError(
    'KAFKA_IDENTITY_CHANGED',
    `topic ${topic} was deleted and created again under the same name`,
    { details: { topic, partition, offset: position } },
  );
}
