import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { CreateBucketCommand, S3Client } from '@aws-sdk/client-s3';
import pg from 'pg';
import { freePort } from '../local/free-port.ts';
import { startHeadrace, type HeadraceProcess } from '../local/headrace.ts';
import { startKafka } from '../local/kafka.ts';
import type { LocalServer } from '../local/local-server.ts';
import { MINIO_ACCESS_KEY, MINIO_SECRET_KEY, startMinio } from '../local/minio.ts';
import { startPostgres } from '../local/postgres.ts';
import { ApiClient } from '../local/api-client.ts';
import { compareTable, type TableComparison } from './comparison.ts';
import { DEMO_TABLES, loadDatasets } from './datasets.ts';
import { createPipeline, DEMO_BUCKET, type Connections, type DemoServers } from './pipeline.ts';
import { watchBarrier, watchLive, watchSnapshot } from './live-view.ts';
import { percentile, probeLatency, runWorkload, type WorkloadResult } from './workload.ts';

export interface DemoOptions {
  /** HEADRACE_HOME; the demo keeps everything of its own in its folder `demo`, made anew each time. */
  readonly home: string;
  /** Leave the servers and Headrace running at the end. */
  readonly keep: boolean;
  /** How long the demo's application writes. */
  readonly seconds: number;
}

interface Outcome {
  readonly tables: readonly TableComparison[];
  readonly changes: ReadonlyMap<string, number>;
  readonly loaded: ReadonlyMap<string, number>;
  readonly latencies: readonly number[];
  readonly transactions: number;
}

/** The main job on real servers, from nothing to compared copies. Answers whether all were equal. */
export async function runDemo(options: DemoOptions): Promise<boolean> {
  const folder = join(options.home, 'demo');
  await rm(folder, { recursive: true, force: true });
  say(
    'Starting Kafka, MinIO and two Postgres servers (the first time, their programs are fetched)',
  );
  const servers = await startServers(folder);
  const apiPort = await freePort();
  let headrace: HeadraceProcess | undefined;
  try {
    headrace = await startHeadrace({
      home: join(folder, 'home'),
      apiPort,
      brokers: `127.0.0.1:${servers.kafka.port}`,
    });
    say(`  headrace  pid ${headrace.pid}  ${headrace.url}`);
    const api = new ApiClient(headrace.url);
    const outcome = await copyAndCompare(api, servers);
    explain(api, servers);
    return report(outcome);
  } finally {
    if (options.keep)
      say(
        'Everything is left running (--keep). `headrace stack down` does not know it: end the pids above.',
      );
    else await end(headrace, servers);
  }

  async function copyAndCompare(api: ApiClient, running: DemoServers): Promise<Outcome> {
    const source = await connect(running.source);
    const target = await connect(running.target);
    const objects = objectStore(running.minio);
    await objects.send(new CreateBucketCommand({ Bucket: DEMO_BUCKET }));
    say('Loading airports, zip codes, birdstrikes, earthquakes, 200,000 flights and customers');
    const loaded = await loadDatasets(source);
    say('Creating the source, two destinations and two connections through the API');
    const connections = await createPipeline(api, running, {
      accessKey: MINIO_ACCESS_KEY,
      secretKey: MINIO_SECRET_KEY,
    });
    await watchSnapshot(api, connections, loaded);
    const { result, latencies } = await liveChanges(api, connections, running);
    say('The application has stopped; waiting until both destinations hold all that was committed');
    await watchBarrier(api, connections);
    const sides = { source, target, objects, bucket: DEMO_BUCKET, prefix: 'airbyte-data/public' };
    const tables: TableComparison[] = [];
    for (const table of DEMO_TABLES) tables.push(await compareTable(table.name, sides));
    await Promise.all([source.end(), target.end()]);
    objects.destroy();
    const changes = new Map(result.changes);
    changes.set('customers', (changes.get('customers') ?? 0) + latencies.length);
    return { tables, loaded, changes, latencies, transactions: result.transactions };
  }

  async function liveChanges(
    api: ApiClient,
    connections: Connections,
    running: DemoServers,
  ): Promise<{ result: WorkloadResult; latencies: number[] }> {
    say(`An application inserts, updates and deletes for ${options.seconds} seconds`);
    const clients = await Promise.all([
      connect(running.source),
      connect(running.source),
      connect(running.target),
    ]);
    const stop = AbortSignal.timeout(options.seconds * 1000);
    const [result, latencies] = await Promise.all([
      runWorkload(clients[0], stop),
      probeLatency(clients[1], clients[2], stop),
      watchLive(api, connections, stop),
    ]);
    await Promise.all(clients.map((client) => client.end()));
    return { result, latencies };
  }
}

