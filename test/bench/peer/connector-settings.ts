import type { LocalServer } from '../../../deploy/local/local-server.ts';

/** Settings of Kafka Connect and of the connectors, as properties: the best that were found for
 * throughput, and those for latency. What was tried stands in docs/benchmarks.md. */
export type Properties = Readonly<Record<string, string>>;

export interface Tuning {
  readonly jvm: readonly string[];
  readonly lingerMs: number;
  readonly pollMs: number;
}

const HEAP = ['-Xms2g', '-Xmx2g'];

export const FOR_THROUGHPUT: Tuning = {
  jvm: [...HEAP, '-XX:+UseParallelGC'],
  lingerMs: 20,
  pollMs: 50,
};

export const FOR_LATENCY: Tuning = {
  jvm: [...HEAP, '-XX:+UseG1GC', '-XX:MaxGCPauseMillis=20'],
  lingerMs: 0,
  pollMs: 5,
};

export interface WorkerPlace {
  readonly kafka: LocalServer;
  readonly port: number;
  readonly plugins: string;
  readonly offsetsFile: string;
}

export function worker(place: WorkerPlace, tuning: Tuning, converters: Properties): Properties {
  return {
    'bootstrap.servers': place.kafka.url,
    listeners: `http://127.0.0.1:${place.port}`,
    'plugin.path': place.plugins,
    'plugin.discovery': 'service_load',
    'offset.storage.file.filename': place.offsetsFile,
    'offset.flush.interval.ms': '10000',
    'producer.linger.ms': String(tuning.lingerMs),
    'producer.batch.size': '524288',
    'producer.buffer.memory': '134217728',
    'producer.compression.type': 'lz4',
    'consumer.max.partition.fetch.bytes': '10485760',
    'consumer.fetch.max.bytes': '52428800',
    'consumer.auto.offset.reset': 'earliest',
    ...converters,
  };
}

/** JSON without schemas: the lightest that Connect writes. Its JDBC sink cannot read it. */
export function jsonConverters(): Properties {
  return forKeyAndValue({
    '': 'org.apache.kafka.connect.json.JsonConverter',
    '.schemas.enable': 'false',
  });
}

export function avroConverters(registryUrl: string): Properties {
  return forKeyAndValue({
    '': 'io.apicurio.registry.utils.converter.AvroConverter',
    '.apicurio.registry.url': registryUrl,
    '.apicurio.registry.auto-register': 'true',
    '.apicurio.registry.find-latest': 'false',
    '.apicurio.registry.check-period-ms': '3600000',
    '.apicurio.registry.headers.enabled': 'false',
    '.schema.name.adjustment.mode': 'avro',
  });
}

function forKeyAndValue(settings: Properties): Properties {
  const pairs = Object.entries(settings);
  return Object.fromEntries(
    ['key', 'value'].flatMap((side) => pairs.map(([end, set]) => [`${side}.converter${end}`, set])),
  );
}

export interface SourceTask {
  readonly server: LocalServer;
  readonly table: string;
  /** Also the prefix of its topics. */
  readonly slot: string;
  readonly snapshot: 'initial' | 'no_data';
}

export const PEER_PUBLICATION = 'peer';

/** The topic that a source task writes a table's changes to. */
export function peerTopic({ slot, table }: Pick<SourceTask, 'slot' | 'table'>): string {
  return `${slot}.public.${table}`;
}

export function sourceConnector(task: SourceTask, tuning: Tuning): Properties {
  return {
    name: `source-${task.slot}`,
    'connector.class': 'io.debezium.connector.postgresql.PostgresConnector',
    'tasks.max': '1',
    'database.hostname': task.server.host,
    'database.port': String(task.server.port),
    'database.user': 'postgres',
    'database.password': 'unused',
    'database.dbname': 'postgres',
    'topic.prefix': task.slot,
    'plugin.name': 'pgoutput',
    'slot.name': task.slot,
    'publication.name': PEER_PUBLICATION,
    'publication.autocreate.mode': 'disabled',
    'table.include.list': `public.${task.table}`,
    'snapshot.mode': task.snapshot,
    'snapshot.fetch.size': '10240',
    'snapshot.max.threads': '1',
    'max.batch.size': '2048',
    'max.queue.size': '8192',
    'poll.interval.ms': String(tuning.pollMs),
    'decimal.handling.mode': 'precise',
  };
}

export interface SinkTask {
  readonly server: LocalServer;
  readonly topic: string;
  /** With its schema; it must exist. */
  readonly table: string;
  readonly tasks: number;
  /** Records in one statement, and in one poll of its consumer. */
  readonly batch: number;
  readonly unnest: boolean;
}

export function sinkConnector(task: SinkTask): Properties {
  const { host, port } = task.server;
  return {
    // Its consumer group is named by it: a new name reads the topic from the beginning.
    name: `sink-${task.table}`,
    'connector.class': 'io.debezium.connector.jdbc.JdbcSinkConnector',
    'tasks.max': String(task.tasks),
    topics: task.topic,
    'connection.url': `jdbc:postgresql://${host}:${port}/postgres?reWriteBatchedInserts=true`,
    'connection.username': 'postgres',
    'connection.password': 'unused',
    'connection.pool.min_size': '1',
    'connection.pool.max_size': '4',
    'insert.mode': 'upsert',
    'primary.key.mode': 'record_key',
    'delete.enabled': 'false',
    'schema.evolution': 'none',
    'collection.name.format': task.table,
    'batch.size': String(task.batch),
    'use.reduction.buffer': 'false',
    'dialect.postgres.unnest.insert.enabled': String(task.unnest),
    'consumer.override.max.poll.records': String(task.batch),
    'consumer.override.fetch.min.bytes': '1',
  };
}
