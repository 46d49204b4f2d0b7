import { setTimeout as delay } from 'node:timers/promises';
import {
  fileRange,
  sortFiles,
  type FileRange,
} from '../../../../connectors/destinations/s3/file-ranges.ts';
import type { ObjectStore } from '../../../../connectors/destinations/s3/object-store.ts';
import { openStore } from '../../../../connectors/destinations/s3/open-store.ts';
import { readSettings } from '../../../../connectors/destinations/s3/settings.ts';
import { S3Writer } from '../../../../connectors/destinations/s3/writer.ts';
import { topicOfIds } from './memory-topic.ts';
import { buffersOf } from '../../../support/buffers.ts';

/** A program that delivers ids in small files, which are joined meanwhile, until all are there and
 * joined, or it gets to the request to its store at which a signal hits it. */
export interface JoinerOrder {
  readonly config: Record<string, unknown>;
  readonly connectionId: string;
  readonly scratchFolder: string;
  readonly count: number;
  readonly step: number;
  readonly signal: 'SIGKILL' | 'SIGSTOP';
  /** The request (counted from 1) before or, when even, after which the signal comes; 0 for never. */
  readonly atRequest: number;
}

const order = JSON.parse(process.argv[2] as string) as JoinerOrder;
const settings = readSettings(order.config);
const plain = openStore(settings);

function interrupted(store: ObjectStore): ObjectStore {
  let requests = 0;
  return new Proxy(store, {
    get(target, name: keyof ObjectStore) {
      const method = target[name] as (...args: unknown[]) => unknown;
      return (...args: unknown[]): unknown => {
        const isDue = ++requests === order.atRequest;
        const hit = (): void => {
          process.stderr.write(`${order.signal} at ${name} ${String(args[0])}\n`);
          process.kill(process.pid, order.signal);
        };
        if (isDue && requests % 2 === 1) hit();
        const result = method.apply(target, args);
        if (!isDue || requests % 2 === 1) return result;
        if (result instanceof Promise) return result.finally(hit);
        hit();
        return result;
      };
    },
  });
}

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
for (let at = (await writer.open(topic.target)) ?? 0; at < topic.end;) {
  const next = Math.min(topic.end, at + order.step);
  await writer.write([topic.batch(at, next)]);
  await writer.flush();
  at = next;
}
while (!(await isAtRest())) await delay(50);
await writer.close();