async function startServers(folder: string): Promise<DemoServers> {
  const [kafka, minio, source, target] = await Promise.all([
    startKafka({ folder: join(folder, 'kafka') }),
    startMinio({ folder: join(folder, 'minio') }),
    startPostgres({ folder: join(folder, 'source') }),
    startPostgres({ folder: join(folder, 'target') }),
  ]);
  for (const server of [kafka, minio, source, target]) {
    say(`  ${server.name.padEnd(9)} pid ${server.pid}  ${server.url}`);
  }
  return { kafka, minio, source, target };
}

async function connect(server: LocalServer): Promise<pg.Client> {
  const client = new pg.Client({
    host: server.host,
    port: server.port,
    user: 'postgres',
    database: 'postgres',
  });
  await client.connect();
  return client;
}

function objectStore(minio: LocalServer): S3Client {
  return new S3Client({
    endpoint: minio.url,
    region: 'us-east-1',
    forcePathStyle: true,
    credentials: { accessKeyId: MINIO_ACCESS_KEY, secretAccessKey: MINIO_SECRET_KEY },
  });
}

async function end(headrace: HeadraceProcess | undefined, servers: DemoServers): Promise<void> {
  await headrace?.stop();
  await Promise.all(Object.values(servers).map((server: LocalServer) => server.stop()));
}

function explain(api: ApiClient, servers: DemoServers): void {
  say('\nWhat the demo asked of the API, to repeat by hand:');
  for (const command of api.commands) say(`  ${command}`);
  say('\nWhere to look (with --keep these stay):');
  say(
    `  tables   psql -h 127.0.0.1 -p ${servers.target.port} -U postgres -c 'select * from customers'`,
  );
  say(
    `  Parquet  ${servers.minio.url}/${DEMO_BUCKET}/airbyte-data/public/  (${MINIO_ACCESS_KEY} / ${MINIO_SECRET_KEY})`,
  );
  say(`  topics   HEADRACE_KAFKA_BROKERS=127.0.0.1:${servers.kafka.port} ./headrace topics list`);
}

function report(outcome: Outcome): boolean {
  const rows = outcome.tables.map((table) => {
    const events = (outcome.loaded.get(table.table) ?? 0) + (outcome.changes.get(table.table) ?? 0);
    const equal =
      table.equal && table.parquetKeys === table.sourceRows && table.parquetRows === events;
    return {
      table: table.table,
      source: table.sourceRows,
      postgres: table.targetRows,
      parquetRows: table.parquetRows,
      events,
      parquetLatest: table.parquetKeys,
      equal,
    };
  });
  say(
    '\nRows: at the source, in the Postgres table; in Parquet (one per row and change), and what remains of it per key',
  );
  for (const row of rows) {
    say(
      `  ${row.table.padEnd(12)} source ${row.source}  postgres ${row.postgres}  parquet ${row.parquetRows} of ${row.events} events, latest per key ${row.parquetLatest}  ${row.equal ? 'equal' : 'DIFFERENT'}`,
    );
  }
  const equal = rows.every((row) => row.equal);
  const sum = (pick: (row: (typeof rows)[number]) => number): number =>
    rows.reduce((total, row) => total + pick(row), 0);
  const p50 = percentile(outcome.latencies, 0.5);
  const p99 = percentile(outcome.latencies, 0.99);
  say(
    `Commit to visible in the target, ${outcome.latencies.length} probes beside ${outcome.transactions} transactions: p50 ${p50.toFixed(1)} ms, p99 ${p99.toFixed(1)} ms`,
  );
  say(
    `${equal ? 'EQUAL' : 'DIFFERENT'}: source ${sum((r) => r.source)} rows, Postgres ${sum((r) => r.postgres)} rows, Parquet ${sum((r) => r.parquetRows)} rows for ${sum((r) => r.events)} events (${sum((r) => r.parquetLatest)} latest per key)`,
  );
  return equal;
}

function say(line: string): void {
  process.stdout.write(`${line}\n`);
}
