import { setTimeout as delay } from 'node:timers/promises';
import {
  fileRange,
  sortFiles,
  type FileRange,
} from '../../../../connectors/destinations/s3/file-ranges.ts';
import { openStore } from '../../../../connectors/destinations/s3/open-store.ts';
import { readSettings } from '../../../../connectors/destinations/s3/settings.ts';
import { deliverInSteps } from './delivery-steps.ts';
import { interruptedWriter, type InterruptedOrder } from './interrupted-store.ts';
import { topicOfIds } from './memory-topic.ts';

/** A program that delivers ids in small files, which are joined meanwhile, until all are there and
 * joined, or it gets to the request to its store at which a signal hits it. */
export interface JoinerOrder extends InterruptedOrder {
  readonly count: number;
}

const order = JSON.parse(process.argv[2] as string) as JoinerOrder;
const settings = readSettings(order.config);
const plain = openStore(settings);

async function isAtRest(): Promise<boolean> {
  const files: FileRange[] = [];
  for await (const object of plain.objects(`${order.connectionId}/`)) {
    const file = fileRange(object);
    if (file !== null) files.push(file);
  }
  const { current, replaced } = sortFiles(files);
  return replaced.length === 0 && current.length < (settings.joinFiles as number) * 2;
}

const topic = topicOfIds(order.count);
const writer = await interruptedWriter(order, topic);
await deliverInSteps(writer, topic, null, { step: order.step });
while (!(await isAtRest())) await delay(50);
await writer.close();
