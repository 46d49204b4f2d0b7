import { deliverInSteps } from './delivery-steps.ts';
import { interruptedWriter, type InterruptedOrder } from './interrupted-store.ts';
import { randomChanges } from './key-workload.ts';

/** A program that delivers random changes, one generation every `step` records, until it has all or
 * gets to the request to its store at which a signal hits it. */
export interface WriterOrder extends InterruptedOrder {
  readonly seed: number;
  readonly count: number;
  readonly keys: number;
}

const order = JSON.parse(process.argv[2] as string) as WriterOrder;
const { topic } = randomChanges(order.seed, order.count, order.keys);
const writer = await interruptedWriter(order, topic);
await deliverInSteps(writer, topic, null, { step: order.step });
await writer.close();
