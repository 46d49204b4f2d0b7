import type { Type } from 'avsc';
import type {
  ChangeBatch,
  DestinationStream,
  SchemaLookup,
} from '../../../../connectors/spi/destination.ts';
import type { AvroWriter } from '../../../../schemas/avro/avro-writer.ts';
import {
  avroFieldNames,
  keyAvroSchema,
  valueAvroSchema,
} from '../../../../schemas/envelope/avro-schema.ts';
import { ChangeSchema, KeySchema } from '../../../../schemas/envelope/change-decoder.ts';
import { RecordArena } from '../../../../schemas/envelope/record-arena.ts';
import { writeWireHeader } from '../../../../schemas/envelope/record-view.ts';
import type {
  Column,
  InitialValue,
  StreamSchema,
} from '../../../../schemas/envelope/stream-schema.ts';
import type { ColumnType } from '../../../../schemas/values/column-type.ts';
import { avroOracle } from '../../../support/avro-oracle.ts';

export type Row = Readonly<Record<string, unknown>>;

export interface EventOptions {
  readonly lsn?: bigint;
  readonly seq?: number;
  readonly epoch?: number;
  readonly tsUs?: bigint;
  readonly unchanged?: readonly string[];
  readonly before?: Row | null;
  readonly snapshot?: 'true' | 'last';
}

/** Schemas by id, as the registry would answer them. */
export class TestSchemas implements SchemaLookup {
  private readonly values = new Map<number, ChangeSchema>();
  private readonly keys = new Map<number, KeySchema>();
  private readonly newest = new Map<string, { value: ChangeSchema; key: KeySchema | null }>();
  /** Ids that `load` has been asked for; the getters know no others, as with a real registry. */
  private readonly loaded = new Set<number>();
  private next = 1;

  register(topic: string, schema: StreamSchema): { value: number; key: number } {
    const id = this.next++;
    const value = new ChangeSchema(id, valueAvroSchema(topic, schema));
    this.values.set(id, value);
    const keyId = this.next++;
    const key = schema.key.length > 0 ? new KeySchema(keyId, keyAvroSchema(topic, schema)) : null;
    if (key !== null) this.keys.set(keyId, key);
    this.newest.set(topic, { value, key });
    return { value: id, key: keyId };
  }

  value(id: number): ChangeSchema | undefined {
    return this.loaded.has(id) ? this.values.get(id) : undefined;
  }

  key(id: number): KeySchema | undefined {
    return this.loaded.has(id) ? this.keys.get(id) : undefined;
  }

  async load(id: number): Promise<void> {
    this.loaded.add(id);
  }

  async latest(topic: string): Promise<{ value: ChangeSchema; key: KeySchema | null } | null> {
    return this.newest.get(topic) ?? null;
  }
}

export type Columns = Readonly<Record<string, ColumnType>>;

/** One partition of a topic, written with avsc: the codec that shares no code with ours. */
export class EventLog {
  readonly topic: string;
  readonly partition: number;
  readonly stream: DestinationStream;
  readonly arena = new RecordArena();
  /** Offset of each record. */
  readonly offsets: number[] = [];
  lsn = 100n;
  private readonly schemas: TestSchemas;
  private ids = { value: 0, key: 0 };
  private valueType: Type | null = null;
  private keyType: Type | null = null;
  private columns: Column[] = [];
  private fieldNames: string[] = [];
  private nextOffset: number;

  constructor(
    schemas: TestSchemas,
    stream: DestinationStream,
    columns: Columns,
    options: { topic?: string; partition?: number; firstOffset?: number } = {},
  ) {
    this.schemas = schemas;
    this.stream = stream;
    this.topic = options.topic ?? `headrace.test.${stream.stream.namespace}.${stream.stream.name}`;
    this.partition = options.partition ?? 0;
    this.nextOffset = options.firstOffset ?? 0;
    this.evolve(columns);
  }

  get target() {
    return { stream: this.stream, topic: this.topic, partition: this.partition };
  }

  /** Registers a new version of the stream's schema, which the events from here on have. */
  evolve(columns: Columns, initials: Readonly<Record<string, InitialValue>> = {}): void {
    const key = this.stream.primaryKey;
    this.columns = Object.entries(columns).map(([name, type]) => ({
      name,
      type,
      inKey: key.includes(name),
      ...(initials[name] === undefined ? {} : { initial: initials[name] }),
    }));
    const schema: StreamSchema = { stream: this.stream.stream, columns: this.columns, key };
    this.ids = this.schemas.register(this.topic, schema);
    this.valueType = avroOracle(valueAvroSchema(this.topic, schema));
    this.keyType = key.length > 0 ? avroOracle(keyAvroSchema(this.topic, schema)) : null;
    this.fieldNames = avroFieldNames(this.columns);
  }

  create(row: Row, options: EventOptions = {}): void {
    this.change('c', null, row, row, options);
  }

  update(row: Row, options: EventOptions = {}): void {
    this.change('u', options.before ?? null, row, row, options);
  }

  /** A delete as it is captured: the key, or the whole row, and a tombstone behind. */
  delete(row: Row, options: EventOptions & { tombstone?: boolean } = {}): void {
    this.change('d', row, null, row, options);
    if (options.tombstone !== false) this.tombstone(row);
  }

  tombstone(key: Row): void {
    this.writeKey(key);
    this.arena.endKey();
    this.arena.endValue();
    this.offsets.push(this.nextOffset++);
  }

  truncate(options: EventOptions = {}): void {
    this.change('t', null, null, null, options);
  }

