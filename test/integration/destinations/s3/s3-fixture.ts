import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { S3Client } from '@aws-sdk/client-s3';
import { DuckDBInstance, type DuckDBConnection } from '@duckdb/node-api';
import type { SchemaLookup } from '../../../../connectors/spi/destination.ts';
import type { DestinationOpenOptions } from '../../../../connectors/spi/destination.ts';
import type { ObjectStore } from '../../../../connectors/destinations/s3/object-store.ts';
import { openStore } from '../../../../connectors/destinations/s3/open-store.ts';
import { readSettings } from '../../../../connectors/destinations/s3/settings.ts';
import { S3Writer } from '../../../../connectors/destinations/s3/writer.ts';
import type { ServerContext } from '../../../support/contexts.ts';
import { downloaded, readPublished } from './published-reader.ts';
import { BUCKET, FolderBucket, MinioBucket, type Bucket } from './buckets.ts';
import { buffersOf } from '../../../support/buffers.ts';

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
      buffers: buffersOf(64 * 1024 * 1024),
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
