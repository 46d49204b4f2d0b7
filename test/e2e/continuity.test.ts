import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { KafkaClient } from '../../topics/kafka-client.ts';
import {
  cdcSourceConfig,
  createConnection,
  createDestination,
  createSource,
  postgresConfig,
  query,
  startRig,
  statusOf,
  sync,
  until,
  type Rig,
} from '../support/rig.ts';

/** What cannot go on without a gap fails the sync within 90 s and says why; the others go on. */
const LIMIT_MS = 90_000;
const TABLES = ['dropped', 'forgotten', 'emptied', 'unpublished', 'fine'];

describe('what cannot go on without a gap', () => {
  let rig: Rig;
  let connection: string;
  let written = 0;
  beforeAll(async () => {
    rig = await startRig();
    for (const table of TABLES) {
      await query(rig.source, `create table ${table} (k int primary key)`);
    }
    const sourceId = await createSource(rig, cdcSourceConfig(rig.source));
    const target = await createDestination(rig, 'postgres', postgresConfig(rig.target));
    connection = await createConnection(rig, sourceId, target, () => 'append_dedup');
    await write();
    expect(await sync(rig, connection)).toMatchObject({ job: { status: 'succeeded' } });
  }, 120_000);
  afterAll(() => rig[Symbol.asyncDispose]());

  async function write(): Promise<void> {
    written++;
    for (const table of TABLES)
      await query(rig.source, `insert into ${table} values ($1)`, [written]);
  }

  /** Syncs must fail, and within the limit one says so with the code: what was broken by an earlier
   * test fails a sync as well, and may be noticed first. */
  async function refused(code: RegExp): Promise<void> {
    await until(
      `a sync that fails with ${String(code)}`,
      async () => {
        const job = await sync(rig, connection, LIMIT_MS);
        expect(job.job.status).toBe('failed');
        return code.test(JSON.stringify(job.attempts.at(-1)?.attempt.failureSummary));
      },
      LIMIT_MS - 20_000,
    );
  }

  /** The stream nobody touched has all that was written. */
  async function othersGoOn(): Promise<void> {
    await until('the untouched stream', async () => {
      const rows = await query<{ k: number }>(rig.target, 'select max(k) as k from public.fine');
      return rows[0]?.k === written;
    });
  }

  it('a Kafka that is away is named while it is waited for, and then everything goes on', async () => {
    const troubleOf = async () => (await statusOf(rig, connection)).connectionReport?.error?.code;
    await rig.kafka?.kill();
    await until('the sink to say so', async () => (await troubleOf()) === 'KAFKA_UNAVAILABLE');
    await rig.kafka?.restart();
    await write();
    expect(await sync(rig, connection)).toMatchObject({ job: { status: 'succeeded' } });
    await othersGoOn();
    expect(await troubleOf()).toBeUndefined();
  });

  it('a dropped target table', { timeout: LIMIT_MS }, async () => {
    await query(rig.target, 'drop table public.dropped');
    await write();
    await refused(/DST_TABLE_CHANGED/);
    await othersGoOn();
  });

  it('a deleted offset row', { timeout: LIMIT_MS }, async () => {
    await query(rig.target, `delete from public._headrace_offsets where topic like '%.forgotten'`);
    await write();
    await refused(/DST_STATE_LOST/);
    await othersGoOn();
  });

  it('a deleted topic', { timeout: LIMIT_MS }, async () => {
    const kafka = new KafkaClient({
      kafka: { brokers: [`127.0.0.1:${rig.kafka.port}`], tls: null, sasl: null },
      topicPrefix: 'headrace',
      schemaRegistryUrl: null,
    });
    try {
      await kafka.admin.remove(['headrace.shop.public.emptied']);
    } finally {
      await kafka.close();
    }
    await write();
    await refused(/KAFKA_(TOPIC_GONE|IDENTITY_CHANGED)/);
    await othersGoOn();
  });

  it('a narrowed publication', { timeout: LIMIT_MS }, async () => {
    await query(rig.source, 'alter publication headrace drop table unpublished');
    await write();
    await refused(/SRC_(PUBLICATION_MISSING|STREAM_GONE)/);
    await othersGoOn();
  });

  it('a dropped slot', { timeout: LIMIT_MS }, async () => {
    await query(
      rig.source,
      `select pg_terminate_backend(active_pid) from pg_replication_slots where slot_name = 'headrace'`,
    );
    await until('the slot to be dropped', async () => {
      await query(rig.source, `select pg_drop_replication_slot('headrace')`);
      return true;
    });
    await write();
    await refused(/SRC_SLOT_MISSING/);
  });
});
