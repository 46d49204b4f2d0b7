import { afterAll, beforeAll, expect, test } from 'vitest';
import type { StoredPosition } from '../../../topics/positions/stored-position.ts';
import type { TransactionRelay } from '../../../topics/produce/transaction-relay.ts';
import { arenaOf, recordsOf } from '../../support/record-arenas.ts';
import { clientContext, type ClientContext } from './client-context.ts';

let context: ClientContext;
let kafka: ClientContext['kafka'];
let openWriter: ClientContext['openWriter'];

beforeAll(async () => {
  context = await clientContext();
  ({ kafka, openWriter } = context);
});

afterAll(() => context[Symbol.asyncDispose]());

/** Commits one numbered event together with its position. */
async function commitEvent(
  writer: TransactionRelay,
  stored: StoredPosition,
  n: number,
): Promise<void> {
  const position = String(n).padStart(8, '0');
  await writer.commit([
    { topic: 'events', partition: 0, arena: arenaOf([['k', String(n)]]) },
    stored.part({ position, epoch: 1, details: { n } }),
  ]);
}

test('killed in the middle of transactions, nothing is lost, doubled or half done', async () => {
  await kafka.admin.ensure([{ topic: 'events', partitions: 1, configs: {} }]);
  const reader = kafka.topicReader();
  await reader.assign({ topic: 'events', partition: 0, offset: 'beginning' });
  const values: number[] = [];
  const wanted = 60;
  const reading = (async () => {
    while (values.length < wanted) {
      for (const batch of await reader.next()) {
        if (batch.error !== undefined) throw batch.error;
        values.push(...recordsOf(batch.records).map(({ value }) => Number(value)));
      }
    }
  })();

  let reopened = 0;
  let restarting: Promise<unknown> = Promise.resolve();
  for (let next = 0; next < wanted;) {
    const writer = await openWriter('one');
    const stored = await kafka.positions.open('one');
    next = Number(stored.state?.details['n'] ?? -1) + 1;
    try {
      while (next < wanted) {
        // Twice the broker dies while a transaction is open, once with only a part of it written.
        if (next === 20 && reopened === 0) {
          await writer.append([{ topic: 'events', partition: 0, arena: arenaOf([['k', '-1']]) }]);
          await context.broker.kill();
          restarting = context.broker.restart();
        }
        if (next === 40 && reopened === 1)
          restarting = context.broker.kill().then(() => context.broker.restart());
        await commitEvent(writer, stored, next);
        next++;
      }
    } catch (error) {
      expect(error).toMatchObject({ code: 'KAFKA_REOPEN' });
      reopened++;
    }
    await writer.close();
    await restarting;
  }
  await reading;
  await reader.close();
  expect(reopened).toBe(2);
  expect(values).toEqual(Array.from({ length: wanted }, (_, n) => n));
});
