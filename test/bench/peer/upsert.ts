import { setTimeout as delay } from 'node:timers/promises';
import type pg from 'pg';
import { columnsOf, digest } from '../../support/digest.ts';
import { connectTo, query, type Rig } from '../../support/rig.ts';
import { createOrders, writeBacklog } from '../backlog.ts';
import { ApicurioStub } from './apicurio-stub.ts';
import { untilTopicHolds } from './census.ts';
import { startConnect } from './connect.ts';
import {
  avroConverters,
  FOR_THROUGHPUT,
  peerTopic,
  sinkConnector,
  type Properties,
} from './connector-settings.ts';
import { compared, conditions, contest, rounded, type Figures, type Side } from './contest.ts';
import { CHANGES } from './drain.ts';
import {
  addConnection,
  addSource,
  headraceTopic,
  pidsOf,
  setActive,
  stopRole,
  untilStreaming,
} from './headrace-side.ts';
import {
  checkpoint,
  copiedSlot,
  createBaseSlot,
  createPeerOrders,
  startPeerRig,
} from './servers.ts';
import { peerSourceRun } from './source-runs.ts';
import { Usage } from './usage.ts';

const LOCK_LOOK_MS = 10;
const ROWS_LOOK_MS = 250;
const PATIENCE_MS = 900_000;
const LAST_ROWS = 100;

/**
 * A topic of changes to a table with one row per key, which must equal the source's in the end. Each
 * system reads what its own source wrote, all of it before the first run. The peer's records are in
 * Avro: its sink needs records with a schema.
 */
export async function upsert(): Promise<Record<string, unknown>> {
  await using registry = new ApicurioStub();
  await using rig = await startPeerRig(['api', 'scheduler', 'source', 'sink']);
  await stopRole(rig, 'sink');
  await createPeerOrders(rig);
  await createBaseSlot(rig);
  await createOrders(rig.target);
  const sourceId = await captured(rig);
  const avro = avroConverters(await registry.listen());
  const medians = await contest([
    { name: 'headrace', run: (run) => headraceRun(rig, sourceId, `run${run}`) },
    await peer(rig, avro, 1),
    await peer(rig, avro, 2),
  ]);
  const { headrace, debezium_1_task, debezium_2_tasks } = medians;
  return {
    changes: CHANGES,
    ...conditions(),
    medians,
    overOneTask: compared(headrace, debezium_1_task, 2.5),
    overTwoTasks: compared(headrace, debezium_2_tasks, 1.5),
  };
}

/** The changes, written and captured by Headrace; its source then makes way. */
async function captured(rig: Rig): Promise<string> {
  const source = await addSource(rig, 'captured');
  await untilStreaming(rig, source.connectionId);
  await writeBacklog(rig.source, CHANGES);
  await untilTopicHolds(rig.kafka, headraceTopic(source.name, 'orders'), CHANGES);
  await setActive(rig, source.connectionId, false);
  await stopRole(rig, 'source');
  return source.sourceId;
}

async function headraceRun(rig: Rig, sourceId: string, schema: string): Promise<Figures> {
  const connectionId = await addConnection(rig, sourceId, schema);
  await checkpoint(rig);
  const usage = new Usage(rig, () => pidsOf(rig));
  const startedAt = Date.now();
  const landed = untilLanded(rig, `${schema}.orders`, startedAt);
  await rig.start('sink');
  const pace = await landed;
  const figures = withCost(usage.end());
  await stopRole(rig, 'sink');
  await setActive(rig, connectionId, false);
  return { ...figures, ...(await proven(rig, `${schema}.orders`, pace)) };
}

