import { failpoint, isArmed } from '../../core/run/failpoints.ts';
import type { SourceBatch, SourceReader } from '../../connectors/spi/source.ts';
import type { StreamId } from '../../schemas/catalog/stream-id.ts';
import type { StoredPosition } from '../../topics/positions/stored-position.ts';
import type { TopicPart } from '../../topics/produce/batch-sender.ts';
import type { TransactionRelay } from '../../topics/produce/transaction-relay.ts';

/** A streaming transaction that its process leaves open holds up readers for this long at most. */
export const STREAMING_TRANSACTION_MS = 60_000;

export interface CaptureOptions {
  readonly reader: SourceReader;
  /** Opened by the caller with STREAMING_TRANSACTION_MS; the fence that came first of all. */
  readonly writer: TransactionRelay;
  /** The same id with another limit: a writer's limit is fixed when it opens. */
  reopen(writer: TransactionRelay, timeoutMs: number): Promise<TransactionRelay>;
  readonly position: StoredPosition;
  /** Longest transaction the broker allows; a table's snapshot is one transaction. */
  readonly snapshotTransactionMs: number;
  topicOf(stream: StreamId): string;
  /** Told which stage begins, when a batch has been taken over, and when it is committed. */
  readonly watch: {
    entered(stage: 'read' | 'kafka'): void;
    handedOver(batch: SourceBatch): void;
    discarded(): void;
    committed(seconds: number): void;
  };
}

/**
 * Moves batches from a source's reader to Kafka until the reader ends: append what belongs to an
 * open transaction, commit what ends one together with the position, and only then let the source
 * forget (invariant 1). Any error leaves the writer's fate unknown; the caller opens all anew.
 */
export async function capture(options: CaptureOptions): Promise<void> {
  const { reader, position, watch } = options;
  let { writer } = options;
  let snapshotting = reader.progress().phase === 'snapshot';
  if (snapshotting) writer = await options.reopen(writer, options.snapshotTransactionMs);
  for (;;) {
    watch.entered('read');
    const batch = await reader.next();
    if (batch === null) return;
    watch.handedOver(batch);
    if (batch.discards === true) {
      // A writer that closes gives its transaction up.
      writer = await options.reopen(writer, options.snapshotTransactionMs);
      watch.discarded();
      continue;
    }
    const parts = topicParts(batch, options);
    await failpoint('source.before_produce');
    const started = performance.now();
    watch.entered('kafka');
    if (batch.state === null) {
      await writer.append(parts);
      await failpoint('source.snapshot_chunk');
      reader.acknowledge(batch);
      continue;
    }
    await commit(writer, parts, position.part(batch.state));
    await failpoint('source.after_commit');
    reader.acknowledge(batch);
    watch.committed((performance.now() - started) / 1000);
    if (snapshotting && reader.progress().phase === 'streaming') {
      snapshotting = false;
      writer = await options.reopen(writer, STREAMING_TRANSACTION_MS);
    }
  }
}

/** Events and position in one flight; in two where a fault is to come between them. */
async function commit(
  writer: TransactionRelay,
  events: readonly TopicPart[],
  position: TopicPart,
): Promise<void> {
  if (!isArmed('source.produced')) return writer.commit([...events, position]);
  await writer.append(events);
  await failpoint('source.produced');
  await writer.commit([position]);
}

function topicParts(batch: SourceBatch, options: CaptureOptions): TopicPart[] {
  return batch.parts.map(({ stream, partition, arena }) => ({
    topic: options.topicOf(stream),
    partition,
    arena,
  }));
}
