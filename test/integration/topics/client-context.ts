import { KafkaClient } from '../../../topics/kafka-client.ts';
import type { TransactionRelay } from '../../../topics/produce/transaction-relay.ts';
import { kafkaContext, type ServerContext } from '../../support/contexts.ts';

/** A broker and a client of it, and what a source opens there. */
export interface ClientContext extends AsyncDisposable {
  readonly broker: ServerContext;
  readonly kafka: KafkaClient;
  openWriter(sourceId: string): Promise<TransactionRelay>;
}

export async function clientContext(): Promise<ClientContext> {
  const broker = await kafkaContext();
  const kafka = new KafkaClient({
    kafka: { brokers: [broker.url] },
    topicPrefix: 'test',
    schemaRegistryUrl: null,
  });
  return {
    broker,
    kafka,
    async openWriter(sourceId) {
      const writer = kafka.transactionWriter(`test.source.${sourceId}`);
      await writer.open({ timeoutMs: 60_000 });
      return writer;
    },
    async [Symbol.asyncDispose]() {
      await kafka.close();
      await broker[Symbol.asyncDispose]();
    },
  };
}
