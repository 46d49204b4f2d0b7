import { join } from 'node:path';
import { CreateBucketCommand, S3Client } from '@aws-sdk/client-s3';
import pg from 'pg';
import { ApiClient } from '../local/api-client.ts';
import type { LocalServer } from '../local/local-server.ts';
import { MINIO_ACCESS_KEY, MINIO_SECRET_KEY } from '../local/minio.ts';
import { compareTable, type TableComparison } from './comparison.ts';
import { DEMO_TABLES, loadDatasets } from './datasets.ts';
import { endDemo, makeFolder, startProgram, startServers, type Demo } from './demo-servers.ts';
import { watchBarrier, watchFirstCopy, watchLive, watchSnapshot } from './live-view.ts';
import { summarize, type Outcome } from './outcome.ts';
import { createPipeline, DEMO_BUCKET, type Connections } from './pipeline.ts';
import { probeLatency, runWorkload, type WorkloadResult } from './workload.ts';

export interface DemoOptions {
  /** HEADRACE_HOME; the demo keeps everything of its own in its folder `demo`, made anew each time. */
  readonly home: string;
  /** Leave the servers and Headrace running at the end. */
  readonly keep: boolean;
  /** How long the demo's application writes. */
  readonly seconds: number;
}

/** The main job on real servers, from nothing to compared copies. Answers whether all were equal. */
export async function runDemo(options: DemoOptions): Promise<boolean> {
  const folder = join(options.home, 'demo');
  await makeFolder(folder);
  const interrupted = (): void => void endDemo(folder).then(() => process.exit(130));
  process.once('SIGINT', interrupted);
  try {
    const demo = await start(folder);
    const api = new ApiClient(demo.headrace.url);
    const { lines, equal } = summarize(await copyAndCompare(demo, api, options.seconds));
    explain(demo, api, options.keep);
    lines.forEach(say);
    return equal;
  } finally {
    process.off('SIGINT', interrupted);
    if (!options.keep) await endDemo(folder);
  }
}

async function start(folder: string): Promise<Demo> {
  say('Starting Kafka, MinIO and two Postgres servers; the first time their programs are fetched');
  const servers = await startServers(folder);
  for (const [name, server] of Object.entries(servers) as [string, LocalServer][]) {
    say(`  ${name.padEnd(9)} pid ${server.pid}  ${server.url}`);
  }
  const headrace = await startProgram(folder, servers.kafka);
  say(`  headrace  pid ${headrace.pid}  ${headrace.url}  log ${headrace.log}`);
  return { servers, headrace };
}

async function copyAndCompare(
  { servers }: Demo,
  api: ApiClient,
  seconds: number,
): Promise<Outcome> {
  const source = await connect(servers.source);
  const target = await connect(servers.target);
  const objects = objectStore(servers.minio);
  await objects.send(new CreateBucketCommand({ Bucket: DEMO_BUCKET }));
  say('Loading airports, zip codes, birdstrikes, earthquakes, 200,000 flights and customers');
  const loaded = await loadDatasets(source);
  say('Creating a source, two destinations and two connections through the API');
  const login = { accessKey: MINIO_ACCESS_KEY, secretKey: MINIO_SECRET_KEY };
  const connections = await createPipeline(api, servers, login);
  await watchSnapshot(api, connections, loaded);
  await watchFirstCopy(api, connections);
  say(`An application inserts, updates and deletes for ${seconds} seconds`);
  const { result, latencies } = await liveChanges(api, connections, servers, seconds);
  say('It has stopped; waiting until both destinations hold all that was committed');
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
  { source, target }: Demo['servers'],
  seconds: number,
): Promise<{ result: WorkloadResult; latencies: number[] }> {
  const clients = await Promise.all([connect(source), connect(source), connect(target)]);
  const stop = AbortSignal.timeout(seconds * 1000);
  const [result, latencies] = await Promise.all([
    runWorkload(clients[0], stop),
    probeLatency(clients[1], clients[2], stop),
    watchLive(api, connections, stop),
  ]);
  await Promise.all(clients.map((client) => client.end()));
  return { result, latencies };
}

async function connect({ host, port }: LocalServer): Promise<pg.Client> {
  const client = new pg.Client({ host, port, user: 'postgres', database: 'postgres' });
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

function explain({ servers }: Demo, api: ApiClient, kept: boolean): void {
  say('\nWhat the demo asked of the API, as commands to repeat:');
  for (const command of api.commands) say(`  ${command}`);
  say(`\nWhere to look${kept ? '' : ' when it is run with --keep'}:`);
  const psql = `psql -h 127.0.0.1 -p ${servers.target.port} -U postgres`;
  const parquet = `${servers.minio.url}/${DEMO_BUCKET}/airbyte-data/public/`;
  say(`  tables   ${psql} -c 'select * from customers'`);
  say(`  Parquet  ${parquet}  (user ${MINIO_ACCESS_KEY}, password ${MINIO_SECRET_KEY})`);
  const brokers = `HEADRACE_KAFKA_BROKERS=127.0.0.1:${servers.kafka.port}`;
  say(`  topics   ${brokers} ./headrace topics tail headrace.shop.public.customers --limit 5`);
  if (kept) say('  The next `headrace demo` ends what this one leaves running.');
}

function say(line: string): void {
  process.stdout.write(`${line}\n`);
}
