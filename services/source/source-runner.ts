import { toPipelineError } from '../../core/errors/pipeline-error.ts';
import type { Logger } from '../../core/observe/logger.ts';
import type { BufferAccount, MemoryBudget } from '../../core/run/memory-budget.ts';
import { Backoff } from '../../core/run/backoff.ts';
import type { Held } from '../../core/run/lease-keeper.ts';
import type { Source, SourceState } from '../../connectors/spi/source.ts';
import type { StreamSchema } from '../../schemas/envelope/stream-schema.ts';
import type { KafkaClient } from '../../topics/kafka-client.ts';
import { sourceTransactionalId } from '../../topics/naming.ts';
import { DEFAULT_MAX_MESSAGE_BYTES } from '../../topics/produce/batch-sender.ts';
import type { TransactionRelay } from '../../topics/produce/transaction-relay.ts';
import { capture, STREAMING_TRANSACTION_MS } from './capture.ts';
import type { CaptureTask } from './capture-task.ts';
import { SourceStatus } from './source-status.ts';
import { TopicRegistrar } from './topic-registrar.ts';

export interface SourceRunnerOptions {
  readonly task: CaptureTask;
  readonly connector: Source;
  readonly kafka: KafkaClient;
  readonly topicPrefix: string;
  readonly topicPartitions: number;
  readonly memory: MemoryBudget;
  readonly log: Logger;
}

/** Room that a record batch's own header takes from the topic's limit, which is Kafka's default: our
 * topics are made without one of their own. */
const BATCH_OVERHEAD = 200;

/**
 * Captures one source until its signal aborts: fence, read our own position, let the connector check
 * that its log goes on from there, then move batches. Whatever fails, all of it begins anew, so that
 * an unknown outcome is always answered by what Kafka holds. A job's read that has ended rests.
 */
export class SourceRunner {
  readonly status: SourceStatus;
  private readonly options: SourceRunnerOptions;

  constructor(options: SourceRunnerOptions) {
    this.options = options;
    this.status = new SourceStatus(options.task);
  }

  /** Rejects only with an error whose reaction is `stop`. */
  async run(signal: AbortSignal, held: Held): Promise<void> {
    const backoff = new Backoff({ firstMs: 200, maxMs: 10_000 });
    while (!signal.aborted) {
      const started = Date.now();
      const buffers = this.options.memory.account();
      try {
        await this.attempt(signal, buffers);
        if (!this.options.task.ends) continue;
        this.status.rests();
        await aborted(signal);
      } catch (thrown) {
        if (signal.aborted) return;
        const error = toPipelineError(thrown);
        this.status.failed(error);
        const { unit } = this.options.task;
        this.options.log.warn({ err: error, unit }, 'capture interrupted');
        if (error.spec.reaction === 'stop') throw error;
        // What ran for a while and then failed is a new fault, not one more of the same.
        if (Date.now() - started > 60_000) backoff.reset();
        await backoff.wait(signal);
        await held();
      } finally {
        buffers.close();
      }
    }
  }

  private async attempt(signal: AbortSignal, buffers: BufferAccount): Promise<void> {
    const { task, kafka, topicPrefix, connector } = this.options;
    const registrar = new TopicRegistrar({
      admin: kafka.admin,
      registry: kafka.registry,
      prefix: topicPrefix,
      owner: task.owner,
      partitions: task.ends ? null : this.options.topicPartitions,
    });
    let writer = await this.openWriter(STREAMING_TRANSACTION_MS);
    try {
      const maxTransactionMs = await kafka.admin.maxTransactionMs();
      const position = await kafka.positions.open<SourceState>(task.id);
      const common = {
        serverName: `${topicPrefix}.${task.owner}`,
        config: task.config,
        state: position.state,
        registerSchema: (schema: StreamSchema) => registrar.register(schema),
        maxRecordBytes: DEFAULT_MAX_MESSAGE_BYTES - BATCH_OVERHEAD,
        buffers,
        maxTransactionMs,
        signal,
      };
      const reader = await task.open(connector, common, registrar);
      try {
        this.status.reading(reader);
        await capture({
          reader,
          writer,
          reopen: async (old, timeoutMs) => {
            await old.close();
            writer = await this.openWriter(timeoutMs);
            return writer;
          },
          position,
          snapshotTransactionMs: maxTransactionMs,
          topicOf: (stream) => registrar.topicOf(stream),
          watch: this.status,
        });
      } finally {
        await reader.close();
      }
    } finally {
      await writer.close();
    }
  }

  private async openWriter(timeoutMs: number): Promise<TransactionRelay> {
    const { task, kafka, topicPrefix } = this.options;
    const writer = kafka.transactionWriter(sourceTransactionalId(topicPrefix, task.id));
    try {
      await writer.open({ timeoutMs });
      return writer;
    } catch (error) {
      await writer.close();
      throw error;
    }
  }
}

function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener('abort', () => resolve(), { once: true });
  });
}