  /** Begin mark of the next generation, the rows of the copy, and its end mark. */
  generation(epoch: number, rows: Iterable<Row>): void {
    this.beginGeneration(epoch);
    for (const row of rows) this.copied(row, epoch);
    this.endGeneration(epoch);
  }

  beginGeneration(epoch: number): void {
    this.change('t', null, null, null, { epoch, lsn: 0n, snapshot: 'true' });
  }

  copied(row: Row, epoch: number): void {
    this.change('r', null, row, row, { epoch, lsn: 0n, seq: 1, snapshot: 'true' });
  }

  endGeneration(epoch: number): void {
    this.change('m', null, null, null, { epoch, lsn: 0n, seq: 2, snapshot: 'last' });
  }

  /** Leaves a hole in the offsets, as control records and compaction do. */
  skipOffsets(count: number): void {
    this.nextOffset += count;
  }

  /** Repeats records that are in the log already, under new offsets. */
  repeat(from: number, to: number): void {
    for (let i = from; i < to; i++) {
      const { out, keyEnds, valueEnds } = this.arena;
      const start = i === 0 ? 0 : (valueEnds[i - 1] as number);
      const key = Buffer.from(out.bytes.subarray(start, keyEnds[i]));
      const value = Buffer.from(out.bytes.subarray(keyEnds[i], valueEnds[i]));
      this.append(key);
      this.arena.endKey();
      this.append(value);
      this.arena.endValue();
      this.offsets.push(this.nextOffset++);
    }
  }

  get count(): number {
    return this.arena.count;
  }

  get end(): number {
    return this.nextOffset;
  }

  /** Records [from, to), numbered from 0, as a fetch would answer them. */
  batch(from = 0, to = this.count): ChangeBatch {
    const { out, keyEnds, valueEnds } = this.arena;
    const count = to - from;
    const starts = (i: number) => (i === 0 ? 0 : (valueEnds[i - 1] as number));
    const part = (start: (i: number) => number, end: (i: number) => number) => [
      Int32Array.from({ length: count }, (_, i) =>
        start(from + i) === end(from + i) ? -1 : start(from + i),
      ),
      Int32Array.from({ length: count }, (_, i) => end(from + i)),
    ];
    const keyEnd = (i: number) => keyEnds[i] as number;
    const [keyStarts, keyStops] = part(starts, keyEnd) as [Int32Array, Int32Array];
    const values = part(keyEnd, (i) => valueEnds[i] as number) as [Int32Array, Int32Array];
    const firstOffset = from === 0 ? (this.offsets[0] ?? 0) : this.offsets[from - 1]! + 1;
    return {
      target: this.target,
      firstOffset,
      nextOffset: to === this.count ? this.nextOffset : (this.offsets[to] as number),
      records: {
        count,
        bytes: out.bytes,
        offsets: Float64Array.from(this.offsets.slice(from, to)),
        keyStarts,
        keyEnds: keyStops,
        valueStarts: values[0],
        valueEnds: values[1],
      },
    };
  }

  private change(
    op: string,
    before: Row | null,
    after: Row | null,
    key: Row | null,
    options: EventOptions,
  ): void {
    if (key !== null) this.writeKey(key);
    else this.append(header(this.ids.key));
    this.arena.endKey();
    const lsn = options.lsn ?? ++this.lsn;
    if (lsn > this.lsn) this.lsn = lsn;
    const tsUs = options.tsUs ?? 1_700_000_000_000_000n + lsn;
    const event = {
      before: before === null ? null : this.named(before),
      after: after === null ? null : this.named(after),
      source: {
        connector: 'postgres',
        name: 'headrace.test',
        db: 'db',
        schema: this.stream.stream.namespace,
        table: this.stream.stream.name,
        snapshot: options.snapshot ?? 'false',
        ts_ms: tsUs / 1000n,
        ts_us: tsUs,
        txId: 7n,
        lsn,
        seq: options.seq ?? 0,
        epoch: options.epoch ?? 1,
      },
      op,
      ts_ms: tsUs / 1000n,
      unchanged: options.unchanged ?? null,
    };
    this.append(header(this.ids.value));
    this.append((this.valueType as Type).toBuffer(event));
    this.arena.endValue();
    this.offsets.push(this.nextOffset++);
  }

  private writeKey(row: Row): void {
    if (this.keyType === null) return;
    const named = this.named(row);
    this.append(header(this.ids.key));
    this.append(this.keyType.toBuffer(named));
  }

  private named(row: Row): Row {
    return Object.fromEntries(
      this.columns.map(({ name }, i) => [this.fieldNames[i] as string, row[name] ?? null]),
    );
  }

  private append(bytes: Buffer): void {
    const out: AvroWriter = this.arena.out;
    out.ensure(bytes.length);
    out.copyRaw(bytes, 0, bytes.length);
  }
}

function header(id: number): Buffer {
  const bytes = Buffer.alloc(5);
  writeWireHeader(bytes, 0, id);
  return bytes;
}

export function overwritten(name: string): DestinationStream {
  return { ...deduped(name), mode: 'overwrite' };
}

export function deduped(name: string, primaryKey: readonly string[] = ['id']): DestinationStream {
  const stream = { namespace: 'public', name };
  return { stream, namespace: null, name, mode: 'append_dedup', primaryKey };
}

export function appended(name: string, primaryKey: readonly string[] = ['id']): DestinationStream {
  return { ...deduped(name, primaryKey), mode: 'append' };
}
