import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { CreateBucketCommand, S3Client } from '@aws-sdk/client-s3';
import pg from 'pg';
import { ApiClient } from '../../deploy/local/api-client.ts';
import { freePort } from '../../deploy/local/free-port.ts';
import {
  startHeadrace,
  type HeadraceOptions,
  type HeadraceProcess,
} from '../../deploy/local/headrace.ts';
import type { LocalServer } from '../../deploy/local/local-server.ts';
import { MINIO_ACCESS_KEY, MINIO_SECRET_KEY } from '../../deploy/local/minio.ts';
import type { ConnectionReport, SourceReport } from '../../core/store/work.ts';
import { kafkaContext, minioContext, postgresContext, type ServerContext } from './contexts.ts';

/**
 * The whole product as its users have it: real servers, Headrace as processes of its own, driven by
 * the HTTP API only. `await using rig = await startRig()`.
 */
export interface Rig extends AsyncDisposable {
  readonly kafka: ServerContext;
  readonly source: ServerContext;
  readonly target: ServerContext;
  readonly minio: ServerContext | null;
  readonly folder: string;
  readonly api: ApiClient;
  /** Where the API listens, or will. */
  readonly apiPort: number;
  /** By role; `up` when all run in one process. */
  readonly processes: Map<Role, HeadraceProcess>;
  start(role: Role): Promise<HeadraceProcess>;
}

export type Role = NonNullable<HeadraceOptions['role']>;

export interface RigOptions {
  readonly roles?: readonly Role[];
  readonly withMinio?: boolean;
  readonly environment?: Readonly<Record<string, string>>;
  readonly sourceSettings?: Record<string, string>;
  readonly targetSettings?: Record<string, string>;
  readonly kafka?: Parameters<typeof kafkaContext>[0];
}

export const BUCKET = 'lake';

export async function startRig(options: RigOptions = {}): Promise<Rig> {
  const folder = await mkdtemp(join(tmpdir(), 'headrace-rig-'));
  const roles = options.roles ?? ['up'];
  const [kafka, source, target, minio] = await Promise.all([
    kafkaContext(options.kafka),
    postgresContext({ settings: options.sourceSettings ?? {} }),
    postgresContext({ settings: options.targetSettings ?? {} }),
    options.withMinio === true ? minioContext() : null,
  ]);
  if (minio !== null) await makeBucket(minio);
  const ports = new Map<Role, number>();
  for (const role of roles) ports.set(role, await freePort());
  const storeUrl = `postgres://postgres@127.0.0.1:${target.port}/headrace_store`;
  if (!roles.includes('up')) await query(target, 'create database headrace_store');
  const processes = new Map<Role, HeadraceProcess>();
  // A run that dies without disposing must not leave programs behind that wait for their servers.
  process.once('exit', () => {
    for (const each of processes.values()) each.killNow();
  });
  const start = async (role: Role): Promise<HeadraceProcess> => {
    const process_ = await startHeadrace({
      home: join(folder, 'home'),
      apiPort: ports.get(role) as number,
      brokers: `127.0.0.1:${kafka.port}`,
      role,
      environment: {
        ...(role === 'up' ? {} : { HEADRACE_STORE_URL: storeUrl }),
        ...options.environment,
      },
    });
    processes.set(role, process_);
    return process_;
  };
  for (const role of roles) await start(role);
  const apiRole = roles.includes('up') ? 'up' : 'api';
  const apiPort = ports.get(apiRole) ?? (await freePort());
  return {
    kafka,
    source,
    target,
    minio,
    folder,
    api: new ApiClient(`http://127.0.0.1:${apiPort}`, options.environment?.['HEADRACE_API_TOKEN']),
    apiPort,
    processes,
    start,
    async [Symbol.asyncDispose]() {
      await Promise.all([...processes.values()].map((each) => each.kill()));
      await Promise.all(
        [kafka, source, target, minio].map((each) => each?.[Symbol.asyncDispose]()),
      );
      await rm(folder, { recursive: true, force: true });
    },
  };
}

async function makeBucket(minio: LocalServer): Promise<void> {
  const objects = objectStore(minio);
  await objects.send(new CreateBucketCommand({ Bucket: BUCKET }));
  objects.destroy();
}

export function objectStore(minio: LocalServer): S3Client {
  return new S3Client({
    endpoint: minio.url,
    region: 'us-east-1',
    forcePathStyle: true,
    credentials: { accessKeyId: MINIO_ACCESS_KEY, secretAccessKey: MINIO_SECRET_KEY },
  });
}

export async function connectTo(server: LocalServer, database = 'postgres'): Promise<pg.Client> {
  const client = new pg.Client({
    host: server.host,
    port: server.port,
    user: 'postgres',
    database,
  });
  // A server that a test kills takes its connections along; the next query tells.
  client.on('error', () => undefined);
  await client.connect();
  return client;
}

export async function query<T extends pg.QueryResultRow>(
  server: LocalServer,
  sql: string,
  values: unknown[] = [],
): Promise<T[]> {
  const client = await connectTo(server);
  try {
    return (await client.query<T>(sql, values)).rows;
  } finally {
    await client.end();
  }
}

type Address = Pick<LocalServer, 'host' | 'port'>;

export function postgresConfig(server: Address): Record<string, unknown> {
  return {
    host: server.host,
    port: server.port,
    database: 'postgres',
    username: 'postgres',
    password: 'unused',
    ssl_mode: { mode: 'disable' },
  };
}

