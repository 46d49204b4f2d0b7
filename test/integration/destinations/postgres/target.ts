import { randomUUID } from 'node:crypto';
import { Client } from 'pg';
import { destination } from '../../../../connectors/destinations/postgres/destination.ts';
import { parseConfig } from '../../../../connectors/destinations/postgres/config.ts';
import {
  DEFAULT_LIMITS,
  PostgresWriter,
  type WriterLimits,
} from '../../../../connectors/destinations/postgres/writer.ts';
import type { DestinationOpenOptions } from '../../../../connectors/spi/destination.ts';
import type { LocalServer } from '../../../../deploy/local/local-server.ts';
import { TestSchemas, type EventLog } from './event-log.ts';
import { buffersOf } from '../../../support/buffers.ts';

/** A database of its own on a shared server, and writers into it. */
export interface TestTarget extends AsyncDisposable {
  readonly sql: Client;
  readonly schemas: TestSchemas;
  readonly config: Record<string, unknown>;
  writer(options?: { limits?: Partial<WriterLimits>; connectionId?: string }): PostgresWriter;
  rows(text: string): Promise<Record<string, unknown>[]>;
  /** What the writers told of values that became NULL. */
  readonly nulled: (readonly [stream: string, Record<string, number>])[];
}

/** `settings` become defaults of the database, as a hostile administrator would set them. */
export async function newTarget(
  server: LocalServer,
  options: {
    settings?: Record<string, string>;
    config?: Record<string, unknown>;
  } = {},
): Promise<TestTarget> {
  const database = `t_${randomUUID().replaceAll('-', '')}`;
  const admin = await connect(server, 'postgres');
  await admin.query(`CREATE DATABASE ${database}`);
  for (const [name, value] of Object.entries(options.settings ?? {})) {
    await admin.query(`ALTER DATABASE ${database} SET ${name} = '${value}'`);
  }
  await admin.end();
  const { host, port } = server;
  return openTarget({
    host,
    port,
    database,
    username: 'postgres',
    schema: 'public',
    ...options.config,
  });
}

/** Writers into a database that is there. */
export async function openTarget(config: Record<string, unknown>): Promise<TestTarget> {
  const { database, ...address } = config as { host: string; port: number; database: string };
  const sql = await connect(address, database);
  const schemas = new TestSchemas();
  const writers: PostgresWriter[] = [];
  const nulled: TestTarget['nulled'] = [];
  const tell: DestinationOpenOptions['nulled'] = (stream, counts) => {
    nulled.push([stream, Object.fromEntries(counts)]);
  };
  return {
    sql,
    schemas,
    config,
    nulled,
    writer({ limits = {}, connectionId = 'c1' } = {}) {
      const signal = new AbortController().signal;
      const scratch = { scratchFolder: '/nonexistent', buffers: buffersOf(1 << 26) };
      const writer = new PostgresWriter(
        { connectionId, config, schemas, signal, ...scratch, nulled: tell },
        parseConfig(config),
        { ...DEFAULT_LIMITS, ...limits },
      );
      writers.push(writer);
      return writer;
    },
    rows: async (text) => (await sql.query(text)).rows,
    async [Symbol.asyncDispose]() {
      await Promise.allSettled(writers.map((writer) => writer.close()));
      await sql.end();
    },
  };
}

async function connect(
  server: Pick<LocalServer, 'host' | 'port'>,
  database: string,
): Promise<Client> {
  const client = new Client({ host: server.host, port: server.port, user: 'postgres', database });
  client.on('error', () => undefined);
  await client.connect();
  return client;
}

/** Writes a log's records from number `from` on, by a writer of its own. */
export async function writeLog(target: TestTarget, log: EventLog, from = 0): Promise<void> {
  const writer = target.writer();
  await writer.open(log.target);
  await writer.write([log.batch(from)]);
  await writer.close();
}

export { destination };
