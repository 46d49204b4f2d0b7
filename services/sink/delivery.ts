import { setTimeout as delay } from 'node:timers/promises';
import { failpoint } from '../../core/run/failpoints.ts';
import type { BufferAccount } from '../../core/run/memory-budget.ts';
import { PipelineError, toPipelineError } from '../../core/errors/pipeline-error.ts';
import type { Logger } from '../../core/observe/logger.ts';
import type {
  DestinationStream,
  DestinationWriter,
  PartitionTarget,
  Replay,
} from '../../connectors/spi/destination.ts';
import type { StreamReplayWork } from '../../core/store/work.ts';
import { streamLabel } from '../../schemas/catalog/stream-id.ts';
import type { TopicAdmin, TopicDescription } from '../../topics/admin/topic-admin.ts';
import { partOf } from '../../schemas/envelope/record-view.ts';
import type { FetchedBatch, TopicReader } from '../../topics/consume/topic-reader.ts';
import { partitionKey, type DeliveryStatus } from './delivery-status.ts';
import { Lane } from './lane.ts';
import type { SchemaGate } from './schema-gate.ts';
import { TroubleWatch } from './trouble-watch.ts';

/** How often a missing topic is looked for, and a stopped stream tried again: a person may have
 * mended what stopped it. */
const TOPIC_POLL_MS = 300;
const STOPPED_RETRY_MS = 15_000;
/** Enough for the writer never to wait for a fetch. */
const WAITING_BYTES = 8 * 1024 * 1024;

export interface StreamDelivery {
  readonly stream: DestinationStream;
  readonly topic: string;
  readonly gate: SchemaGate;
  readonly replay?: StreamReplayWork | undefined;
}

export interface DeliveryOptions {
  readonly streams: readonly StreamDelivery[];
  readonly writer: DestinationWriter;
  readonly reader: TopicReader;
  readonly admin: TopicAdmin;
  readonly status: DeliveryStatus;
  /** What waits for the writer and is being written; reading pauses when it is full (invariant 9). */
  readonly buffers: BufferAccount;
  readonly log: Logger;
}

interface StreamState extends StreamDelivery {
  open: boolean;
  /** When to try to open it, epoch milliseconds; Infinity while it is open. */
  due: number;
}

/** A stream, and its topic or why nobody can tell of it. */
type Found = [StreamState, TopicDescription | PipelineError];

/** A partition that is being delivered. */
interface Delivered {
  readonly target: PartitionTarget;
  readonly gate: SchemaGate;
}

/**
 * One attempt at delivering a connection: opens each stream where the destination says it stands,
 * reads its topic's partitions and feeds the writer's lanes. A stream that cannot go on is stopped
 * by itself and tried again later; anything else ends the attempt.
 */
export class Delivery {
  private readonly options: DeliveryOptions;
  private readonly lanes: readonly Lane[];
  private readonly streams: StreamState[];
  private readonly targets = new Map<string, Delivered>();
  private readonly trouble: TroubleWatch;
  private failure: PipelineError | undefined;

  constructor(options: DeliveryOptions) {
    this.options = options;
    this.trouble = new TroubleWatch(options.status, options.log);
    this.lanes = Array.from(
      { length: options.writer.lanes },
      () =>
        new Lane(options.writer, {
          busy: (isBusy) => options.status.writing(isBusy),
          written: (batches, seconds) => options.status.written(batches, seconds),
          streamStopped: (label, error) => this.stopStream(label, error),
        }),
    );
    this.streams = options.streams.map((stream) => ({ ...stream, open: false, due: 0 }));
  }

