import { setTimeout as delay } from 'node:timers/promises';
import { fileRange } from '../../../../connectors/destinations/s3/file-ranges.ts';
import type { ObjectStore } from '../../../../connectors/destinations/s3/object-store.ts';
import { openStore } from '../../../../connectors/destinations/s3/open-store.ts';
import { readSettings } from '../../../../connectors/destinations/s3/settings.ts';
import { S3Writer } from '../../../../connectors/destinations/s3/writer.ts';
import { armFailpoints } from '../../../../core/run/failpoints.ts';
import { buffersOf } from '../../../support/buffers.ts';
import { topicOfIds } from './memory-topic.ts';

/** A program that carries out a rebuild of appended ids and goes on behind it, until nothing of what was
 * there before is left, or a signal hits it: at a request to its store, or at a failpoint. */
export interface RebuilderOrder {
  readonly config: Record<string, unknown>;
  readonly connectionId: string;
  readonly scratchFolder: string;
  /** Records of the topic. */
  readonly count: number;
  readonly step: number;
  /** Its number and where it begins and is shown; null delivers without one. */
  readonly rebuild: {
    readonly number: number;
    readonly from: number;
    readonly until: number;
  } | null;
  readonly signal: 'SIGKILL' | 'SIGSTOP';
  /** The request (counted from 1) before or, when even, after which the signal comes; 0 for never. */
  readonly atRequest: number;
  readonly failpoints: string | null;
  /** The first request of this method with this in its key, before or after which the signal comes. */
  readonly moment: {
    readonly when: 'before' | 'after';
    readonly method: string;
    readonly key: string;
  } | null;
}

const order = JSON.parse(process.argv[2] as string) as RebuilderOrder;
const settings = readSettings(order.config);
const plain = openStore(settings);
armFailpoints({ failpoints: order.failpoints, failpointsAllowed: true });

function isMoment(method: string, key: string): boolean {
  const { moment } = order;
  return moment !== null && moment.method === method && key.includes(moment.key);
}

function interrupted(store: ObjectStore): ObjectStore {
  let requests = 0;
  return new Proxy(store, {
    get(target, name: keyof ObjectStore) {
      const method = target[name] as (...args: unknown[]) => unknown;
      return (...args: unknown[]): unknown => {
        const isDue = ++requests === order.atRequest || isMoment(name, String(args[0]));
        const isBefore =
          order.moment === null ? requests % 2 === 1 : order.moment.when === 'before';
        const hit = (): void => {
          process.stderr.write(`${order.signal} at ${name} ${String(args[0])}\n`);
          process.kill(process.pid, order.signal);
        };
        if (isDue && isBefore) hit();
        const result = method.apply(target, args);
        if (!isDue || isBefore) return result;
        if (result instanceof Promise) return result.finally(hit);
        hit();
        return result;
      };
    },
  });
}

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
const { rebuild } = order;
const replay = rebuild && { id: `order ${rebuild.number}`, rebuild: true, ...rebuild };
const target = replay === null ? topic.target : { ...topic.target, replay };
for (let at = (await writer.open(target)) ?? 0; at < topic.end;) {
  const next = Math.min(topic.end, at + order.step);
  await writer.write([{ ...topic.batch(at, next), target }]);
  await writer.flush();
  at = next;
}
while (!(await isAtRest())) await delay(50);
await writer.close();
