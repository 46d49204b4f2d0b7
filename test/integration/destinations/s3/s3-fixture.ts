import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { S3Client } from '@aws-sdk/client-s3';
import { DuckDBInstance, type DuckDBConnection } from '@duckdb/node-api';
import type { Type } from 'avsc';
import type { SchemaLookup } from '../../../../connectors/spi/destination.ts';
import type {
  ChangeBatch,
  DestinationOpenOptions,
  DestinationStream,
  PartitionTarget,
} from '../../../../connectors/spi/destination.ts';
import type { ObjectStore } from '../../../../connectors/destinations/s3/object-store.ts';
import { openStore } from '../../../../connectors/destinations/s3/open-store.ts';
import { readSettings } from '../../../../connectors/destinations/s3/settings.ts';
import { S3Writer } from '../../../../connectors/destinations/s3/writer.ts';
import { keyAvroSchema, valueAvroSchema } from '../../../../schemas/envelope/avro-schema.ts';
import { ChangeSchema } from '../../../../schemas/envelope/change-decoder.ts';
import type { RecordView } from '../../../../schemas/envelope/record-view.ts';
import type { Column } from '../../../../schemas/envelope/stream-schema.ts';
import type { ServerContext } from '../../../support/contexts.ts';
import { downloaded, readPublished } from './published-reader.ts';
import { avroOracle } from '../../../support/avro-oracle.ts';
import { BUCKET, FolderBucket, MinioBucket, type Bucket } from './buckets.ts';

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

/** A bucket on a MinIO or in a folder, a scratch folder, and DuckDB to read what lies there. */
export class Lake implements AsyncDisposable {
  readonly scratch = mkdtempSync(join(tmpdir(), 'headrace-s3-'));
  private readonly bucket: Bucket;
  private readonly database: DuckDBConnection;
  private connections = 0;

  private constructor(bucket: Bucket, database: DuckDBConnection) {
    this.bucket = bucket;
    this.database = database;
  }

  static async start(kind: 'minio' | 'folder' = 'minio'): Promise<Lake> {
    const bucket = kind === 'minio' ? await MinioBucket.start() : new FolderBucket();
    const database = await (await DuckDBInstance.create()).connect();
    return new Lake(bucket, database);
  }

  private get minio(): MinioBucket {
    if (this.bucket instanceof MinioBucket) return this.bucket;
    throw new Error('this lake is a folder');
  }

  get server(): ServerContext {
    return this.minio.server;
  }

  get client(): S3Client {
    return this.minio.client;
  }

  config(extra: Record<string, unknown> = {}): Record<string, unknown> {
    return {
      s3_bucket_name: BUCKET,
      s3_bucket_path: 'airbyte-data/${NAMESPACE}/${STREAM_NAME}',
      s3_bucket_region: 'us-east-1',
      ...this.bucket.config,
      format: { format_type: 'Parquet', compression_codec: 'SNAPPY' },
      rotation_seconds: 3600,
      ...extra,
    };
  }

  /** Each test has a connection, and a path, of its own. */
  newConnection(): string {
    return `connection-${++this.connections}`;
  }

  connectionConfig(
    connectionId: string,
    extra: Record<string, unknown> = {},
  ): Record<string, unknown> {
    return this.config({
      s3_bucket_path: `${connectionId}/\${NAMESPACE}/\${STREAM_NAME}`,
      ...extra,
    });
  }

  async open(
    topic: SchemaLookup,
    connectionId: string,
    extra: Record<string, unknown> = {},
    wrap: (store: ObjectStore) => ObjectStore = (store) => store,
    more: Partial<DestinationOpenOptions> = {},
  ): Promise<S3Writer> {
    const config = this.connectionConfig(connectionId, extra);
    const settings = readSettings(config);
    const options: DestinationOpenOptions = {
      connectionId,
      config,
      schemas: topic,
      scratchFolder: mkdtempSync(join(this.scratch, 'writer-')),
      maxBufferedBytes: 64 * 1024 * 1024,
      signal: new AbortController().signal,
      ...more,
    };
    return S3Writer.open(options, settings, wrap(openStore(settings, options.signal)));
  }

  keys(prefix: string): Promise<string[]> {
    return this.bucket.keys(prefix);
  }

  async files(connectionId: string): Promise<string[]> {
    return (await this.keys(`${connectionId}/`)).filter((key) => key.endsWith('.parquet'));
  }

  openUploads(key: string): Promise<number> {
    return this.bucket.openUploads(key);
  }

  object(key: string): Promise<Uint8Array> {
    return this.bucket.object(key);
  }

  remove(key: string): Promise<void> {
    return this.bucket.remove(key);
  }

  /** Runs SQL over all files of a connection; `FILES` in it is the table. */
  async query(connectionId: string, sql: string): Promise<unknown[][]> {
    const folder = mkdtempSync(join(this.scratch, 'read-'));
    for (const key of await this.files(connectionId)) {
      writeFileSync(join(folder, encodeURIComponent(key)), await this.object(key));
    }
    const table = `read_parquet('${folder}/*.parquet', union_by_name = true)`;
    return (await this.database.runAndReadAll(sql.replaceAll('FILES', table))).getRows();
  }

  /** Runs SQL over the newest generations of a connection's stream; ROWS in it is the table. */
  async published(connectionId: string, sql: string): Promise<unknown[][]> {
    const keys = await this.keys(`${connectionId}/`);
    const root = await downloaded(this.scratch, keys, (key) => this.object(key));
    const folder = `${connectionId}/production_public/customers`;
    return readPublished(this.database, root, folder, sql);
  }

  /** The same over all files that lie directly in the stream's folder. */
  async inFolder(connectionId: string, sql: string): Promise<unknown[][]> {
    const keys = (await this.files(connectionId)).filter((key) => !key.includes('/_'));
    const root = await downloaded(this.scratch, keys, (key) => this.object(key));
    const table = `read_parquet('${root}/${connectionId}/production_public/customers/*.parquet')`;
    return (await this.database.runAndReadAll(sql.replaceAll('ROWS', table))).getRows();
  }

  /** The offsets that the rows of all files stand for, in order: read from the row ids. */
  async offsets(connectionId: string): Promise<number[]> {
    if ((await this.files(connectionId)).length === 0) return [];
    const rows = await this.query(connectionId, 'select right(_airbyte_ab_id, 12) from FILES');
    return rows.map(([hex]) => Number.parseInt(hex as string, 16)).sort((a, b) => a - b);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.database.closeSync();
    await this.bucket[Symbol.asyncDispose]();
    rmSync(this.scratch, { recursive: true, force: true });
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
