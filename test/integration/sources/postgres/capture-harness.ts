import type avsc from 'avsc';
import pg from 'pg';
import { source } from '../../../../connectors/sources/postgres/source.ts';
import type {
  SchemaIds,
  Source,
  SourceBatch,
  SourceOpenOptions,
  SourceReader,
  SourceState,
} from '../../../../connectors/spi/source.ts';
import type { LocalServer } from '../../../../deploy/local/local-server.ts';
import { streamLabel, type StreamId } from '../../../../schemas/catalog/stream-id.ts';
import { keyAvroSchema, valueAvroSchema } from '../../../../schemas/envelope/avro-schema.ts';
import type { StreamSchema } from '../../../../schemas/envelope/stream-schema.ts';
import { avroOracle } from '../../../support/avro-oracle.ts';
import { buffersOf } from '../../../support/buffers.ts';

/** One record as an independent Avro reader sees it; `value` null is a tombstone. */
export interface SeenRecord {
  readonly stream: string;
  readonly partition: number;
  readonly key: Record<string, unknown> | null;
  readonly value: SeenEnvelope | null;
}

export interface SeenEnvelope {
  readonly before: Record<string, unknown> | null;
  readonly after: Record<string, unknown> | null;
  readonly source: Record<string, unknown>;
  readonly op: string;
  readonly unchanged: string[] | null;
}

/** Schemas as a registry would keep them, by id. */
export class Registry {
  readonly schemas: StreamSchema[] = [];
  readonly types = new Map<number, avsc.Type>();
  private readonly ids = new Map<string, SchemaIds>();

  register = async (schema: StreamSchema): Promise<SchemaIds> => {
    const text = JSON.stringify(schema);
    const known = this.ids.get(text);
    if (known !== undefined) return known;
    const topic = `t.${streamLabel(schema.stream)}`;
    const base = this.types.size + 1;
    const ids = { key: base, value: base + 1, truncateKey: 900_000 };
    this.types.set(ids.key, avroOracle(keyAvroSchema(topic, schema)));
    this.types.set(ids.value, avroOracle(valueAvroSchema(topic, schema)));
    this.ids.set(text, ids);
    this.schemas.push(schema);
    return ids;
  };

  decode(bytes: Buffer): unknown {
    if (bytes[0] !== 0) throw new Error('no wire header');
    const id = bytes.readInt32BE(1);
    if (id === 900_000) return {};
    const type = this.types.get(id);
    if (type === undefined) throw new Error(`schema ${id} is unknown`);
    return type.fromBuffer(bytes.subarray(5));
  }
}

export interface RunOptions {
  readonly streams: readonly (string | StreamId)[];
  readonly state?: SourceState | null;
  readonly partitions?: number;
  readonly maxBufferedBytes?: number;
  readonly maxRecordBytes?: number;
  readonly maxTransactionMs?: number;
  readonly registry?: Registry;
  readonly decode?: boolean;
  /** The copy that is wanted of every stream. */
  readonly copy?: string;
  /** Postgres when none is given. */
  readonly source?: Source;
}

function streamOf(name: string | StreamId): StreamId {
  return typeof name === 'string' ? { namespace: 'public', name } : name;
}

export function configOf(server: LocalServer, extra: Record<string, unknown> = {}) {
  return {
    host: server.host,
    port: server.port,
    database: 'postgres',
    username: 'postgres',
    ssl_mode: { mode: 'disable' },
    replication_method: {
      method: 'CDC',
      replication_slot: 'headrace',
      publication: 'headrace',
      create: true,
    },
    ...extra,
  };
}

/** A source under a stand-in for the runner: it takes batches, keeps the committed state and reads
 * the records back. */
export class Run {
  readonly records: SeenRecord[] = [];
  readonly batches: { records: number; bytes: number; state: SourceState | null }[] = [];
  state: SourceState | null;
  failure: Error | null = null;
  total = 0;
  acknowledging = true;
  readonly registry: Registry;
  private readonly reader: SourceReader;
  private readonly decode: boolean;
  private readonly source: Source;
  private pending: SeenRecord[] = [];
  private changed: (() => void)[] = [];
  private gate: Promise<void> = Promise.resolve();
  readonly finished: Promise<void>;

  constructor(reader: SourceReader, options: RunOptions, registry: Registry) {
    this.reader = reader;
    this.registry = registry;
    this.source = options.source ?? source;
    this.state = options.state ?? null;
    this.decode = options.decode ?? true;
    this.finished = this.pump();
  }

  static async open(config: Record<string, unknown>, options: RunOptions): Promise<Run> {
    const registry = options.registry ?? new Registry();
    const open: SourceOpenOptions = {
      sourceId: 'source-1',
      serverName: 'headrace.test',
      config,
      streams: options.streams.map((name) => ({
        stream: streamOf(name),
        partitions: options.partitions ?? 1,
        ...(options.copy === undefined ? {} : { copy: options.copy }),
      })),
      state: options.state ?? null,
      registerSchema: registry.register,
      maxRecordBytes: options.maxRecordBytes ?? 8 * 1024 * 1024,
      buffers: buffersOf(options.maxBufferedBytes ?? 16 * 1024 * 1024),
      maxTransactionMs: options.maxTransactionMs ?? 60_000,
      signal: new AbortController().signal,
    };
    return new Run(await (options.source ?? source).open(open), options, registry);
  }

