import type { KafkaClient } from '../../topics/kafka-client.ts';
import { arenaOf, recordsOf } from './record-arenas.ts';

/** Writes a record to a new topic in a transaction, and answers the values that are read from it. */
export async function roundTrip(kafka: KafkaClient, topic: string): Promise<(string | null)[]> {
  await kafka.admin.ensure([{ topic, partitions: 1, configs: {} }]);
  const writer = kafka.transactionWriter(topic);
  await writer.open({ timeoutMs: 60_000 });
  await writer.commit([{ topic, partition: 0, arena: arenaOf([['k', 'v']]) }]);
  const reader = kafka.topicReader();
  await reader.assign({ topic, partition: 0, offset: 'beginning' });
  let values: (string | null)[] = [];
  while (values.length === 0) {
    values = (await reader.next()).flatMap(({ records }) =>
      recordsOf(records).map(({ value }) => value),
    );
  }
  await reader.close();
  await writer.close();
  return values;
}
