import { setTimeout as delay } from 'node:timers/promises';
import avsc from 'avsc';
import { Kafka, logLevel } from 'kafkajs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  cdcSourceConfig,
  createConnection,
  createDestination,
  createSource,
  postgresConfig,
  query,
  startRig,
  sync,
  type Rig,
} from '../support/rig.ts';

interface Envelope {
  before: Record<string, unknown> | null;
  after: Record<string, unknown> | null;
  op: string;
  ts_ms: number;
  source: Record<string, unknown>;
}

const TOPIC = 'headrace.shop.public.orders';

/** What others have: a stock Kafka client, a stock Avro library, the registry's REST interface. */
describe('our topics, read by stock tools', () => {
  let rig: Rig;
  const keys: unknown[] = [];
  const values: (Envelope | null)[] = [];

  beforeAll(async () => {
    rig = await startRig();
    await query(
      rig.source,
      `create table orders (id int primary key, note text, amount numeric(10,2), at timestamp);
       insert into orders values (1, 'first', 1.50, '2024-01-02 03:04:05.678901');`,
    );
    const sourceId = await createSource(rig, cdcSourceConfig(rig.source));
    const destinationId = await createDestination(rig, 'postgres', postgresConfig(rig.target));
    const connectionId = await createConnection(rig, sourceId, destinationId, () => 'append_dedup');
    await sync(rig, connectionId);
    for (const statement of [
      `insert into orders values (2, 'second', 2.25, null)`,
      `update orders set note = 'changed' where id = 2`,
      `update orders set id = 3 where id = 2`,
      `delete from orders where id = 1`,
      `begin; insert into orders values (4, 'a', 1, null); insert into orders values (5, 'b', 1, null); commit`,
      `truncate orders`,
    ]) {
      await query(rig.source, statement);
    }
    await sync(rig, connectionId);
    await readTopic();
  });
  afterAll(() => rig[Symbol.asyncDispose]());

  async function schemaOf(id: number): Promise<avsc.Type> {
    const registry = [...rig.processes.values()][0]?.url as string;
    const answer = await fetch(`${registry}/schemas/ids/${id}`);
    const { schema } = (await answer.json()) as { schema: string };
    return avsc.Type.forSchema(JSON.parse(schema) as avsc.Schema);
  }

  async function decode(bytes: Buffer | null): Promise<unknown> {
    if (bytes === null) return null;
    expect(bytes[0]).toBe(0);
    return (await schemaOf(bytes.readInt32BE(1))).fromBuffer(bytes.subarray(5));
  }

  async function readTopic(): Promise<void> {
    const kafka = new Kafka({
      brokers: [`127.0.0.1:${rig.kafka.port}`],
      logLevel: logLevel.NOTHING,
    });
    const consumer = kafka.consumer({ groupId: 'a-stranger', readUncommitted: false });
    await consumer.connect();
    await consumer.subscribe({ topic: TOPIC, fromBeginning: true });
    const records: { key: Buffer | null; value: Buffer | null }[] = [];
    await consumer.run({
      eachMessage: async ({ message }) => {
        records.push({ key: message.key, value: message.value });
        await Promise.resolve();
      },
    });
    // r, c, u, d + tombstone, c, d + tombstone, c, c, t
    for (let waited = 0; records.length < 11 && waited < 20_000; waited += 50) await delay(50);
    await consumer.disconnect();
    for (const { key, value } of records) {
      keys.push(await decode(key));
      values.push((await decode(value)) as Envelope | null);
    }
  }

  it('hold every change in Debezium’s envelope', () => {
    const events = values.filter((value) => value !== null);
    expect(events.map(({ op }) => op).join('')).toBe('rcudcdcct');
    for (const event of events) {
      expect(Object.keys(event)).toEqual(
        expect.arrayContaining(['before', 'after', 'op', 'source', 'ts_ms']),
      );
      expect(Math.abs(Date.now() - event.ts_ms)).toBeLessThan(600_000);
    }
    expect(events[0]?.after).toMatchObject({ id: 1, note: 'first', amount: '1.50' });
    expect(events[0]?.after?.['at']).toBe(Date.UTC(2024, 0, 2, 3, 4, 5, 678) * 1000 + 901);
    expect(events[0]?.source).toMatchObject({
      snapshot: 'true',
      schema: 'public',
      table: 'orders',
    });
    expect(events[3]).toMatchObject({ op: 'd', before: { id: 2 }, after: null });
    expect(events[4]).toMatchObject({ op: 'c', before: null, after: { id: 3, note: 'changed' } });
  });

  it('follow each delete with a tombstone of the same key', () => {
    values.forEach((value, i) => {
      if (value !== null) return;
      expect(values[i - 1]?.op).toBe('d');
      expect(keys[i]).toEqual(keys[i - 1]);
    });
    expect(values.filter((value) => value === null).length).toBe(2);
  });

  it('give every streamed event a source block of its own', () => {
    const blocks = values
      .filter((value) => value !== null && value.op !== 'r')
      .map((value) => {
        const { ts_ms: _ms, ts_us: _us, ...block } = (value as Envelope).source;
        return JSON.stringify(block);
      });
    expect(new Set(blocks).size).toBe(blocks.length);
  });

  it('have their subjects in the registry', async () => {
    const registry = [...rig.processes.values()][0]?.url as string;
    const subjects = (await (await fetch(`${registry}/subjects`)).json()) as string[];
    expect(subjects).toEqual(expect.arrayContaining([`${TOPIC}-key`, `${TOPIC}-value`]));
    const latest = await fetch(`${registry}/subjects/${TOPIC}-value/versions/latest`);
    expect(await latest.json()).toMatchObject({ subject: `${TOPIC}-value`, version: 1 });
  });
});
