import { randomUUID } from 'node:crypto';
import { PipelineError, toPipelineError } from '../../core/errors/pipeline-error.ts';
import { Backoff } from '../../core/run/backoff.ts';
import type { AvroRecord } from '../../schemas/envelope/avro-schema.ts';
import { RecordArena } from '../../schemas/envelope/record-arena.ts';
import type { RecordView } from '../../schemas/envelope/record-view.ts';
import { schemasTopicPlan } from '../admin/topic-defaults.ts';
import type { TopicAdmin } from '../admin/topic-admin.ts';
import { TopicReader } from '../consume/topic-reader.ts';
import { BatchSender } from '../produce/batch-sender.ts';
import { LATEST } from '../wire/cluster-requests.ts';
import type { KafkaCluster } from '../wire/kafka-cluster.ts';
import { checkCompatible } from '../../schemas/avro/compatibility.ts';
import type { RegisteredSchema, SchemaRegistry } from './schema-registry.ts';

export interface SchemaLogOptions {
  readonly cluster: KafkaCluster;
  readonly admin: TopicAdmin;
  readonly topic: string;
}

interface Version extends RegisteredSchema {
  readonly parsed: AvroRecord;
}

/** A registration that waits until its record has been read back. */
interface Waiting {
  resolve(id: number): void;
  reject(error: PipelineError): void;
}

const PATIENCE_MS = 60_000;
const WITHOUT_PRODUCER_ID = { producerId: -1, epoch: -1, sequence: -1, transactional: false };
const PLAIN = { transactionalId: null, codec: 'none', apiVersion: 9 } as const;

/**
 * The schema registry kept in a Kafka topic of one partition. A schema's id is its record's offset
 * plus one, so the log itself assigns ids and two writers cannot get the same. Every reader applies
 * the records in their order by the same rules: a schema that is there already adds nothing, one
 * that is incompatible with the newest before it counts for nobody. So two writers that race need no
 * lock: both hear what the log decided.
 */
export class SchemaLog implements SchemaRegistry {
  private readonly options: SchemaLogOptions;
  private readonly reader: TopicReader;
  private readonly sender: BatchSender;
  private readonly byIds = new Map<number, string>();
  private readonly bySubject = new Map<string, Version[]>();
  private readonly waiting = new Map<string, Waiting>();
  private started: Promise<void> | null = null;
  private applied = 0;
  private failure: PipelineError | null = null;
  private onApplied: (() => void)[] = [];
  private closed = false;

  constructor(options: SchemaLogOptions) {
    this.options = options;
    this.reader = new TopicReader({ cluster: options.cluster });
    this.sender = new BatchSender({ cluster: options.cluster });
  }

  /** Begins to follow the topic, which is created when it is missing. Called by whatever needs it. */
  start(): Promise<void> {
    this.started ??= this.begin().catch((error: unknown) => {
      this.started = null;
      throw error;
    });
    return this.started;
  }

  private async begin(): Promise<void> {
    const { admin, topic } = this.options;
    await admin.ensure([schemasTopicPlan(topic)]);
    await this.reader.assign({ topic, partition: 0, offset: 'beginning' });
    void this.follow();
  }

  /** Resolves when everything that was registered before the call has been read. */
  async ready(): Promise<void> {
    await this.start();
    const { cluster, topic } = this.options;
    const ends = await cluster.offsets(topic, [{ partition: 0, time: LATEST }]);
    const end = ends.get(0) ?? 0;
    while (this.applied < end) {
      if (this.failure !== null) throw this.failure;
      await new Promise<void>((resolve) => this.onApplied.push(resolve));
    }
    if (this.failure !== null) throw this.failure;
  }

  /** The id of an identical schema of the subject, or of a new version of it. Waits for Kafka for a
   * minute at most. */
  async register(subject: string, schema: AvroRecord): Promise<number> {
    const text = canonicalJson(schema);
    const ofThisText = (): Version | undefined =>
      this.bySubject.get(subject)?.find((version) => version.schema === text);
    // What was read once stays true: a source with 500 tables does not ask Kafka 1,500 times.
    const known = ofThisText();
    if (known !== undefined) return known.id;
    await this.ready();
    const same = ofThisText();
    if (same !== undefined) return same.id;
    const newest = this.bySubject.get(subject)?.at(-1);
    if (newest !== undefined) checkCompatible(subject, newest.parsed, schema);
    return this.write(subject, text);
  }

