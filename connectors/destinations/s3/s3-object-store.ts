import { createReadStream, createWriteStream } from 'node:fs';
import { readFile } from 'node:fs/promises';
import type { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { setTimeout as delay } from 'node:timers/promises';
import {
  AbortMultipartUploadCommand,
  CopyObjectCommand,
  DeleteObjectCommand,
  GetObjectCommand,
  HeadBucketCommand,
  HeadObjectCommand,
  ListMultipartUploadsCommand,
  ListObjectsV2Command,
  PutObjectCommand,
  S3Client,
} from '@aws-sdk/client-s3';
import { Upload } from '@aws-sdk/lib-storage';
import { failpoint } from '../../../core/run/failpoints.ts';
import { nameOf, statusOf, storeError } from './errors.ts';
import type { ObjectStore, StoredObject } from './object-store.ts';
import type { S3Settings } from './settings.ts';

const SINGLE_PUT_LIMIT = 16 * 1024 * 1024;
const MIN_PART = 8 * 1024 * 1024;
const MAX_PARTS = 10_000;
const CONFLICT_RETRIES = 6;
/** A request on whose connection nothing moves for so long is given up and asked again. */
const SILENCE_MS = 20_000;
/** Below the 30 seconds within which a role has to end. */
const DRAIN_MS = 20_000;

export class S3ObjectStore implements ObjectStore {
  private readonly client: S3Client;
  private readonly bucket: string;
  private readonly giveUp = new AbortController();

  /** When `signal` aborts, requests get `DRAIN_MS` more: the last files of a program that was asked
   * to end are still uploaded, and a store that does not answer cannot keep it. */
  constructor(settings: S3Settings, signal?: AbortSignal) {
    this.bucket = settings.bucket;
    signal?.addEventListener('abort', () => this.drain(), { once: true });
    this.client = new S3Client({
      region: settings.region,
      ...(settings.endpoint === null
        ? {}
        : { endpoint: settings.endpoint, forcePathStyle: settings.pathStyle }),
      ...(settings.credentials === null ? {} : { credentials: settings.credentials }),
      maxAttempts: 4,
      // Stores older than the newer checksum headers refuse requests that carry them.
      requestChecksumCalculation: 'WHEN_REQUIRED',
      responseChecksumValidation: 'WHEN_REQUIRED',
      // The library's `requestTimeout` only writes a warning. Silence is what tells: a large upload over
      // a slow line may take longer than any limit.
      requestHandler: { connectionTimeout: 5_000, socketTimeout: SILENCE_MS },
    });
    addFailpoints(this.client);
  }

  async bucketExists(): Promise<void> {
    try {
      await this.client.send(new HeadBucketCommand({ Bucket: this.bucket }), this.options());
    } catch (error) {
      // HEAD has no body, so the store cannot name what is wrong.
      const status = statusOf(error);
      if (status === 404) throw storeError(named(error, 'NoSuchBucket'), 'reading the bucket');
      throw storeError(error, 'reading the bucket');
    }
  }

  putIfAbsent(key: string, body: string): Promise<boolean> {
    return this.ifAbsent('writing an object', () =>
      this.client.send(
        new PutObjectCommand({
          Bucket: this.bucket,
          Key: key,
          Body: body,
          ContentType: 'application/json',
          IfNoneMatch: '*',
        }),
        this.options(),
      ),
    );
  }

  async put(key: string, body: string): Promise<void> {
    await this.send('writing an object', () =>
      this.client.send(
        new PutObjectCommand({
          Bucket: this.bucket,
          Key: key,
          Body: body,
          ContentType: 'application/json',
        }),
        this.options(),
      ),
    );
  }

  async get(key: string): Promise<string | null> {
    try {
      const { Body } = await this.client.send(
        new GetObjectCommand({ Bucket: this.bucket, Key: key }),
        this.options(),
      );
      return (await Body?.transformToString()) ?? '';
    } catch (error) {
      if (nameOf(error) === 'NoSuchKey') return null;
      throw storeError(error, 'reading an object');
    }
  }

  async head(key: string): Promise<Record<string, string> | null> {
    try {
      const { Metadata } = await this.client.send(
        new HeadObjectCommand({ Bucket: this.bucket, Key: key }),
        this.options(),
      );
      return Metadata ?? {};
    } catch (error) {
      if (statusOf(error) === 404) return null;
      throw storeError(error, 'reading an object');
    }
  }

  async *list(prefix: string, after?: string): AsyncIterable<string> {
    for await (const { key } of this.objects(prefix, after)) yield key;
  }

  async *objects(prefix: string, after?: string): AsyncIterable<StoredObject> {
    let token: string | undefined;
    do {
      const page = await this.send('listing objects', () =>
        this.client.send(
          new ListObjectsV2Command({
            Bucket: this.bucket,
            Prefix: prefix,
            ...(after === undefined ? {} : { StartAfter: after }),
            ...(token === undefined ? {} : { ContinuationToken: token }),
          }),
          this.options(),
        ),
      );
      for (const { Key, Size } of page.Contents ?? []) {
        if (Key !== undefined) yield { key: Key, bytes: Size ?? 0 };
      }
      token = page.IsTruncated === true ? page.NextContinuationToken : undefined;
    } while (token !== undefined);
  }

  async delete(key: string): Promise<void> {
    await this.send('deleting an object', () =>
      this.client.send(new DeleteObjectCommand({ Bucket: this.bucket, Key: key }), this.options()),
    );
  }

  async copy(from: string, to: string): Promise<void> {
    await this.send('copying an object', () =>
      this.client.send(
        new CopyObjectCommand({
          Bucket: this.bucket,
          Key: to,
          CopySource: [this.bucket, ...from.split('/')].map(encodeURIComponent).join('/'),
        }),
        this.options(),
      ),
    );
  }

  async download(key: string, path: string): Promise<boolean> {
    try {
      const { Body } = await this.client.send(
        new GetObjectCommand({ Bucket: this.bucket, Key: key }),
        this.options(),
      );
      await pipeline(Body as Readable, createWriteStream(path));
      return true;
    } catch (error) {
      if (nameOf(error) === 'NoSuchKey') return false;
      throw storeError(error, 'reading an object');
    }
  }

  async uploadIfAbsent(
    key: string,
    path: string,
    bytes: number,
    metadata: Record<string, string>,
  ): Promise<boolean> {
    const params = {
      Bucket: this.bucket,
      Key: key,
      ContentType: 'application/vnd.apache.parquet',
      Metadata: metadata,
      IfNoneMatch: '*',
    };
    if (bytes <= SINGLE_PUT_LIMIT) {
      const body = await readFile(path);
      return this.ifAbsent('uploading a file', () =>
        this.client.send(new PutObjectCommand({ ...params, Body: body }), this.options()),
      );
    }
    try {
      return await this.ifAbsent('uploading a file', () => this.uploadInParts(params, path, bytes));
    } catch (error) {
      await this.abortUploads(key).catch(() => {}); // the first error tells more
      throw error;
    }
  }

  private async uploadInParts(
    params: { Bucket: string; Key: string },
    path: string,
    bytes: number,
  ): Promise<unknown> {
    const upload = new Upload({
      client: this.client,
      params: { ...params, Body: createReadStream(path) },
      partSize: Math.max(MIN_PART, Math.ceil(bytes / (MAX_PARTS - 1))),
      queueSize: 2,
    });
    const abort = () => void upload.abort();
    this.giveUp.signal.addEventListener('abort', abort, { once: true });
    try {
      return await upload.done();
    } finally {
      this.giveUp.signal.removeEventListener('abort', abort);
    }
  }

  async abortUploads(key: string): Promise<void> {
    const { Uploads } = await this.send('listing unfinished uploads', () =>
      this.client.send(
        new ListMultipartUploadsCommand({ Bucket: this.bucket, Prefix: key }),
        this.options(),
      ),
    );
    for (const upload of Uploads ?? []) {
      if (upload.Key !== key) continue;
      try {
        await this.client.send(
          new AbortMultipartUploadCommand({
            Bucket: this.bucket,
            Key: key,
            UploadId: upload.UploadId,
          }),
          this.options(),
        );
      } catch (error) {
        if (nameOf(error) !== 'NoSuchUpload') throw storeError(error, 'aborting an upload');
      }
    }
  }

  close(): void {
    this.giveUp.abort();
    this.client.destroy();
  }

  private drain(): void {
    setTimeout(() => this.giveUp.abort(), DRAIN_MS).unref();
  }

  private options(): { abortSignal: AbortSignal } {
    return { abortSignal: this.giveUp.signal };
  }

  private async send<T>(action: string, request: () => Promise<T>): Promise<T> {
    try {
      return await request();
    } catch (error) {
      throw storeError(error, action);
    }
  }

  /** 412 means that the object is there. 409 means that another writer of the same key was busy at
   * that moment: asked again, the store answers one or the other. */
  private async ifAbsent(action: string, request: () => Promise<unknown>): Promise<boolean> {
    for (let attempt = 0; ; attempt++) {
      try {
        await request();
        return true;
      } catch (error) {
        const status = statusOf(error);
        if (status === 412) return false;
        if (status !== 409 || attempt === CONFLICT_RETRIES) throw storeError(error, action);
        await delay(20 * 2 ** attempt);
      }
    }
  }
}

function named(error: unknown, name: string): unknown {
  return Object.assign(new Error(name, { cause: error }), {
    name,
    $metadata: { httpStatusCode: 404 },
  });
}

/** Where a fault meets parts that the store has taken and whose answer nobody has seen. */
function addFailpoints(client: S3Client): void {
  client.middlewareStack.add(
    (next, { commandName }) =>
      async (args) => {
        const answer = await next(args);
        if (commandName === 'UploadPartCommand') await failpoint('s3.part_sent');
        if (commandName === 'CompleteMultipartUploadCommand') await failpoint('s3.complete_sent');
        return answer;
      },
    { step: 'deserialize', priority: 'high' },
  );
}
