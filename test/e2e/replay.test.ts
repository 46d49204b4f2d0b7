import { execFile } from 'node:child_process';
import { KafkaClient } from '../../topics/kafka-client.ts';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
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

interface Replayed {
  readonly streams: readonly { readonly replay?: { readonly status: string } }[];
}

describe('headrace replay', () => {
  let rig: Rig;
  let connectionId: string;

  beforeAll(async () => {
    rig = await startRig();
    await query(rig.source, `CREATE TABLE notes (id int PRIMARY KEY, body text)`);
    await query(rig.source, `INSERT INTO notes SELECT i, 'n' || i FROM generate_series(1, 2000) i`);
    const sourceId = await createSource(rig, cdcSourceConfig(rig.source));
    const destinationId = await createDestination(rig, 'postgres', {
      ...postgresConfig(rig.target),
      schema: 'public',
    });
    connectionId = await createConnection(rig, sourceId, destinationId, () => 'append_dedup');
    await query(rig.source, `DELETE FROM notes WHERE id % 10 = 0`);
    await query(rig.source, `UPDATE notes SET body = 'new' WHERE id % 7 = 0`);
    expect((await sync(rig, connectionId)).job.status).toBe('succeeded');
  }, 120_000);

  afterAll(() => rig[Symbol.asyncDispose]());

  const rows = async (server: 'source' | 'target') =>
    query(rig[server], `SELECT id, body FROM notes ORDER BY id`);

  async function replay(...flags: string[]): Promise<string> {
    return new Promise((resolve, reject) => {
      const program = ['services/main.ts', 'replay', connectionId, ...flags];
      const env = { ...process.env, HEADRACE_API_PORT: String(rig.apiPort) };
      execFile(process.execPath, program, { env, timeout: 120_000 }, (error, out, err) =>
        error === null ? resolve(out) : reject(new Error(err)),
      );
    });
  }

  it('puts back by a rebuild what was spoilt, while changes come in', async () => {
    await query(rig.target, `UPDATE notes SET body = 'spoilt' WHERE id < 100`);
    await query(rig.target, `DELETE FROM notes WHERE id > 1990`);
    await query(rig.source, `INSERT INTO notes VALUES (5000, 'while it runs')`);
    await replay('--stream', 'public.notes', '--rebuild');
    expect((await sync(rig, connectionId)).job.status).toBe('succeeded');
    expect(await rows('target')).toEqual(await rows('source'));
  }, 120_000);

  it('refuses to begin behind the end, where a rebuild would leave nothing', async () => {
    const before = await rows('target');
    const flags = ['--stream', 'public.notes', '--rebuild', '--from'];
    await expect(replay(...flags, '99999999')).rejects.toThrow(
      /API_INVALID_REQUEST: from: offset 99999999 .*public\.notes ends at \d+/,
    );
    const tomorrow = new Date(Date.now() + 86_400_000).toISOString();
    await expect(replay(...flags, tomorrow)).rejects.toThrow(/API_INVALID_REQUEST: from: .*future/);
    expect((await sync(rig, connectionId)).job.status).toBe('succeeded');
    expect(await rows('target')).toEqual(before);
  }, 60_000);

  it('mends a truncated table, in place changes nothing, and survives kills', async () => {
    await query(rig.target, `TRUNCATE notes`);
    await query(rig.source, `INSERT INTO notes VALUES (5001, 'after')`);
    await until('the stream to stop', async () =>
      JSON.stringify(await statusOf(rig, connectionId)).includes('DST_TABLE_CHANGED'),
    );
    await replay('--no-wait');
    await rig.processes.get('up')?.kill();
    await rig.start('up');
    await until('the replay to end', async () => {
      const status = await rig.api.quiet<Replayed>('connections/status', { connectionId });
      return status.streams.every(({ replay: found }) => found?.status === 'succeeded');
    });
    expect((await sync(rig, connectionId)).job.status).toBe('succeeded');
    expect(await rows('target')).toEqual(await rows('source'));
    await replay('--from', new Date(Date.now() - 3_600_000).toISOString());
    expect(await rows('target')).toEqual(await rows('source'));
    await expect(replay('--from', 'nowhere')).rejects.toThrow('API_INVALID_REQUEST');
  }, 120_000);

  it('goes on in a new topic after a reset', async () => {
    const kafka = new KafkaClient({
      kafka: { brokers: [`127.0.0.1:${rig.kafka.port}`], tls: null, sasl: null },
      topicPrefix: 'headrace',
      schemaRegistryUrl: null,
    });
    try {
      const [topic] = (await kafka.admin.list('headrace.')).filter((name) =>
        name.endsWith('.notes'),
      );
      await kafka.admin.remove([topic as string]);
    } finally {
      await kafka.close();
    }
    await query(rig.source, `INSERT INTO notes VALUES (5002, 'in a new topic')`);
    await until('the stream to stop', async () =>
      /KAFKA_[A-Z_]+/.test(JSON.stringify(await statusOf(rig, connectionId))),
    );
    await rig.api.quiet('connections/reset', { connectionId });
    await replay('--rebuild');
    await until('both to be equal', async () => {
      const [source, target] = [await rows('source'), await rows('target')];
      return JSON.stringify(source) === JSON.stringify(target);
    });
  }, 120_000);
});