  /** Nothing is taken until the promise resolves: a stalled consumer. */
  stallUntil(promise: Promise<void>): void {
    this.gate = promise;
  }

  private async pump(): Promise<void> {
    try {
      for (;;) {
        await this.gate;
        const batch = await this.reader.next();
        if (batch === null) return;
        this.take(batch);
      }
    } catch (error) {
      this.failure = error as Error;
    } finally {
      this.notify();
    }
  }

  private take(batch: SourceBatch): void {
    this.total += batch.records;
    this.batches.push({ records: batch.records, bytes: batch.bytes, state: batch.state });
    if (batch.discards === true) this.pending = [];
    if (this.decode) this.read(batch);
    if (batch.state !== null) {
      // What a crash would leave: records become visible with the state that commits them.
      this.records.push(...this.pending);
      this.pending = [];
      this.state = batch.state;
    }
    if (this.acknowledging) this.reader.acknowledge(batch);
    this.notify();
  }

  private read(batch: SourceBatch): void {
    for (const { stream, partition, arena } of batch.parts) {
      let start = 0;
      for (let i = 0; i < arena.count; i++) {
        const keyEnd = arena.keyEnds[i] as number;
        const valueEnd = arena.valueEnds[i] as number;
        const bytes = (from: number, to: number) =>
          from === to
            ? null
            : this.registry.decode(Buffer.from(arena.out.bytes.subarray(from, to)));
        this.pending.push({
          stream: streamLabel(stream),
          partition,
          key: bytes(start, keyEnd) as SeenRecord['key'],
          value: bytes(keyEnd, valueEnd) as SeenEnvelope | null,
        });
        start = valueEnd;
      }
    }
  }

  private notify(): void {
    const { changed } = this;
    this.changed = [];
    for (const wake of changed) wake();
  }

  /** Waits until what was taken satisfies the condition; a failure of the reader ends the wait. */
  async until(condition: () => boolean, what = 'the condition'): Promise<void> {
    const deadline = Date.now() + 60_000;
    while (!condition()) {
      if (this.failure !== null) throw this.failure;
      if (Date.now() > deadline) {
        throw new Error(
          `gave up waiting for ${what}; ${this.total} records, ${JSON.stringify(this.progress())}`,
        );
      }
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, 100);
        this.changed.push(() => {
          clearTimeout(timer);
          resolve();
        });
      });
    }
  }

  /** Waits until everything committed before the call was handed over. */
  async caughtUp(config: Record<string, unknown>): Promise<void> {
    const position = await this.source.currentPosition(config);
    await this.until(
      () => this.progress().phase === 'streaming' && this.progress().readThrough >= position,
      `position ${position}`,
    );
  }

  async failed(): Promise<Error> {
    await this.finished;
    if (this.failure === null) throw new Error('the reader ended without an error');
    return this.failure;
  }

  progress() {
    return this.reader.progress();
  }

  events(stream?: string): SeenEnvelope[] {
    return this.records
      .filter(
        (record) => record.value !== null && (stream === undefined || record.stream === stream),
      )
      .map((record) => record.value as SeenEnvelope);
  }

  async close(): Promise<void> {
    await this.reader.close();
    await this.finished;
  }
}

export async function sqlClient(server: LocalServer, database = 'postgres'): Promise<pg.Client> {
  const client = new pg.Client({
    host: server.host,
    port: server.port,
    user: 'postgres',
    database,
    types: { getTypeParser: () => (value: string) => value } as unknown as pg.CustomTypesConfig,
  });
  client.on('error', () => {});
  await client.connect();
  return client;
}

/** A database of its own on a shared server, with its slot and publication dropped at the end. */
export async function freshDatabase(
  server: LocalServer,
  name: string,
): Promise<{ config: Record<string, unknown>; sql: pg.Client } & AsyncDisposable> {
  const admin = await sqlClient(server);
  await admin.query(`CREATE DATABASE ${name} TEMPLATE template0 ENCODING 'UTF8'`);
  const config = configOf(server, {
    database: name,
    replication_method: {
      method: 'CDC',
      replication_slot: `s_${name}`,
      publication: `p_${name}`,
      create: true,
    },
  });
  const sql = await sqlClient(server, name);
  return {
    config,
    sql,
    async [Symbol.asyncDispose]() {
      await sql.end();
      await admin.query(
        `SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE active_pid IS NOT NULL AND database = '${name}'`,
      );
      await source.release({ sourceId: 'source-1', config });
      await admin.query(`DROP DATABASE ${name} WITH (FORCE)`);
      await admin.end();
    },
  };
}
