import { setTimeout as delay } from 'node:timers/promises';
import { fileRange } from '../../../../connectors/destinations/s3/file-ranges.ts';
import { openStore } from '../../../../connectors/destinations/s3/open-store.ts';
import { readSettings } from '../../../../connectors/destinations/s3/settings.ts';
import { armFailpoints } from '../../../../core/run/failpoints.ts';
import { deliverInSteps } from './delivery-steps.ts';
import { interruptedWriter, type InterruptedOrder } from './interrupted-store.ts';
import { topicOfIds } from './memory-topic.ts';

/** A program that carries out a rebuild of appended ids and goes on behind it, until nothing of what was
 * there before is left, or a signal hits it: at a request to its store, or at a failpoint. */
export interface RebuilderOrder extends InterruptedOrder {
  /** Records of the topic. */
  readonly count: number;
  /** Its number and where it begins and is shown; null delivers without one. */
  readonly rebuild: {
    readonly number: number;
    readonly from: number;
    readonly until: number;
  } | null;
  readonly failpoints: string | null;
}

const order = JSON.parse(process.argv[2] as string) as RebuilderOrder;
const plain = openStore(readSettings(order.config));
armFailpoints({ failpoints: order.failpoints, failpointsAllowed: true });

/** Nothing is left of files that a rebuild has replaced, nor of the place where it gathered its own. */
async function isAtRest(): Promise<boolean> {
  for await (const object of plain.objects(`${order.connectionId}/`)) {
    const file = fileRange(object);
    if (object.key.includes('/staged/')) return false;
    if (file !== null && file.rebuild < (order.rebuild?.number ?? 0)) return false;
  }
  return true;
}

const topic = topicOfIds(order.count);
const writer = await interruptedWriter(order, topic);
const { rebuild, step } = order;
const replay = rebuild && { id: `order ${rebuild.number}`, rebuild: true, ...rebuild };
await deliverInSteps(writer, topic, replay, { step });
while (!(await isAtRest())) await delay(50);
await writer.close();
