import { toPipelineError } from '../../core/errors/pipeline-error.ts';
import type { Logger } from '../../core/observe/logger.ts';
import { Backoff } from '../../core/run/backoff.ts';
import type { Held } from '../../core/run/lease-keeper.ts';
import type { MemoryBudget } from '../../core/run/memory-budget.ts';
import type { ConnectionStreamWork, ConnectionWork } from '../../core/store/work.ts';
import type {
  Destination,
  DestinationStream,
  DestinationWriter,
} from '../../connectors/spi/destination.ts';
import type { KafkaClient } from '../../topics/kafka-client.ts';
import { streamTopic } from '../../topics/naming.ts';
import { Delivery } from './delivery.ts';
import { DeliveryStatus } from './delivery-status.ts';
import { CatalogSchemas, SchemaGate } from './schema-gate.ts';

export interface SinkRunnerOptions {
  readonly work: ConnectionWork;
  readonly connector: Destination;
  readonly kafka: KafkaClient;
  readonly topicPrefix: string;
  readonly scratchFolder: string;
  readonly memory: MemoryBudget;
  readonly log: Logger;
}

/** Delivers one connection until its signal aborts; a failed attempt begins anew from what the
 * destination itself says it holds. */
export class SinkRunner {
  readonly status: DeliveryStatus;
  private readonly options: SinkRunnerOptions;
  private writer: DestinationWriter | null = null;

  constructor(options: SinkRunnerOptions) {
    this.options = options;
    this.status = new DeliveryStatus(options.work, options.kafka.schemas);
  }

  /** Makes everything accepted so far durable, for a barrier. */
  async flush(): Promise<void> {
    await this.writer?.flush();
  }

  /** Rejects only with an error whose reaction is `stop`. */
  async run(signal: AbortSignal, held: Held): Promise<void> {
    const backoff = new Backoff({ firstMs: 200, maxMs: 10_000 });
    while (!signal.aborted) {
      const started = Date.now();
      try {
        await this.attempt(signal);
      } catch (thrown) {
        if (signal.aborted) return;
        const error = toPipelineError(thrown);
        this.status.failed(error);
        this.options.log.warn(
          { err: error, connection: this.options.work.connectionId },
          'delivery interrupted',
        );
        if (error.spec.reaction === 'stop') throw error;
        if (Date.now() - started > 60_000) backoff.reset();
        await backoff.wait(signal);
        await held();
      }
    }
  }

  private noteNulled(stream: string, counts: ReadonlyMap<string, number>): void {
    const { log, work } = this.options;
    this.status.nulled(stream, counts);
    for (const [field, values] of counts) {
      const at = { connection: work.connectionId, stream, field, values };
      log.warn(at, 'values that do not fit their column are NULL in the destination');
    }
  }

  private gatedStreams() {
    const { work, kafka, topicPrefix } = this.options;
    return work.streams.map((stream) => {
      const topic = streamTopic(topicPrefix, stream.topicOwner, stream);
      return { stream, topic, gate: new SchemaGate(stream, topic, kafka.schemas) };
    });
  }

  /** Of the process's, the part that the connection may have. */
  private memory(): MemoryBudget {
    const { work, memory, log } = this.options;
    const { connectionId, memoryLimitBytes } = work;
    if (memoryLimitBytes === undefined) return memory;
    if (memoryLimitBytes > memory.bytes) {
      log.warn(
        { connection: connectionId, memoryLimitBytes, processBytes: memory.bytes },
        "the connection's memory_limit is above what the process has for the buffers of all",
      );
    }
    return memory.part(memoryLimitBytes);
  }

  private async attempt(signal: AbortSignal): Promise<void> {
    const { work, connector, kafka } = this.options;
    const memory = this.memory();
    const accounts = [memory.account(), memory.account(), memory.account()] as const;
    const [fetched, waiting, buffers] = accounts;
    const streams = this.gatedStreams();
    const writer = await connector.open({
      connectionId: work.connectionId,
      config: work.config,
      schemas: new CatalogSchemas(kafka.schemas, streams),
      scratchFolder: this.options.scratchFolder,
      buffers,
      signal,
      nulled: (stream, counts) => this.noteNulled(stream, counts),
    });
    const reader = kafka.topicReader(fetched);
    try {
      this.writer = writer;
      this.status.delivering(
        writer,
        streams.map(({ gate }) => gate),
      );
      const delivery = new Delivery({
        streams: streams.map(({ stream, topic, gate }) => ({
          stream: destinationStream(stream),
          replay: stream.replay,
          topic,
          gate,
        })),
        writer,
        reader,
        admin: kafka.admin,
        status: this.status,
        buffers: waiting,
        log: this.options.log,
      });
      await delivery.run(signal);
    } finally {
      this.writer = null;
      await reader.close();
      await writer.close();
      for (const account of accounts) account.close();
    }
  }
}

function destinationStream(stream: ConnectionStreamWork): DestinationStream {
  return {
    stream: { namespace: stream.namespace, name: stream.name },
    namespace: stream.destinationNamespace,
    name: stream.destinationName,
    mode: stream.mode,
    primaryKey: stream.primaryKey,
  };
}
