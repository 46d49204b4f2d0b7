import { WIRE_HEADER_BYTES } from '../../../schemas/envelope/record-view.ts';
import { digest } from '../../support/digest.ts';
import { query, sync, until, type Rig } from '../../support/rig.ts';
import { createEvents, RATE, singleRowDelays, spread } from '../single-row-load.ts';
import { ApicurioStub } from './apicurio-stub.ts';
import { startConnect } from './connect.ts';
import {
  avroConverters,
  FOR_LATENCY,
  PEER_PUBLICATION,
  peerTopic,
  sinkConnector,
  sourceConnector,
  type Properties,
} from './connector-settings.ts';
import { conditions, contest, times, type Figures } from './contest.ts';
import { addSource, headraceTopic, pidsOf, stopRole } from './headrace-side.ts';
import { checkpoint, startPeerRig } from './servers.ts';
import { makeTopic } from './source-runs.ts';
import { Usage } from './usage.ts';

const SECONDS = Number(process.env['BENCH_SECONDS'] ?? 60);
const WARM_UP_SECONDS = 15;
const ROWS_OF_RUN = RATE * (SECONDS + WARM_UP_SECONDS);
/** A zero byte and the eight of the schema's number. */
const APICURIO_HEADER_BYTES = 9;
const SOURCE = 'steady';
const COLUMNS = ['id', 'payload', 'at'];

/**
 * RATE single-row transactions a second, from commit to the topic and to the target's table: source
 * and sink connector in one Kafka Connect, tuned for latency, and Headrace with all of its services
 * in one process. Headrace reads records of committed transactions only; the peer has none.
 */
export async function latency(): Promise<Record<string, unknown>> {
  await using registry = new ApicurioStub();
  await using rig = await startPeerRig(['up']);
  await createEvents(rig.source);
  await query(rig.source, `create publication ${PEER_PUBLICATION} for table events`);
  const { connectionId } = await addSource(rig, SOURCE);
  await sync(rig, connectionId);
  await stopRole(rig, 'up');
  const avro = avroConverters(await registry.listen());
  let nextId = 0;
  const firstId = (): number => (nextId += ROWS_OF_RUN) - ROWS_OF_RUN;
  const { headrace, debezium } = await contest([
    { name: 'headrace', run: () => headraceRun(rig, connectionId, firstId()) },
    { name: 'debezium', run: (run) => peerRun(rig, `debezium_${run}`, avro, firstId()) },
  ]);
  const sooner = Object.fromEntries(
    DELAYS.map((figure) => [figure, times(debezium, headrace, figure)]),
  );
  const cpu = times(debezium, headrace, 'systemCpuSeconds');
  return {
    perSecond: RATE,
    seconds: SECONDS,
    ...conditions(),
    medians: { headrace, debezium },
    sooner,
    systemCpu: cpu,
    allCpu: times(debezium, headrace, 'allCpuSeconds'),
    met: (sooner['tableP50ms'] ?? 0) > 1 && (sooner['tableP99ms'] ?? 0) > 1 && cpu > 3,
  };
}

const DELAYS = ['topicP50ms', 'topicP99ms', 'tableP50ms', 'tableP99ms'] as const;

/** What was written meanwhile is delivered first. */
async function headraceRun(rig: Rig, connectionId: string, firstId: number): Promise<Figures> {
  await rig.start('up');
  await sync(rig, connectionId, 600_000);
  const figures = await measured(rig, () => pidsOf(rig), {
    table: `${SOURCE}.events`,
    topic: headraceTopic(SOURCE, 'events'),
    keyHeaderBytes: WIRE_HEADER_BYTES,
    firstId,
  });
  await stopRole(rig, 'up');
  return figures;
}

async function peerRun(
  rig: Rig,
  name: string,
  converters: Properties,
  firstId: number,
): Promise<Figures> {
  const server = rig.source;
  const task = { server, table: 'events', slot: name, snapshot: 'no_data' } as const;
  const topic = peerTopic(task);
  const table = `${name}.events`;
  await query(server, 'select pg_create_logical_replication_slot($1, $2)', [name, 'pgoutput']);
  await query(rig.target, `create schema ${name}`);
  const columns = 'id bigint primary key, payload text, at timestamptz';
  await query(rig.target, `create table ${table} (${columns})`);
  await makeTopic(rig.kafka, topic, 1);
  const sink = { server: rig.target, topic, table, tasks: 1, batch: 500, unnest: false };
  let figures: Figures;
  {
    await using connect = await startConnect({
      kafka: rig.kafka,
      tuning: FOR_LATENCY,
      converters,
      connectors: [sourceConnector(task, FOR_LATENCY), sinkConnector(sink)],
    });
    await until('a source connector that reads its slot', async () => {
      connect.check();
      const asked = 'select active from pg_replication_slots where slot_name = $1';
      return (await query<{ active: boolean }>(server, asked, [name]))[0]?.active;
    });
    const place = { table, topic, keyHeaderBytes: APICURIO_HEADER_BYTES, firstId };
    figures = await measured(rig, () => [connect.pid], place);
  }
  await query(server, 'select pg_drop_replication_slot($1)', [name]);
  return figures;
}

interface Place {
  readonly table: string;
  readonly topic: string;
  readonly keyHeaderBytes: number;
  readonly firstId: number;
}

/** The delays of one run, whose rows must be equal at both ends, and the CPU of its counted part. */
async function measured(rig: Rig, pids: () => readonly number[], place: Place): Promise<Figures> {
  await checkpoint(rig);
  const { delays, ended } = await singleRowDelays({
    ...place,
    source: rig.source,
    target: rig.target,
    kafka: rig.kafka,
    warmUpSeconds: WARM_UP_SECONDS,
    seconds: SECONDS,
    begin: async () => {
      const usage = new Usage(rig, pids);
      return async () => usage.end();
    },
  });
  const rows = `id between ${place.firstId} and ${place.firstId + ROWS_OF_RUN - 1}`;
  const here = await digest(rig.source, 'events', COLUMNS, rows);
  const there = await digest(rig.target, place.table, COLUMNS, rows);
  if (here.rows !== ROWS_OF_RUN || here.hash !== there.hash) {
    throw new Error(`${place.table} differs from the source`);
  }
  const topic = spread(delays.topic);
  const table = spread(delays.table);
  return {
    topicP50ms: topic.p50,
    topicP95ms: topic.p95,
    topicP99ms: topic.p99,
    tableP50ms: table.p50,
    tableP95ms: table.p95,
    tableP99ms: table.p99,
    tableMaxMs: table.max,
    ...ended,
  };
}
