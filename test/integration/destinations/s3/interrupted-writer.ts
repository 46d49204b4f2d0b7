import { openStore } from '../../../../connectors/destinations/s3/open-store.ts';
import { readSettings } from '../../../../connectors/destinations/s3/settings.ts';
import type { ObjectStore } from '../../../../connectors/destinations/s3/object-store.ts';
import { S3Writer } from '../../../../connectors/destinations/s3/writer.ts';
import { randomChanges } from './key-workload.ts';
import { buffersOf } from '../../../support/buffers.ts';

/** A program that delivers random changes, one generation every `step` records, until it has all or
 * gets to the request to its store at which a signal hits it. */
export interface WriterOrder {
  readonly config: Record<string, unknown>;
  readonly connectionId: string;
  readonly scratchFolder: string;
  readonly seed: number;
  readonly count: number;
  readonly keys: number;
  readonly step: number;
  readonly signal: 'SIGKILL' | 'SIGSTOP';
  /** The request (counted from 1) before or, when even, after which the signal comes; 0 for never. */
  readonly atRequest: number;
}

const order = JSON.parse(process.argv[2] as string) as WriterOrder;

/** Counts the requests to the store; reading a list counts when it begins. */
function interrupted(store: ObjectStore): ObjectStore {
  let requests = 0;
  const hit = (): void => void process.kill(process.pid, order.signal);
  return new Proxy(store, {
    get(target, name: keyof ObjectStore) {
      const method = target[name] as (...args: unknown[]) => unknown;
      return (...args: unknown[]): unknown => {
        const isDue = ++requests === order.atRequest;
        if (isDue && requests % 2 === 1) hit();
        const result = method.apply(target, args);
        if (!isDue || requests % 2 === 1 || !(result instanceof Promise)) return result;
        return result.finally(hit);
      };
    },
  });
}

const { topic } = randomChanges(order.seed, order.count, order.keys);
const settings = readSettings(order.config);
const writer = await S3Writer.open(
  {
    connectionId: order.connectionId,
    config: order.config,
    schemas: topic,
    scratchFolder: order.scratchFolder,
    buffers: buffersOf(1024 * 1024),
    signal: new AbortController().signal,
  },
  settings,
  interrupted(openStore(settings)),
);
const from = (await writer.open(topic.target)) ?? 0;
for (let at = from; at < topic.end;) {
  const next = Math.min(topic.end, at + order.step);
  await writer.write([topic.batch(at, next)]);
  await writer.flush();
  at = next;
}
await writer.close();
