import { expect, test } from 'vitest';
import { KafkaClient } from '../../../topics/kafka-client.ts';
import { kafkaContext } from '../../support/contexts.ts';
import { roundTrip } from '../../support/topic-round-trip.ts';

const PLAIN_LOGIN =
  'org.apache.kafka.common.security.plain.PlainLoginModule required ' +
  'username="broker" password="inner" user_broker="inner" user_ann="right";';

test('SASL: the right password reads and writes, a wrong one is told apart', async () => {
  await using broker = await kafkaContext({
    settings: {
      'listener.security.protocol.map': 'PLAINTEXT:SASL_PLAINTEXT,CONTROLLER:PLAINTEXT',
      'inter.broker.listener.name': 'PLAINTEXT',
      'sasl.enabled.mechanisms': 'PLAIN',
      'sasl.mechanism.inter.broker.protocol': 'PLAIN',
      'listener.name.plaintext.plain.sasl.jaas.config': PLAIN_LOGIN,
    },
  });
  const client = (password: string): KafkaClient =>
    new KafkaClient({
      kafka: {
        brokers: [broker.url],
        sasl: { mechanism: 'plain', username: 'ann', password },
      },
      topicPrefix: 'test',
      schemaRegistryUrl: null,
    });

  const kafka = client('right');
  expect(await roundTrip(kafka, 'secret')).toEqual(['v']);
  await kafka.close();

  const stranger = client('wrong-password');
  const refused: Error = await stranger.admin.find('secret').then(
    () => expect.fail('it must be refused'),
    (error: Error) => error,
  );
  expect(refused).toMatchObject({ code: 'KAFKA_AUTH' });
  expect(refused.message).not.toContain('wrong-password');
  await expect(
    stranger.transactionWriter('secret').open({ timeoutMs: 60_000 }),
  ).rejects.toMatchObject({ code: 'KAFKA_AUTH' });
  await stranger.close();
});