/** The peer's topic is filled at once, by a source connector of its own; each run reads it anew. */
async function peer(rig: Rig, converters: Properties, tasks: number): Promise<Side> {
  const name = tasks === 1 ? 'debezium_1_task' : `debezium_${tasks}_tasks`;
  const task = await copiedSlot(rig, `${name}_source`);
  await peerSourceRun(rig, { task, partitions: tasks, converters }, CHANGES);
  const topic = peerTopic(task);
  const run = async (number: number): Promise<Figures> => {
    const schema = `${name}_${number}`;
    const table = `${schema}.orders`;
    await query(rig.target, `create schema ${schema}`);
    await query(rig.target, `create table ${table} (like public.orders including all)`);
    const sink = { server: rig.target, topic, table, tasks, batch: 5_000, unnest: true };
    await checkpoint(rig);
    const pids: number[] = [];
    const usage = new Usage(rig, () => pids);
    await using connect = await startConnect({
      kafka: rig.kafka,
      tuning: FOR_THROUGHPUT,
      converters,
      connectors: [sinkConnector(sink)],
    });
    pids.push(connect.pid);
    const pace = await untilLanded(rig, table, connect.startedAt, connect.check);
    const figures = withCost(usage.end());
    return { ...figures, ...(await proven(rig, table, pace)) };
  };
  return { name, run };
}

interface Landing {
  readonly startedAt: number;
  readonly firstWrite: number;
}

/**
 * Waits until the last rows hold their last change, then until all do. The first write is when a
 * transaction is first seen to hold the table for writing: by the first commit, one with large
 * transactions would have done much of its work already.
 */
async function untilLanded(
  rig: Rig,
  table: string,
  startedAt: number,
  check: () => void = () => undefined,
): Promise<Landing> {
  const target = await connectTo(rig.target);
  const deadline = Date.now() + PATIENCE_MS;
  const wait = async (ms: number): Promise<void> => {
    check();
    if (Date.now() > deadline) throw new Error(`${table} did not get all changes`);
    await delay(ms);
  };
  try {
    while (!(await isWritten(target, table))) await wait(LOCK_LOOK_MS);
    const firstWrite = Date.now();
    const half = CHANGES / 2;
    const paid = async (from: number): Promise<number> => {
      const { rows } = await target.query<{ n: number }>(
        `select count(*)::int n from ${table} where status = 'paid' and id > ${from}`,
      );
      return rows[0]?.n ?? 0;
    };
    while ((await paid(half - LAST_ROWS)) < LAST_ROWS) await wait(ROWS_LOOK_MS);
    while ((await paid(0)) < half) await wait(ROWS_LOOK_MS);
    return { startedAt, firstWrite };
  } finally {
    await target.end();
  }
}

async function isWritten(target: pg.Client, table: string): Promise<boolean> {
  const { rows } = await target.query<{ written: boolean }>({
    name: 'is-written',
    text: `select exists (select from pg_locks where mode = 'RowExclusiveLock'
             and relation = to_regclass($1)) written`,
    values: [table],
  });
  return rows[0]?.written === true;
}

function withCost(used: Figures): Figures {
  const { systemCpuSeconds = 0, targetCpuSeconds = 0 } = used;
  const micros = ((systemCpuSeconds + targetCpuSeconds) * 1e6) / CHANGES;
  return { cpuMicrosPerChange: rounded(micros), ...used };
}

/** Rows and checksum equal the source's; the last commit is when the youngest row became visible. */
async function proven(rig: Rig, table: string, landing: Landing): Promise<Figures> {
  const columns = await columnsOf(rig.source, 'orders');
  const here = await digest(rig.source, 'orders', columns);
  const there = await digest(rig.target, table, columns);
  if (there.rows !== here.rows || there.hash !== here.hash) {
    throw new Error(`${table} differs from the source`);
  }
  const [last] = await query<{ ms: number }>(
    rig.target,
    `select extract(epoch from max(pg_xact_commit_timestamp(xmin)))::float8 * 1000 ms from ${table}`,
  );
  const { startedAt, firstWrite } = landing;
  const lastCommit = last?.ms ?? Number.NaN;
  return {
    perSecond: Math.round((CHANGES * 1000) / (lastCommit - firstWrite)),
    wallSeconds: rounded((lastCommit - startedAt) / 1000),
    firstWriteSeconds: rounded((firstWrite - startedAt) / 1000),
  };
}
