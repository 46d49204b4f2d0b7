import { randomBytes } from 'node:crypto';
import { MINIO_SECRET_KEY } from '../../deploy/local/minio.ts';
import type { LocalServer } from '../../deploy/local/local-server.ts';
import { KafkaClient } from '../../topics/kafka-client.ts';
import { addAnswers, addFiles, secretsIn, type Places } from '../support/secret-hunt.ts';
import { connectTo, type Rig } from '../support/rig.ts';
import type { Fleet } from './fleet.ts';

const canary = (name: string): string => `canary-${name}-${randomBytes(12).toString('hex')}`;

/** What a run's configuration holds that nobody may ever read again. The databases of a run trust
 * everyone, so that any password will do. */
export function canaries(): Record<'source' | 'target' | 'token' | 'key', string> {
  return {
    source: canary('source'),
    target: canary('target'),
    token: canary('token'),
    key: canary('key'),
  };
}

export interface Exposure {
  readonly rig: Rig;
  readonly fleet: Fleet;
  readonly secrets: Readonly<Record<string, string>> & { readonly token: string };
  readonly ids: Readonly<Record<string, unknown>>;
}

/** Secrets that show in a log, an answer, a record, an object or the store (invariant I12). */
export async function exposedSecrets(run: Exposure): Promise<string[]> {
  const secrets = { ...run.secrets, s3: MINIO_SECRET_KEY };
  const places: Places = new Map([['logs', run.fleet.logs()]]);
  await addAnswers(places, { apiPort: run.rig.apiPort, token: run.secrets.token, ids: run.ids });
  addFiles(places, 'objects', (run.rig.minio as LocalServer).folder);
  await addStore(places, run.rig.target);
  const found = secretsIn(places, secrets);
  const kafka = new KafkaClient({
    kafka: { brokers: [`127.0.0.1:${run.rig.kafka.port}`], tls: null, sasl: null },
    topicPrefix: 'headrace',
    schemaRegistryUrl: null,
  });
  try {
    for await (const [topic, text] of recordsOf(kafka)) {
      found.push(...secretsIn(new Map([[topic, text]]), secrets));
    }
  } finally {
    await kafka.close();
  }
  return [...new Set(found)];
}

async function addStore(places: Places, target: LocalServer): Promise<void> {
  const client = await connectTo(target, 'headrace_store');
  try {
    const { rows } = await client.query<{ name: string }>(
      `select format('%I.%I', schemaname, tablename) as name from pg_tables where schemaname = 'headrace'`,
    );
    for (const { name } of rows) {
      const { rows: found } = await client.query<{ row: string }>(
        `select t::text as row from ${name} t`,
      );
      places.set(`store ${name}`, found.map(({ row }) => row).join('\n'));
    }
  } finally {
    await client.end();
  }
}

/** Keys and values of all topics, uncompressed, as far as they are committed. */
async function* recordsOf(kafka: KafkaClient): AsyncGenerator<[topic: string, text: string]> {
  for (const topic of await kafka.admin.list('')) {
    const left = new Map<number, number>();
    const reader = kafka.topicReader();
    try {
      for (const { partition, low, stable } of await kafka.admin.bounds(topic)) {
        if (low >= stable) continue;
        left.set(partition, stable);
        await reader.assign({ topic, partition, offset: low });
      }
      while (left.size > 0) {
        for (const batch of await reader.next()) {
          if (batch.error !== undefined) throw batch.error;
          yield [topic, batch.records.bytes.toString('latin1')];
          if (batch.nextOffset >= (left.get(batch.partition) ?? 0)) left.delete(batch.partition);
        }
      }
    } finally {
      await reader.close();
    }
  }
}