export function cdcSourceConfig(server: Address): Record<string, unknown> {
  return {
    ...postgresConfig(server),
    schemas: ['public'],
    replication_method: {
      method: 'CDC',
      replication_slot: 'headrace',
      publication: 'headrace',
      create: true,
    },
  };
}

export function parquetConfig(minio: Pick<LocalServer, 'url'>): Record<string, unknown> {
  return {
    s3_bucket_name: BUCKET,
    s3_bucket_path: 'data/${NAMESPACE}/${STREAM_NAME}',
    s3_bucket_region: 'us-east-1',
    s3_endpoint: minio.url,
    access_key_id: MINIO_ACCESS_KEY,
    secret_access_key: MINIO_SECRET_KEY,
    format: { format_type: 'Parquet', compression_codec: 'SNAPPY' },
  };
}

const DEFINITIONS = {
  sourcePostgres: 'decd338e-5647-4c0b-adf4-da0e75f5a750',
  sourceMysql: '435bb9a5-7887-4809-aa58-28c27df0d7ad',
  postgres: '25c5221d-dce2-4163-ade9-739ef790f503',
  s3: '4816b78f-1489-44c1-9060-4b19d5fa9362',
} as const;

export async function createSource(
  rig: Rig,
  config: Record<string, unknown>,
  kind: 'sourcePostgres' | 'sourceMysql' = 'sourcePostgres',
  name = 'shop',
): Promise<string> {
  const { sourceId } = await rig.api.quiet<{ sourceId: string }>('sources/create', {
    workspaceId: await workspaceOf(rig),
    name,
    sourceDefinitionId: DEFINITIONS[kind],
    connectionConfiguration: config,
  });
  return sourceId;
}

export async function createDestination(
  rig: Rig,
  kind: 'postgres' | 's3',
  config: Record<string, unknown>,
): Promise<string> {
  const created = await rig.api.quiet<{ destinationId: string }>('destinations/create', {
    workspaceId: await workspaceOf(rig),
    name: kind,
    destinationDefinitionId: DEFINITIONS[kind],
    connectionConfiguration: config,
  });
  return created.destinationId;
}

async function workspaceOf(rig: Rig): Promise<string> {
  const { workspaces } = await rig.api.quiet<{ workspaces: { workspaceId: string }[] }>(
    'workspaces/list',
    {},
  );
  return workspaces[0]?.workspaceId as string;
}

interface Catalog {
  streams: { stream: { name: string; sourceDefinedPrimaryKey?: string[][] }; config: object }[];
}

/** Connects all streams, or those that `modeOf` gives a mode. */
export async function createConnection(
  rig: Rig,
  sourceId: string,
  destinationId: string,
  modeOf: (stream: string, keyed: boolean) => 'append' | 'append_dedup' | null,
): Promise<string> {
  const { catalog } = await rig.api.quiet<{ catalog: Catalog }>('sources/discover_schema', {
    sourceId,
  });
  const streams = catalog.streams.flatMap(({ stream, config }) => {
    const keyed = (stream.sourceDefinedPrimaryKey ?? []).length > 0;
    const mode = modeOf(stream.name, keyed);
    if (mode === null) return [];
    return [
      {
        stream,
        config: { ...config, selected: true, syncMode: 'incremental', destinationSyncMode: mode },
      },
    ];
  });
  const { connectionId } = await rig.api.quiet<{ connectionId: string }>('connections/create', {
    sourceId,
    destinationId,
    status: 'active',
    namespaceDefinition: 'destination',
    syncCatalog: { streams },
  });
  return connectionId;
}

export interface Job {
  readonly job: { readonly id: number; readonly status: string };
  readonly attempts: readonly { readonly attempt: { readonly failureSummary?: unknown } }[];
}

export interface ConnectionStatus {
  readonly sourceReport?: SourceReport;
  readonly connectionReport?: ConnectionReport;
}

export function statusOf(rig: Rig, connectionId: string): Promise<ConnectionStatus> {
  return rig.api.quiet<ConnectionStatus>('connections/status', { connectionId });
}

/** Runs a sync to its end and answers the job; the barrier of a continuous connection. */
export async function sync(rig: Rig, connectionId: string, timeoutMs = 120_000): Promise<Job> {
  const deadline = Date.now() + timeoutMs;
  const started = await rig.api.quiet<Job>('connections/sync', { connectionId });
  for (;;) {
    const now = await rig.api.quiet<Job>('jobs/get', { id: started.job.id });
    if (['succeeded', 'failed', 'cancelled'].includes(now.job.status)) return now;
    if (Date.now() > deadline) {
      const status = await statusOf(rig, connectionId);
      throw new Error(`job ${now.job.id} is still ${now.job.status}: ${JSON.stringify(status)}`);
    }
    await delay(100);
  }
}

/** Polls until the check answers something truthy; for states that no event tells of. */
export async function until<T>(
  what: string,
  check: () => Promise<T | false | null | undefined>,
  timeoutMs = 60_000,
): Promise<T> {
  const deadline = Date.now() + timeoutMs;
  for (;;) {
    let failure = '';
    const found = await check().catch((error: unknown) => {
      failure = `: ${String(error)}`;
      return null;
    });
    if (found !== false && found !== null && found !== undefined) return found;
    if (Date.now() > deadline) {
      throw new Error(`waited ${timeoutMs} ms in vain for ${what}${failure}`);
    }
    await delay(50);
  }
}
