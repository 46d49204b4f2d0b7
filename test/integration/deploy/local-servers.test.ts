import { existsSync, mkdtempSync, realpathSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { Kafka, logLevel } from 'kafkajs';
import pg from 'pg';
import { S3Client, CreateBucketCommand, ListBucketsCommand } from '@aws-sdk/client-s3';
import { portIsFree } from '../../../deploy/local/free-port.ts';
import type { LocalServer } from '../../../deploy/local/local-server.ts';
import { startPostgres } from '../../../deploy/local/postgres.ts';
import { identify, isAlive } from '../../../deploy/local/process.ts';
import {
  kafkaContext,
  minioContext,
  postgresContext,
  type ServerContext,
} from '../../support/contexts.ts';

/** Something written that must be there after a crash. */
interface Memory {
  write(server: LocalServer): Promise<void>;
  read(server: LocalServer): Promise<string[]>;
}

const postgresMemory: Memory = {
  write: (server) =>
    query(server, "create table kept as select 'headrace' as word").then(() => undefined),
  read: (server) => query(server, 'select word from kept'),
};

async function query(server: LocalServer, sql: string): Promise<string[]> {
  const client = new pg.Client({ connectionString: server.url });
  client.on('error', () => undefined);
  await client.connect();
  try {
    const { rows } = await client.query<{ word: string }>(sql);
    return rows.map((row) => row.word);
  } finally {
    await client.end();
  }
}

function kafkaClient(server: LocalServer): Kafka {
  return new Kafka({ brokers: [server.url], logLevel: logLevel.NOTHING });
}

const kafkaMemory: Memory = {
  async write(server) {
    const admin = kafkaClient(server).admin();
    await admin.connect();
    await admin.createTopics({ topics: [{ topic: 'headrace', numPartitions: 1 }] });
    await admin.disconnect();
  },
  async read(server) {
    const admin = kafkaClient(server).admin();
    await admin.connect();
    const topics = await admin.listTopics();
    await admin.disconnect();
    return topics;
  },
};

function s3(server: LocalServer): S3Client {
  const credentials = { accessKeyId: 'headrace', secretAccessKey: 'headrace-secret' };
  return new S3Client({
    endpoint: server.url,
    region: 'us-east-1',
    forcePathStyle: true,
    credentials,
  });
}

const minioMemory: Memory = {
  async write(server) {
    await s3(server).send(new CreateBucketCommand({ Bucket: 'headrace' }));
  },
  async read(server) {
    const { Buckets } = await s3(server).send(new ListBucketsCommand({}));
    return (Buckets ?? []).map((bucket) => bucket.Name ?? '');
  },
};

async function survivesCrashAndStop(context: ServerContext, memory: Memory): Promise<void> {
  await memory.write(context);
  const first = identify(context.pid);
  await context.kill();
  expect(isAlive(first)).toBe(false);
  expect(await portIsFree(context.port)).toBe(true);

  const again = await context.restart();
  expect(again.port).toBe(context.port);
  expect(again.pid).not.toBe(first.pid);
  expect(await memory.read(again)).toContain('headrace');

  const second = identify(context.pid);
  await context.stop();
  expect(isAlive(second)).toBe(false);
  expect(await portIsFree(context.port)).toBe(true);
  await context.stop();

  await context.restart();
  expect(await memory.read(context)).toContain('headrace');
}

describe('a local server keeps its data through SIGKILL and stop, on the same port', () => {
  test.each([14, 15, 16, 17, 18] as const)('PostgreSQL %i', async (major) => {
    let folder: string;
    {
      await using server = await postgresContext({ major });
      folder = server.folder;
      expect(await query(server, "select split_part(version(), ' ', 2) as word")).toEqual([
        expect.stringMatching(new RegExp(`^${major}\\.`)),
      ]);
      await survivesCrashAndStop(server, postgresMemory);
    }
    expect(existsSync(folder)).toBe(false);
  });

  test('PostgreSQL in a folder that its account cannot enter; nothing of it stays behind', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'headrace-private-'));
    const server = await startPostgres({ folder });
    const data = realpathSync(join(folder, 'data'));
    await postgresMemory.write(server);
    await server.kill();
    const again = await server.restart();
    expect(await postgresMemory.read(again)).toEqual(['headrace']);
    await again.stop();
    rmSync(folder, { recursive: true });

    const next = mkdtempSync(join(tmpdir(), 'headrace-private-'));
    const other = await startPostgres({ folder: next });
    await other.kill();
    expect(existsSync(data)).toBe(false);
    rmSync(next, { recursive: true });
  });

  test('PostgreSQL decodes logically, and takes settings', async () => {
    await using server = await postgresContext({ settings: { max_wal_senders: '7' } });
    expect(await query(server, "select current_setting('wal_level') as word")).toEqual(['logical']);
    expect(await query(server, "select current_setting('max_wal_senders') as word")).toEqual(['7']);
  });

  test('MinIO', async () => {
    await using server = await minioContext();
    await survivesCrashAndStop(server, minioMemory);
  });

  test('Kafka', async () => {
    await using server = await kafkaContext();
    await survivesCrashAndStop(server, kafkaMemory);
  });
});

describe('a start that cannot succeed', () => {
  test('names the taken port', async () => {
    await using server = await minioContext();
    await expect(minioContext({ port: server.port })).rejects.toMatchObject({
      code: 'CFG_PORT_IN_USE',
      details: { port: server.port },
    });
  });

  test('shows the end of the server log', async () => {
    const start = postgresContext({ settings: { shared_buffers: 'plenty' } });
    await expect(start).rejects.toMatchObject({
      code: 'STACK_SERVER_FAILED',
      message: expect.stringContaining('shared_buffers'),
    });
  });
});
