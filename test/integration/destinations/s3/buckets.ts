import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  CreateBucketCommand,
  DeleteObjectCommand,
  GetObjectCommand,
  ListMultipartUploadsCommand,
  paginateListObjectsV2,
  S3Client,
} from '@aws-sdk/client-s3';
import { MINIO_ACCESS_KEY, MINIO_SECRET_KEY } from '../../../../deploy/local/minio.ts';
import { minioContext, type ServerContext } from '../../../support/contexts.ts';

export const BUCKET = 'datalake';

/** Where objects lie, seen past our own code. */
export interface Bucket extends AsyncDisposable {
  readonly config: Record<string, unknown>;
  keys(prefix: string): Promise<string[]>;
  object(key: string): Promise<Uint8Array>;
  remove(key: string): Promise<void>;
  /** What unfinished uploads have left. */
  openUploads(key: string): Promise<number>;
}

/** A bucket of a MinIO of its own. */
export class MinioBucket implements Bucket {
  readonly server: ServerContext;
  readonly client: S3Client;

  private constructor(server: ServerContext, client: S3Client) {
    this.server = server;
    this.client = client;
  }

  static async start(): Promise<MinioBucket> {
    const server = await minioContext();
    const client = new S3Client({
      endpoint: server.url,
      region: 'us-east-1',
      forcePathStyle: true,
      credentials: { accessKeyId: MINIO_ACCESS_KEY, secretAccessKey: MINIO_SECRET_KEY },
    });
    await client.send(new CreateBucketCommand({ Bucket: BUCKET }));
    return new MinioBucket(server, client);
  }

  get config(): Record<string, unknown> {
    return {
      s3_endpoint: this.server.url,
      access_key_id: MINIO_ACCESS_KEY,
      secret_access_key: MINIO_SECRET_KEY,
    };
  }

  async keys(prefix: string): Promise<string[]> {
    const keys: string[] = [];
    const pages = paginateListObjectsV2(
      { client: this.client },
      { Bucket: BUCKET, Prefix: prefix },
    );
    for await (const { Contents } of pages)
      keys.push(...(Contents ?? []).map(({ Key }) => Key ?? ''));
    return keys;
  }

  async object(key: string): Promise<Uint8Array> {
    const { Body } = await this.client.send(new GetObjectCommand({ Bucket: BUCKET, Key: key }));
    return (await Body?.transformToByteArray()) ?? new Uint8Array();
  }

  async remove(key: string): Promise<void> {
    await this.client.send(new DeleteObjectCommand({ Bucket: BUCKET, Key: key }));
  }

  async openUploads(key: string): Promise<number> {
    const { Uploads } = await this.client.send(
      new ListMultipartUploadsCommand({ Bucket: BUCKET, Prefix: key }),
    );
    return Uploads?.length ?? 0;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.client.destroy();
    await this.server[Symbol.asyncDispose]();
  }
}

/** A folder as a bucket. */
export class FolderBucket implements Bucket {
  private readonly folder = mkdtempSync(join(tmpdir(), 'headrace-folder-'));

  get config(): Record<string, unknown> {
    return { s3_endpoint: `file://${this.folder}` };
  }

  async keys(prefix: string): Promise<string[]> {
    const root = join(this.folder, BUCKET);
    if (!existsSync(root)) return [];
    return readdirSync(root, { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile())
      .map(({ parentPath, name }) => join(parentPath, name).slice(root.length + 1))
      .filter((key) => key.startsWith(prefix))
      .sort();
  }

  async object(key: string): Promise<Uint8Array> {
    return readFileSync(join(this.folder, BUCKET, key));
  }

  async remove(key: string): Promise<void> {
    rmSync(join(this.folder, BUCKET, key));
  }

  async openUploads(): Promise<number> {
    return (await this.keys('.headrace/parts/')).length;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    rmSync(this.folder, { recursive: true, force: true });
  }
}
