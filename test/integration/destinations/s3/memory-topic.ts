import type { Type } from 'avsc';
import type { SchemaLookup } from '../../../../connectors/spi/destination.ts';
import type {
  ChangeBatch,
  DestinationStream,
  PartitionTarget,
} from '../../../../connectors/spi/destination.ts';
import { keyAvroSchema, valueAvroSchema } from '../../../../schemas/envelope/avro-schema.ts';
import { ChangeSchema } from '../../../../schemas/envelope/change-decoder.ts';
import type { RecordView } from '../../../../schemas/envelope/record-view.ts';
import type { Column } from '../../../../schemas/envelope/stream-schema.ts';
import { avroOracle } from '../../../support/avro-oracle.ts';

const TOPIC = 'headrace.shop.public.customers';

export type Row = Record<string, unknown>;

export interface Change {
  readonly op?: 'r' | 'c' | 'u' | 'd' | 't' | 'm';
  readonly before?: Row | null;
  readonly after?: Row | null;
  readonly tsUs?: bigint;
  readonly lsn?: bigint;
  readonly unchanged?: readonly string[] | null;
  readonly epoch?: number;
  readonly seq?: number;
}

const SNAPSHOT_OF: Record<string, string> = { r: 'true', t: 'true', m: 'last' };

/** A topic of one partition, held in memory: records in Kafka's form, written by avsc. */
export class MemoryTopic implements SchemaLookup {
  readonly target: PartitionTarget;
  private readonly schemas = new Map<number, ChangeSchema>();
  private readonly codecs = new Map<number, Type>();
  private keyCodec: Type | null = null;
  private readonly keys: (Buffer | null)[] = [];
  private readonly values: (Buffer | null)[] = [];
  loads = 0;
  offersLatest = false;

  constructor(stream: Partial<DestinationStream> = {}, topic = TOPIC, partition = 0) {
    this.target = {
      topic,
      partition,
      stream: {
        stream: { namespace: 'public', name: 'customers' },
        namespace: 'production_public',
        name: 'customers',
        mode: 'append',
        primaryKey: ['id'],
        ...stream,
      },
    };
  }

  register(id: number, columns: readonly Column[]): void {
    const key = columns.filter(({ inKey }) => inKey).map(({ name }) => name);
    const schema = { stream: this.target.stream.stream, columns, key };
    const envelope = valueAvroSchema(this.target.topic, schema);
    this.keyCodec = key.length === 0 ? null : avroOracle(keyAvroSchema(this.target.topic, schema));
    this.codecs.set(id, avroOracle(envelope));
    this.pending.set(id, new ChangeSchema(id, envelope));
  }

  private readonly pending = new Map<number, ChangeSchema>();

  append(schemaId: number, change: Change): number {
    const offset = this.values.length;
    const ts = change.tsUs ?? 1_700_000_000_000_000n + BigInt(offset);
    const source = {
      connector: 'postgres',
      name: 'shop',
      db: 'shop',
      schema: 'public',
      table: 'customers',
      snapshot: SNAPSHOT_OF[change.op ?? 'c'] ?? 'false',
      ts_ms: ts / 1000n,
      ts_us: ts,
      txId: 7n,
      lsn: change.lsn ?? BigInt(offset) * 16n,
      seq: change.seq ?? offset + 1,
      epoch: change.epoch ?? 1,
    };
    const encoded = this.codecs.get(schemaId)?.toBuffer({
      before: change.before ?? null,
      after: change.after ?? null,
      source,
      op: change.op ?? 'c',
      ts_ms: ts / 1000n,
      unchanged: change.unchanged ?? null,
    }) as Buffer;
    const header = Buffer.alloc(5);
    header.writeInt32BE(schemaId, 1);
    this.values.push(Buffer.concat([header, encoded]));
    const row = change.after ?? change.before ?? null;
    // A mark has a key, which means nothing.
    this.keys.push(row === null ? this.markKey() : this.keyOf(row));
    return offset;
  }

  private markKey(): Buffer | null {
    return this.keyCodec === null ? null : Buffer.alloc(5);
  }

  private keyOf(row: Row): Buffer | null {
    if (this.keyCodec === null) return null;
    return Buffer.concat([Buffer.alloc(5), this.keyCodec.toBuffer(row)]);
  }

  appendTombstone(row: Row | null = null): number {
    this.values.push(null);
    this.keys.push(row === null ? null : this.keyOf(row));
    return this.values.length - 1;
  }

  appendRaw(value: Buffer): void {
    this.values.push(value);
    this.keys.push(null);
  }

  /** Lets go of the records before `end`, which nobody reads again. */
  forget(end: number): void {
    const none = Buffer.alloc(0);
    for (let i = end - 1; i >= 0 && this.values[i] !== none; i--)
      this.values[i] = this.keys[i] = none;
  }

  get end(): number {
    return this.values.length;
  }

  batch(first: number, next: number): ChangeBatch {
    const values = this.values.slice(first, next);
    const keys = this.keys.slice(first, next);
    const bytes = Buffer.concat([...keys, ...values].filter((part) => part !== null));
    const count = values.length;
    const records = {
      count,
      bytes,
      offsets: new Float64Array(count),
      keyStarts: new Int32Array(count).fill(-1),
      keyEnds: new Int32Array(count),
      valueStarts: new Int32Array(count).fill(-1),
      valueEnds: new Int32Array(count),
    } satisfies RecordView;
    let pos = 0;
    keys.forEach((key, i) => {
      if (key === null) return;
      records.keyStarts[i] = pos;
      pos += key.length;
      records.keyEnds[i] = pos;
    });
    values.forEach((value, i) => {
      records.offsets[i] = first + i;
      if (value === null) return;
      records.valueStarts[i] = pos;
      pos += value.length;
      records.valueEnds[i] = pos;
    });
    return { target: this.target, firstOffset: first, nextOffset: next, records };
  }

  value(id: number): ChangeSchema | undefined {
    return this.schemas.get(id);
  }

  key(): undefined {
    return undefined;
  }

  async load(id: number): Promise<void> {
    this.loads++;
    const schema = this.pending.get(id);
    if (schema !== undefined) this.schemas.set(id, schema);
  }

  /** The schema registered last, once `offersLatest` is set. */
  async latest(): Promise<{ value: ChangeSchema; key: null } | null> {
    const newest = [...this.pending.values()].at(-1);
    if (!this.offersLatest || newest === undefined) return null;
    return { value: newest, key: null };
  }
}

export function column(
  name: string,
  kind: Column['type']['kind'],
  type = {},
  inKey = false,
): Column {
  return { name, type: { kind, ...type }, inKey };
}

/** A topic of rows that have an id alone, equal to their offset. */
export function topicOfIds(count: number): MemoryTopic {
  const topic = new MemoryTopic();
  topic.register(1, [column('id', 'int64', {}, true)]);
  for (const i of range(0, count)) topic.append(1, { after: { id: BigInt(i) } });
  return topic;
}

export function range(first: number, end: number): number[] {
  return Array.from({ length: end - first }, (_, i) => first + i);
}