  async run(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      await this.openDue();
      if (this.targets.size === 0) {
        await delay(TOPIC_POLL_MS, undefined, { signal }).catch(() => undefined);
        await this.room(0);
        continue;
      }
      for (const batch of await this.options.reader.next()) await this.route(batch);
      this.trouble.look(this.options.reader.currentTrouble);
      await failpoint('sink.fetched');
      await this.room(this.roomForWaiting());
      this.noticeFailure();
      if (this.failure !== undefined) throw this.failure;
    }
    await this.room(0);
  }

  private roomForWaiting(): number {
    const { buffers } = this.options;
    buffers.hold(this.lanes.reduce((sum, lane) => sum + lane.bytesHeld, 0));
    // 0 would wait for the end of what is being written.
    return Math.max(this.lanes.length, buffers.room(WAITING_BYTES));
  }

  private async room(bytes: number): Promise<void> {
    await Promise.all(
      this.lanes.map((lane) => lane.settled(Math.floor(bytes / this.lanes.length))),
    );
  }

  /** Of a stream alone, or of the whole delivery, as where a write fails. */
  private noticeFailure(): void {
    const error = this.options.writer.failure?.() ?? null;
    if (error === null) return;
    const { stream } = error.details;
    if (typeof stream === 'string') this.stopStream(stream, error);
    else this.failure ??= error;
  }

  private async route(batch: FetchedBatch): Promise<void> {
    const delivered = this.targets.get(partitionKey(batch));
    if (delivered === undefined) return;
    const { target, gate } = delivered;
    if (batch.error !== undefined) {
      this.stopStream(streamLabel(target.stream.stream), batch.error);
      return;
    }
    this.options.status.heard(target, batch.lastStableOffset);
    if (batch.nextOffset === batch.firstOffset) return;
    const lane = this.lanes[laneOf(target, this.lanes.length)] as Lane;
    const { firstOffset, nextOffset, records } = batch;
    const admitted = await gate.admits(records);
    if (admitted === records.count) {
      lane.push({ target, firstOffset, nextOffset, records });
      return;
    }
    const heldFrom = records.offsets[admitted] as number;
    if (heldFrom > firstOffset) {
      const before = partOf(records, 0, admitted);
      lane.push({ target, firstOffset, nextOffset: heldFrom, records: before });
    }
    this.hold(target, gate.refusal());
  }

  /** The partition ends here until the connection is another one; what is before goes on. */
  private hold(target: PartitionTarget, error: PipelineError): void {
    const { topic, partition } = target;
    const label = streamLabel(target.stream.stream);
    this.options.log.warn({ err: error, stream: label, partition }, 'partition held');
    this.options.status.streamStopped(label, error);
    this.options.reader.unassign(topic, partition);
    this.targets.delete(partitionKey(target));
  }

  private async openDue(): Promise<void> {
    const now = Date.now();
    const due = this.streams.filter((state) => state.due <= now);
    const topics = await this.options.admin.findAll(due.map(({ topic }) => topic));
    const found = due.flatMap((state): Found[] => {
      const topic = topics.get(state.topic);
      if (topic === undefined) state.due = Date.now() + TOPIC_POLL_MS;
      return topic === undefined ? [] : [[state, topic]];
    });
    await this.openAll(found.values());
  }

  /** A few at a time: each asks the destination some questions, and hundreds in a row would take
   * many seconds after every restart. Rejects when none is being opened any more. */
  private async openAll(found: Iterator<Found>): Promise<void> {
    let failure: PipelineError | undefined;
    const opener = async (): Promise<void> => {
      for (let next = found.next(); !next.done && failure === undefined; next = found.next()) {
        await this.openOrStop(next.value).catch((error: unknown) => {
          failure ??= toPipelineError(error);
        });
      }
    };
    await Promise.all(this.lanes.map(opener));
    if (failure !== undefined) throw failure as PipelineError;
  }

  private async openOrStop([state, topic]: Found): Promise<void> {
    try {
      if (topic instanceof PipelineError) throw topic;
      await this.open(state, topic);
    } catch (thrown) {
      const error = toPipelineError(thrown);
      const { reaction } = error.spec;
      if (reaction === 'retry' || reaction === 'stop') throw error;
      this.stopStream(streamLabel(state.stream.stream), error);
    }
  }

  private async open(state: StreamState, topic: TopicDescription): Promise<void> {
    const replays = await this.replaysOf(state);
    const opened: [PartitionTarget, number][] = [];
    for (const { partition } of topic.partitions) {
      const replay = replays?.get(partition);
      const target: PartitionTarget = {
        stream: state.stream,
        topic: state.topic,
        partition,
        ...(replay === undefined ? {} : { replay }),
      };
      const next = await this.options.writer.open(target);
      await this.options.reader.assign({
        topic: state.topic,
        partition,
        offset: next ?? 'beginning',
      });
      opened.push([target, next ?? 0]);
    }
    await this.options.writer.opened?.(state.topic);
    // All at once: a replay is over when it is in every partition.
    for (const [target, next] of opened) {
      this.targets.set(partitionKey(target), { target, gate: state.gate });
      this.options.status.opened(target, next);
    }
    state.open = true;
    state.due = Infinity;
  }

  /** By partition, the replay that is ordered, within what the topic holds now. */
  private async replaysOf({ topic, replay }: StreamState): Promise<Map<number, Replay> | null> {
    if (replay === undefined) return null;
    const { admin } = this.options;
    const { id, start, rebuild } = replay;
    const byTime =
      typeof start === 'object' && 'timeMs' in start
        ? await admin.offsetsForTime(topic, start.timeMs)
        : null;
    const replays = new Map<number, Replay>();
    for (const { partition, low, stable } of await admin.bounds(topic)) {
      const asked = typeof start === 'object' && 'offset' in start ? start.offset : low;
      const from = Math.min(Math.max(byTime?.get(partition) ?? asked, low), stable);
      replays.set(partition, { id, from, until: stable, rebuild });
    }
    return replays;
  }

  private stopStream(label: string, error: PipelineError): void {
    if (error.spec.reaction === 'stop' || error.spec.reaction === 'retry') {
      this.failure ??= error;
      return;
    }
    this.options.log.error({ err: error, stream: label }, 'stream stopped');
    this.options.status.streamStopped(label, error);
    for (const lane of this.lanes) lane.drop(label);
    for (const [key, { target }] of this.targets) {
      if (streamLabel(target.stream.stream) !== label) continue;
      this.options.reader.unassign(target.topic, target.partition);
      this.targets.delete(key);
    }
    for (const state of this.streams) {
      if (streamLabel(state.stream.stream) !== label) continue;
      state.open = false;
      state.due = Date.now() + STOPPED_RETRY_MS;
    }
  }
}

function laneOf(target: PartitionTarget, lanes: number): number {
  let hash = target.partition;
  for (let i = 0; i < target.topic.length; i++) {
    hash = (Math.imul(hash, 31) + target.topic.charCodeAt(i)) | 0;
  }
  return Math.abs(hash) % lanes;
}
