import { Kafka, logLevel } from 'kafkajs';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { armedFailpoints, armFailpoints } from '../../../core/run/failpoints.ts';
import type { LocalServer } from '../../../deploy/local/local-server.ts';
import { TopicReader } from '../../../topics/consume/topic-reader.ts';
import { KafkaClient } from '../../../topics/kafka-client.ts';
import type { StoredPosition } from '../../../topics/positions/stored-position.ts';
import type { TransactionRelay } from '../../../topics/produce/transaction-relay.ts';
import { KafkaCluster } from '../../../topics/wire/kafka-cluster.ts';
import { kafkaClusterContext } from '../../support/contexts.ts';
import { arenaOf, recordsOf } from '../../support/record-arenas.ts';
import { until } from '../../support/rig.ts';

/** Three brokers, every topic on all of them: what a broker's death and a leader's move do. */
let servers: Awaited<ReturnType<typeof kafkaClusterContext>>;
let kafka: KafkaClient;
/** Another view of the cluster for the test and its reader: the writer must find out by itself. */
let observer: KafkaCluster;

beforeAll(async () => {
  servers = await kafkaClusterContext();
  const settings = { brokers: servers.url.split(',') };
  kafka = new KafkaClient({ kafka: settings, topicPrefix: 'test', schemaRegistryUrl: null });
  observer = new KafkaCluster(settings);
}, 120_000);

afterEach(() => armFailpoints({ failpoints: null, failpointsAllowed: false }));

afterAll(async () => {
  observer.close();
  await kafka.close();
  await servers[Symbol.asyncDispose]();
});

interface Run {
  readonly topic: string;
  readonly partitions: number;
  readonly events: number;
  /** What happens before an event's transaction, or inside it, after the first half was written. */
  before(n: number): Promise<void>;
  inside(n: number): Promise<void>;
}

/** Commits numbered events, one to every partition in each transaction, with their position, and
 * begins anew from it whatever fails. Answers what a committed reader has seen, by partition. */
async function commitAll(run: Run): Promise<{ seen: number[][]; reopened: number }> {
  const { topic, partitions, events } = run;
  const reading = readAll(topic, partitions, events);
  let reopened = -1;
  for (let next = 0; next < events;) {
    reopened++;
    const writer = kafka.transactionWriter(`test.source.${topic}`);
    try {
      await writer.open({ timeoutMs: 60_000 });
      const stored = await kafka.positions.open(topic);
      next = Number(stored.state?.details['n'] ?? -1) + 1;
      for (; next < events; next++) await commitOne(writer, stored, run, next);
    } catch (error) {
      expect(error).toMatchObject({ code: expect.stringMatching(/^KAFKA_(REOPEN|UNAVAILABLE)$/) });
    }
    await writer.close();
  }
  return { seen: await reading, reopened };
}

async function commitOne(
  writer: TransactionRelay,
  stored: StoredPosition,
  run: Run,
  n: number,
): Promise<void> {
  const { topic, partitions } = run;
  await run.before(n);
  const parts = Array.from({ length: partitions }, (_, partition) => ({
    topic,
    partition,
    arena: arenaOf([['k', String(n)]]),
  }));
  await writer.append(parts.slice(1));
  await run.inside(n);
  const position = String(n).padStart(8, '0');
  await writer.commit([...parts.slice(0, 1), stored.part({ position, epoch: 1, details: { n } })]);
}

async function readAll(topic: string, partitions: number, events: number): Promise<number[][]> {
  await until('all brokers to know the topic', () => leaderOf(topic, partitions - 1));
  const reader = new TopicReader({ cluster: observer });
  const seen = Array.from({ length: partitions }, (): number[] => []);
  for (let partition = 0; partition < partitions; partition++) {
    await reader.assign({ topic, partition, offset: 'beginning' });
  }
  while (seen.some((values) => values.length < events)) {
    for (const batch of await reader.next()) {
      if (batch.error !== undefined) throw batch.error;
      seen[batch.partition]?.push(...recordsOf(batch.records).map(({ value }) => Number(value)));
    }
  }
  await reader.close();
  return seen;
}

function brokerOf(nodeId: number): LocalServer {
  return servers.brokers[nodeId - 1] as LocalServer;
}

