import {
  avroNamespace,
  keyAvroSchema,
  subjectsOf,
  valueAvroSchema,
  type AvroRecord,
} from '../../schemas/envelope/avro-schema.ts';
import { PipelineError } from '../../core/errors/pipeline-error.ts';
import { streamLabel, type StreamId } from '../../schemas/catalog/stream-id.ts';
import type { StreamSchema } from '../../schemas/envelope/stream-schema.ts';
import type { SchemaIds } from '../../connectors/spi/source.ts';
import type { TopicAdmin } from '../../topics/admin/topic-admin.ts';
import { readTopicPlan, streamTopicPlan } from '../../topics/admin/topic-defaults.ts';
import { streamTopic, truncateSubject } from '../../topics/naming.ts';
import type { SchemaRegistry } from '../../topics/registry/schema-registry.ts';

export interface TopicRegistrarOptions {
  readonly admin: TopicAdmin;
  readonly registry: SchemaRegistry;
  readonly prefix: string;
  /** In the topics' names, behind the prefix: a source's name, or the id of a connection whose jobs
   * read the streams. */
  readonly owner: string;
  /** Partitions of a new topic of a stream with a key; null for topics of job reads. */
  readonly partitions: number | null;
}

/** Gives each stream of a source its topic and its schemas' ids, before the first record is encoded. */
export class TopicRegistrar {
  private readonly options: TopicRegistrarOptions;
  /** Topics that are there. One that goes away fails the capture, whose next attempt has another
   * registrar. */
  private readonly ensured = new Set<string>();

  constructor(options: TopicRegistrarOptions) {
    this.options = options;
  }

  topicOf(stream: StreamId): string {
    const { prefix, owner } = this.options;
    return streamTopic(prefix, owner, stream);
  }

  /** Partitions the stream's topic has, or will have when it is made. */
  async partitionsOf(stream: StreamId): Promise<number> {
    const found = await this.options.admin.find(this.topicOf(stream));
    return found?.partitions.length ?? this.options.partitions ?? 1;
  }

  /** A topic made for rows with a key is compacted and takes no record without one: the broker would
   * refuse it for ever, and hold up the source's other streams with it. */
  private async refuseLostKey(stream: StreamId, subject: string): Promise<void> {
    if (
      this.options.partitions === null ||
      (await this.options.registry.latest(subject)) === null
    ) {
      return;
    }
    const label = streamLabel(stream);
    throw new PipelineError(
      'SCH_INCOMPATIBLE',
      `table ${label} has no key any more, and its topic is compacted by the key that it had`,
      { details: { stream: label } },
    );
  }

  /** Rejects with SCH_INCOMPATIBLE when readers of the old schema could not follow. */
  async register(schema: StreamSchema): Promise<SchemaIds> {
    const topic = this.topicOf(schema.stream);
    const keyed = schema.key.length > 0;
    const subjects = subjectsOf(topic);
    const { registry } = this.options;
    if (!keyed) await this.refuseLostKey(schema.stream, subjects.key);
    const [key, value, truncateKey] = await Promise.all([
      keyed ? registry.register(subjects.key, keyAvroSchema(topic, schema)) : 0,
      registry.register(subjects.value, valueAvroSchema(topic, schema)),
      registry.register(truncateSubject(topic), truncateKeySchema(topic)),
    ]);
    // The topic last: a destination that finds it finds its schema, and makes the table of a stream
    // that has no rows.
    if (!this.ensured.has(topic)) await this.ensure(schema.stream, topic, keyed);
    return { key, value, truncateKey };
  }

  private async ensure(stream: StreamId, topic: string, keyed: boolean): Promise<void> {
    const plan =
      this.options.partitions === null
        ? readTopicPlan(topic)
        : streamTopicPlan(topic, keyed, await this.partitionsOf(stream));
    await this.options.admin.ensure([plan]);
    this.ensured.add(topic);
  }
}

function truncateKeySchema(topic: string): AvroRecord {
  return { type: 'record', name: 'Truncate', namespace: avroNamespace(topic), fields: [] };
}