  /** Written again when Kafka does not answer: should both records arrive, the second adds nothing. */
  private async write(subject: string, text: string): Promise<number> {
    const nonce = `${subject}#${randomUUID()}`;
    const decided = new Promise<number>((resolve, reject) => {
      this.waiting.set(nonce, { resolve, reject });
    });
    decided.catch(() => {});
    const arena = schemaRecord(nonce, subject, text);
    const backoff = new Backoff({ firstMs: 50, maxMs: 1_000 });
    const patience = AbortSignal.timeout(PATIENCE_MS);
    try {
      for (;;) {
        try {
          const part = { topic: this.options.topic, partition: 0, arena };
          await this.sender.send([part], PLAIN, () => WITHOUT_PRODUCER_ID);
          break;
        } catch (error) {
          const failure = toPipelineError(error);
          if (failure.code !== 'KAFKA_UNAVAILABLE' || patience.aborted || this.closed) {
            throw failure;
          }
          this.options.cluster.forget(this.options.topic);
          await Promise.race([backoff.wait(patience), decided.catch(() => {})]);
        }
      }
      return await decided;
    } finally {
      this.waiting.delete(nonce);
    }
  }

  async schemaOf(id: number): Promise<string> {
    const known = this.byIds.get(id);
    if (known !== undefined) return known;
    await this.ready();
    const read = this.byIds.get(id);
    if (read !== undefined) return read;
    throw new PipelineError('SCH_UNKNOWN_ID', `schema ${id} is not in ${this.options.topic}`, {
      details: { schemaId: id },
    });
  }

  async latest(subject: string): Promise<RegisteredSchema | null> {
    await this.ready();
    return this.bySubject.get(subject)?.at(-1) ?? null;
  }

  /** What has been read so far; `ready` brings it up to date. */
  byId(id: number): string | undefined {
    return this.byIds.get(id);
  }

  subjects(): string[] {
    return [...this.bySubject.keys()];
  }

  /** Oldest first; empty for an unknown subject. */
  versions(subject: string): RegisteredSchema[] {
    return [...(this.bySubject.get(subject) ?? [])];
  }

  async close(): Promise<void> {
    this.closed = true;
    this.fail(new PipelineError('KAFKA_UNAVAILABLE', 'the schema registry was closed'));
    await this.reader.close();
    this.sender.close();
  }

  private async follow(): Promise<void> {
    try {
      while (!this.closed) {
        for (const batch of await this.reader.next()) {
          if (batch.error !== undefined) throw batch.error;
          this.apply(batch.records);
          this.applied = batch.nextOffset;
        }
        for (const heard of this.onApplied.splice(0)) heard();
      }
    } catch (error) {
      this.fail(toPipelineError(error));
    }
  }

  private fail(error: PipelineError): void {
    this.failure = error;
    for (const { reject } of this.waiting.values()) reject(error);
    for (const heard of this.onApplied.splice(0)) heard();
  }

  private apply(records: RecordView): void {
    const { bytes, offsets, keyStarts, keyEnds, valueStarts, valueEnds } = records;
    for (let i = 0; i < records.count; i++) {
      const nonce = bytes.toString('utf8', keyStarts[i], keyEnds[i]);
      const value = bytes.toString('utf8', valueStarts[i], valueEnds[i]);
      const waiting = this.waiting.get(nonce);
      try {
        const id = this.decide((offsets[i] as number) + 1, value);
        waiting?.resolve(id);
      } catch (error) {
        // Refused, or not ours: it counts for nobody, and only its writer has to hear of it.
        waiting?.reject(toPipelineError(error));
      }
    }
  }

  private decide(id: number, value: string): number {
    const { subject, schema } = JSON.parse(value) as { subject: string; schema: string };
    const versions = this.bySubject.get(subject) ?? [];
    const same = versions.find((version) => version.schema === schema);
    if (same !== undefined) return same.id;
    const parsed = JSON.parse(schema) as AvroRecord;
    const newest = versions.at(-1);
    if (newest !== undefined) checkCompatible(subject, newest.parsed, parsed);
    versions.push({ version: versions.length + 1, id, schema, parsed });
    this.bySubject.set(subject, versions);
    this.byIds.set(id, schema);
    return id;
  }
}

function schemaRecord(nonce: string, subject: string, schema: string): RecordArena {
  const arena = new RecordArena();
  const put = (text: string): void => {
    const bytes = Buffer.from(text);
    arena.out.ensure(bytes.length);
    arena.out.copyRaw(bytes, 0, bytes.length);
  };
  put(nonce);
  arena.endKey();
  put(JSON.stringify({ subject, schema }));
  arena.endValue();
  return arena;
}

/** JSON text in which the order of an object's members does not show: equal schemas, equal texts. */
export function canonicalJson(value: unknown): string {
  return JSON.stringify(value, (_key, member: unknown) =>
    member !== null && typeof member === 'object' && !Array.isArray(member)
      ? Object.fromEntries(Object.entries(member).toSorted(([a], [b]) => (a < b ? -1 : 1)))
      : member,
  );
}
