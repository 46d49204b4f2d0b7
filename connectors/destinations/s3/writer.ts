import { mkdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { BufferAccount } from '../../../core/run/memory-budget.ts';
import { PipelineError, toPipelineError } from '../../../core/errors/pipeline-error.ts';
import type {
  ChangeBatch,
  DestinationOpenOptions,
  DestinationWriter,
  PartitionTarget,
} from '../../spi/destination.ts';
import { Encoder } from './encoder.ts';
import type { ObjectStore } from './object-store.ts';
import { KeyedPartition } from './keyed-partition.ts';
import type { Partition } from './partition.ts';
import { PartitionWriter } from './partition-writer.ts';
import { RefreshPartition } from './refresh-partition.ts';
import type { WriterContext } from './range-delivery.ts';
import type { S3Settings } from './settings.ts';
import { FieldsOfStreams } from './stream-fields.ts';
import { UploadSlots } from './upload-slots.ts';

const LANES = 4;
/** Chunks on their way to the encoder: enough for it not to wait for the next fetch. */
const IN_FLIGHT_BYTES = 4 * 1024 * 1024;
const PARALLEL_UPLOADS = 3;

/** Errors that one stream alone has; the others of the connection go on. */
const OF_ONE_STREAM = new Set([
  'EVT_UNDECODABLE',
  'DST_SCHEMA_INCOMPATIBLE',
  'DST_STATE_LOST',
  'SCH_UNKNOWN_ID',
  'SNK_FENCED',
  'DST_ROW_INCOMPLETE',
]);

/** Writes a connection's partitions to one bucket. */
export class S3Writer implements DestinationWriter {
  readonly lanes = LANES;
  private readonly context: WriterContext;
  private readonly partitions = new Map<string, Partition>();
  private readonly buffers: BufferAccount;
  /** Partitions whose failure somebody knows of; they are opened anew. */
  private readonly told = new WeakSet<Partition>();

  private constructor(context: WriterContext, buffers: BufferAccount) {
    this.context = context;
    this.buffers = buffers;
  }

  static async open(
    options: DestinationOpenOptions,
    settings: S3Settings,
    store: ObjectStore,
  ): Promise<S3Writer> {
    const { connectionId, schemas, buffers, signal } = options;
    const spoolFolder = join(options.scratchFolder, `s3-${connectionId}`);
    // What a crash left there is half a file: its records are still in the topic.
    await rm(spoolFolder, { recursive: true, force: true });
    await mkdir(spoolFolder, { recursive: true });
    const context: WriterContext = {
      connectionId,
      settings,
      store,
      schemas,
      spoolFolder,
      signal,
      encoder: new Encoder(IN_FLIGHT_BYTES),
      fields: new FieldsOfStreams(),
      uploads: new UploadSlots(PARALLEL_UPLOADS),
    };
    return new S3Writer(context, buffers);
  }

  async open(target: PartitionTarget): Promise<number | null> {
    const key = partitionKey(target);
    this.partitions.get(key)?.discard();
    const partition = this.newPartition(target);
    this.partitions.set(key, partition);
    return partition.open().catch((error: unknown) => {
      throw blamed(error, partition);
    });
  }

  private newPartition(target: PartitionTarget): Partition {
    switch (target.stream.mode) {
      case 'append':
        return new PartitionWriter(target, this.context);
      case 'append_dedup':
        return new KeyedPartition(target, this.context);
      case 'overwrite':
        return new RefreshPartition(target, this.context);
    }
  }

  async write(batches: readonly ChangeBatch[]): Promise<void> {
    // All are looked at before one is taken: a batch that cannot be taken keeps none from a repeat.
    for (const batch of batches) await this.each(batch.target, (p) => p.prepare(batch));
    for (const batch of batches) await this.each(batch.target, (p) => p.accept(batch));
    await this.relieve();
  }

  failure(): PipelineError | null {
    for (const partition of this.partitions.values()) {
      const { failure } = partition;
      if (failure === null || this.told.has(partition)) continue;
      this.told.add(partition);
      return blamed(failure, partition);
    }
    return null;
  }

  private async each(
    target: PartitionTarget,
    act: (partition: Partition) => Promise<void>,
  ): Promise<void> {
    const partition = this.partition(target);
    try {
      await act(partition);
    } catch (error) {
      throw blamed(error, partition);
    }
  }

  private partition(target: PartitionTarget): Partition {
    const partition = this.partitions.get(partitionKey(target));
    if (partition !== undefined) return partition;
    throw new PipelineError('BUG_UNEXPECTED', `${partitionKey(target)} was not opened`);
  }

  /** Many partitions with a little each add up: the largest become files until all fits again. */
  private async relieve(): Promise<void> {
    const { heldBytes } = this.context.encoder;
    // The sum of all, which is known: adding up hundreds after each write would take longer than writing.
    if (!this.buffers.isFull(heldBytes)) {
      this.buffers.hold(heldBytes);
      return;
    }
    for (;;) {
      let sum = 0;
      let largest: Partition | null = null;
      for (const partition of this.partitions.values()) {
        sum += partition.pendingBytes;
        if (partition.pendingBytes > (largest?.pendingBytes ?? 0)) largest = partition;
      }
      this.buffers.hold(sum);
      if (largest === null || !this.buffers.isFull(sum)) return;
      await this.each(largest.target, (partition) => partition.rotate());
    }
  }

  durableOffset(target: PartitionTarget): number {
    return this.partition(target).durable;
  }

  async flush(): Promise<void> {
    const flushes = [...this.partitions.values()].map((partition) =>
      this.each(partition.target, (p) => p.flush()),
    );
    const failed = (await Promise.allSettled(flushes)).find(({ status }) => status === 'rejected');
    if (failed?.status === 'rejected') throw failed.reason;
  }

  async close(): Promise<void> {
    try {
      await this.flush();
    } finally {
      for (const partition of this.partitions.values()) partition.discard();
      this.partitions.clear();
      await this.context.encoder.close();
      // What is under way may make one more file while the folder is being emptied.
      const patience = { maxRetries: 5, retryDelay: 50 };
      await rm(this.context.spoolFolder, { recursive: true, force: true, ...patience });
      this.context.store.close();
    }
  }
}

function partitionKey({ topic, partition }: PartitionTarget): string {
  return `${topic}-${partition}`;
}

function blamed(thrown: unknown, { label }: Partition): PipelineError {
  const error = toPipelineError(thrown);
  if (!OF_ONE_STREAM.has(error.code) || error.details['stream'] !== undefined) return error;
  return new PipelineError(error.code, `stream ${label}: ${error.message}`, {
    details: { ...error.details, stream: label },
    cause: error,
  });
}