async function leaderOf(topic: string, partition: number): Promise<number> {
  observer.forget(topic);
  return observer.leaderOf(topic, partition);
}

const nothing = async (): Promise<void> => undefined;

test(
  'KA-01: a leader dead for long, and the coordinator killed inside a transaction',
  { timeout: 180_000 },
  async () => {
    const topic = 'killed';
    await kafka.admin.ensure([{ topic, partitions: 2, configs: {} }]);
    let leader = 0;
    let coordinator = 0;
    let restarting: Promise<unknown> = Promise.resolve();
    const events = 40;
    const { seen, reopened } = await commitAll({
      topic,
      partitions: 2,
      events,
      before: async (n) => {
        if (n === 10 && leader === 0) {
          leader = await leaderOf(topic, 1);
          await brokerOf(leader).kill();
        }
        // Only what was written in between brings it back: the others go on without it.
        if (n === 20 && coordinator === 0) await brokerOf(leader).restart();
      },
      inside: async (n) => {
        if (n !== 30 || coordinator !== 0) return;
        // Two ids take turns, so that one of them has this transaction open.
        const ids = [`test.source.${topic}.a`, `test.source.${topic}.b`] as const;
        coordinator = await observer.coordinator('transaction', ids[0]);
        await brokerOf(coordinator).kill();
        restarting = brokerOf(coordinator).restart();
      },
    });
    await restarting;
    expect(reopened).toBeGreaterThanOrEqual(1);
    const wanted = Array.from({ length: events }, (_, n) => n);
    expect(seen).toEqual([wanted, wanted]);
  },
);

test(
  'KA-02: the outcome of EndTxn unknown, and its coordinator dead',
  { timeout: 120_000 },
  async () => {
    const topic = 'unknown';
    await kafka.admin.ensure([{ topic, partitions: 1, configs: {} }]);
    const events = 12;
    let restarting: Promise<unknown> = Promise.resolve();
    let armed = false;
    const { seen, reopened } = await commitAll({
      topic,
      partitions: 1,
      events,
      before: async (n) => {
        if (n !== 6 || armed) return;
        armed = true;
        // The request is on its way, and its answer is never read.
        armFailpoints({ failpoints: 'kafka.commit_sent=error', failpointsAllowed: true });
        const coordinator = await observer.coordinator('transaction', `test.source.${topic}.a`);
        restarting = (async () => {
          await until('the request to be sent', async () => armedFailpoints().length === 0);
          await brokerOf(coordinator).kill();
          await brokerOf(coordinator).restart();
        })();
      },
      inside: nothing,
    });
    await restarting;
    expect(reopened).toBeGreaterThanOrEqual(1);
    expect(seen).toEqual([Array.from({ length: events }, (_, n) => n)]);
  },
);

test(
  'a partition whose leader moves between two sends loses nothing',
  { timeout: 180_000 },
  async () => {
    const topic = 'moved';
    const admin = new Kafka({
      brokers: servers.url.split(','),
      logLevel: logLevel.NOTHING,
    }).admin();
    await admin.connect();
    await admin.createTopics({
      topics: [
        {
          topic,
          replicaAssignment: [
            { partition: 0, replicas: [1] },
            { partition: 1, replicas: [2] },
          ],
          configEntries: [{ name: 'min.insync.replicas', value: '1' }],
        },
      ],
      waitForLeaders: true,
    });
    const move = async (replica: number): Promise<void> => {
      await admin.alterPartitionReassignments({
        topics: [{ topic, partitionAssignment: [{ partition: 1, replicas: [replica] }] }],
      });
      await until('the leader to move', async () => (await leaderOf(topic, 1)) === replica);
    };
    const moved = new Set<number>();
    const events = 24;
    const { seen } = await commitAll({
      topic,
      partitions: 2,
      events,
      before: async (n) => {
        // To the broker that leads the other partition, and away from it again.
        if (n % 6 !== 3 || moved.has(n)) return;
        moved.add(n);
        await move(moved.size % 2 === 1 ? 1 : 3);
      },
      inside: nothing,
    });
    await admin.disconnect();
    expect(moved.size).toBe(4);
    const wanted = Array.from({ length: events }, (_, n) => n);
    expect(seen).toEqual([wanted, wanted]);
  },
);
