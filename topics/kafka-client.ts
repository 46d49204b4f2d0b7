import { PipelineError } from '../core/errors/pipeline-error.ts';
import type { BufferAccount } from '../core/run/memory-budget.ts';
import { TopicAdmin } from './admin/topic-admin.ts';
import { TopicReader } from './consume/topic-reader.ts';
import { positionsTopic, schemasTopic } from './naming.ts';
import { Positions } from './positions/positions.ts';
import { TransactionRelay } from './produce/transaction-relay.ts';
import { ConfluentRegistry } from './registry/confluent-registry.ts';
import { SchemaCache } from './registry/schema-cache.ts';
import { SchemaLog } from './registry/schema-log.ts';
import type { SchemaRegistry } from './registry/schema-registry.ts';
import type { KafkaSettings } from './wire/broker-connection.ts';
import type { Codec } from './wire/codec.ts';
import { KafkaCluster } from './wire/kafka-cluster.ts';

export interface KafkaClientOptions {
  readonly kafka: KafkaSettings;
  readonly topicPrefix: string;
  /** A Confluent-compatible registry to use instead of our own log. */
  readonly schemaRegistryUrl: string | null;
  /** Of the record batches that are written; `none` when not given. Batches of any are read. */
  readonly compression?: Codec;
}

/** All that a process does with Kafka, over one view of the cluster. */
export class KafkaClient {
  readonly admin: TopicAdmin;
  readonly positions: Positions;
  readonly registry: SchemaRegistry;
  /** Our own registry, for serving it; null when an external one is used. */
  readonly schemaLog: SchemaLog | null;
  readonly schemas: SchemaCache;
  private readonly cluster: KafkaCluster;
  private readonly compression: Codec;

  constructor(options: KafkaClientOptions) {
    const { topicPrefix, schemaRegistryUrl } = options;
    const cluster = new KafkaCluster(options.kafka);
    this.cluster = cluster;
    this.compression = options.compression ?? 'none';
    this.admin = new TopicAdmin({ cluster });
    this.positions = new Positions({
      cluster,
      admin: this.admin,
      topic: positionsTopic(topicPrefix),
    });
    this.schemaLog =
      schemaRegistryUrl === null
        ? new SchemaLog({ cluster, admin: this.admin, topic: schemasTopic(topicPrefix) })
        : null;
    this.registry = this.schemaLog ?? new ConfluentRegistry({ url: schemaRegistryUrl as string });
    this.schemas = new SchemaCache(this.registry);
  }

  /** To be opened and closed by the caller; cuts batches by each topic's own limit. */
  transactionWriter(transactionalId: string): TransactionRelay {
    const { cluster, admin } = this;
    const { compression } = this;
    return new TransactionRelay({
      cluster,
      transactionalId,
      maxMessageBytes: (topics) => admin.maxMessageBytes(topics),
      compression,
    });
  }

  /** To be closed by the caller; it fetches no more while `buffers` are full. */
  topicReader(buffers?: BufferAccount): TopicReader {
    const { cluster } = this;
    return new TopicReader(buffers === undefined ? { cluster } : { cluster, buffers });
  }

  /** By `topic:partition`, the end of the log now: what a barrier waits for. Not the last stable
   * offset: a commit is answered some milliseconds before its records count as stable, and a barrier
   * that ended there would leave them out. Topics that do not exist are left out. */
  async endOffsets(topics: readonly string[]): Promise<Map<string, number>> {
    const ends = new Map<string, number>();
    for (const [topic, found] of await this.admin.findAll(topics)) {
      if (found instanceof PipelineError) throw found;
      for (const { partition, high } of await this.admin.bounds(topic)) {
        ends.set(`${topic}:${partition}`, high);
      }
    }
    return ends;
  }

  async close(): Promise<void> {
    await this.registry.close();
    await this.admin.close();
    this.cluster.close();
  }
}
