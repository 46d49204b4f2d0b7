import { setTimeout as delay } from 'node:timers/promises';
import type { LocalServer } from '../../../deploy/local/local-server.ts';
import { fetchRequest, readFetchAnswer } from '../../../topics/consume/fetch-request.ts';
import { LATEST } from '../../../topics/wire/cluster-requests.ts';
import { KafkaCluster } from '../../../topics/wire/kafka-cluster.ts';

/** What lies in a topic for a reader of committed records, and when the broker appended it. */
export interface Census {
  readonly records: number;
  /** Epoch milliseconds by the broker's clock. */
  readonly firstAppend: number;
  /** Of the last batch, the marker of a committed transaction included. */
  readonly lastAppend: number;
}

const LOOK_MS = 50;
const HEADER_BYTES = 61;
const CONTROL = 0x20;
const APPEND_TIME = 0x08;
const NO_SESSION = -1;
const LIMITS = { maxWaitMs: 100, maxBytes: 16_777_216, partitionMaxBytes: 16_777_216 };

/**
 * Waits until the topic holds that many committed records. Only ends of partitions are asked for
 * until they might be there; then the batches' headers are read, which say how many each holds.
 * `check` throws when there is nothing more to wait for.
 */
export async function untilTopicHolds(
  kafka: LocalServer,
  topic: string,
  records: number,
  check: () => void = () => undefined,
): Promise<Census> {
  const cluster = new KafkaCluster({ brokers: [kafka.url] });
  try {
    const count = new TopicCount(cluster, topic);
    const deadline = Date.now() + 900_000;
    while (count.records < records) {
      if (Date.now() > deadline) {
        throw new Error(`${topic} holds ${count.records} of ${records} records`);
      }
      check();
      await delay(LOOK_MS);
      if ((await count.ends()) >= records) await count.readOn();
    }
    if (count.records > records) throw new Error(`${topic} holds ${count.records} records`);
    return count;
  } finally {
    cluster.close();
  }
}

class TopicCount implements Census {
  records = 0;
  firstAppend = Number.POSITIVE_INFINITY;
  lastAppend = 0;
  private readonly cluster: KafkaCluster;
  private readonly topic: string;
  private readonly positions = new Map<number, number>();

  constructor(cluster: KafkaCluster, topic: string) {
    this.cluster = cluster;
    this.topic = topic;
  }

  /** Sum of the last stable offsets; 0 while the topic does not exist. */
  async ends(): Promise<number> {
    const { topics } = await this.cluster.refresh([this.topic]);
    if (topics[0]?.errorCode !== 0) return 0;
    const queries = topics[0].partitions.map(({ partition }) => ({ partition, time: LATEST }));
    const ends = await this.cluster.offsets(this.topic, queries, true);
    return [...ends.values()].reduce((sum, end) => sum + end, 0);
  }

  /** Reads from where it stands to the present end. */
  async readOn(): Promise<void> {
    const { topicId, partitions } = await this.cluster.topic(this.topic);
    for (const { partition, leader, leaderEpoch } of partitions) {
      const connection = await this.cluster.connect(leader);
      try {
        for (let more = true; more;) {
          const offset = this.positions.get(partition) ?? 0;
          const target = { topicId, partition, position: offset, leaderEpoch };
          const step = { id: 0, epoch: NO_SESSION, changed: [target], forgotten: [] };
          const request = fetchRequest(step, LIMITS);
          const [fetched] = readFetchAnswer(await connection.request(request)).partitions;
          if (fetched === undefined || fetched.errorCode !== 0 || fetched.aborted.length > 0) {
            throw new Error(`${this.topic} cannot be counted: ${JSON.stringify(fetched)}`);
          }
          const next = this.take(fetched.records, offset);
          this.positions.set(partition, next);
          more = next > offset && next < fetched.lastStableOffset;
        }
      } finally {
        connection.close();
      }
    }
  }

  /** Answers the offset behind the last whole batch. */
  private take(bytes: Buffer, offset: number): number {
    let next = offset;
    for (let pos = 0; pos + HEADER_BYTES <= bytes.length;) {
      const end = pos + 12 + bytes.readInt32BE(pos + 8);
      if (end > bytes.length) break;
      const attributes = bytes.readInt16BE(pos + 21);
      if ((attributes & APPEND_TIME) === 0) throw new Error('batches have no append time');
      const appended = Number(bytes.readBigInt64BE(pos + 35));
      if ((attributes & CONTROL) === 0) this.records += bytes.readInt32BE(pos + 57);
      this.firstAppend = Math.min(this.firstAppend, appended);
      this.lastAppend = Math.max(this.lastAppend, appended);
      next = Number(bytes.readBigInt64BE(pos)) + bytes.readInt32BE(pos + 23) + 1;
      pos = end;
    }
    return next;
  }
}
