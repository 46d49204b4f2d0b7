import type { LocalServer } from '../../../deploy/local/local-server.ts';
import { KafkaClient } from '../../../topics/kafka-client.ts';
import { query, type Rig } from '../../support/rig.ts';
import { untilTopicHolds, type Census } from './census.ts';
import { startConnect } from './connect.ts';
import {
  FOR_THROUGHPUT,
  peerTopic,
  sourceConnector,
  type Properties,
  type SourceTask,
} from './connector-settings.ts';
import { rounded, type Figures } from './contest.ts';
import {
  headraceTopic,
  pidsOf,
  setActive,
  stopRole,
  type CapturedSource,
} from './headrace-side.ts';
import { checkpoint } from './servers.ts';
import { Usage } from './usage.ts';

/** A source process of Headrace from its start until its table's topic holds the records. */
export async function headraceSourceRun(
  rig: Rig,
  source: CapturedSource,
  table: string,
  records: number,
): Promise<Figures> {
  await checkpoint(rig);
  await setActive(rig, source.connectionId, true);
  const usage = new Usage(rig, () => pidsOf(rig));
  const startedAt = Date.now();
  await rig.start('source');
  const topic = headraceTopic(source.name, table);
  const census = await untilTopicHolds(rig.kafka, topic, records);
  const figures = { ...pace(census, startedAt), ...usage.end() };
  await stopRole(rig, 'source');
  await setActive(rig, source.connectionId, false);
  await removeTopic(rig.kafka, topic);
  return figures;
}

export interface PeerRun {
  readonly task: SourceTask;
  readonly partitions: number;
  readonly converters: Properties;
}

/** Kafka Connect with one source connector from the start of its process on. Its slot goes with it. */
export async function peerSourceRun(rig: Rig, run: PeerRun, records: number): Promise<Figures> {
  const { task, partitions, converters } = run;
  const topic = peerTopic(task);
  await makeTopic(rig.kafka, topic, partitions);
  await checkpoint(rig);
  const pids: number[] = [];
  const usage = new Usage(rig, () => pids);
  let figures: Figures;
  {
    await using connect = await startConnect({
      kafka: rig.kafka,
      tuning: FOR_THROUGHPUT,
      converters,
      connectors: [sourceConnector(task, FOR_THROUGHPUT)],
    });
    pids.push(connect.pid);
    const census = await untilTopicHolds(rig.kafka, topic, records, connect.check);
    figures = { ...pace(census, connect.startedAt), ...usage.end() };
  }
  await query(rig.source, 'select pg_drop_replication_slot($1)', [task.slot]);
  return figures;
}

/** The rate is that of the work alone, without the start of the process, which the wall time has. */
function pace(census: Census, startedAt: number): Figures {
  const { records, firstAppend, lastAppend } = census;
  const rate = { perSecond: Math.round((records * 1000) / (lastAppend - firstAppend)) };
  return {
    ...(records > 1 ? rate : {}),
    wallSeconds: rounded((lastAppend - startedAt) / 1000),
    firstRecordSeconds: rounded((firstAppend - startedAt) / 1000),
  };
}

export async function makeTopic(
  kafka: LocalServer,
  topic: string,
  partitions: number,
): Promise<void> {
  await withKafka(kafka, ({ admin }) =>
    admin.ensure([{ topic, partitions, configs: { 'max.message.bytes': '10485760' } }]),
  );
}

export async function removeTopic(kafka: LocalServer, topic: string): Promise<void> {
  await withKafka(kafka, ({ admin }) => admin.remove([topic]));
}

async function withKafka<T>(
  kafka: LocalServer,
  work: (client: KafkaClient) => Promise<T>,
): Promise<T> {
  const client = new KafkaClient({
    kafka: { brokers: [kafka.url] },
    topicPrefix: 'headrace',
    schemaRegistryUrl: null,
  });
  try {
    return await work(client);
  } finally {
    await client.close();
  }
}
