import type { ObjectStore } from '../../../../connectors/destinations/s3/object-store.ts';
import { openStore } from '../../../../connectors/destinations/s3/open-store.ts';
import { readSettings } from '../../../../connectors/destinations/s3/settings.ts';
import { S3Writer } from '../../../../connectors/destinations/s3/writer.ts';
import { buffersOf } from '../../../support/buffers.ts';
import type { MemoryTopic } from './memory-topic.ts';

/** What a program that delivers is told, and where a signal hits it. */
export interface InterruptedOrder {
  readonly config: Record<string, unknown>;
  readonly connectionId: string;
  readonly scratchFolder: string;
  readonly step: number;
  readonly signal: 'SIGKILL' | 'SIGSTOP';
  /** The request (counted from 1) before or, when even, after which the signal comes; 0 for never. */
  readonly atRequest: number;
  /** Instead: the first request of this method with this in its key. */
  readonly moment?: {
    readonly when: 'before' | 'after';
    readonly method: string;
    readonly key: string;
  } | null;
}

/** A writer of this process, which the signal hits at a request to its store. */
export function interruptedWriter(order: InterruptedOrder, topic: MemoryTopic): Promise<S3Writer> {
  const { config, connectionId, scratchFolder } = order;
  const settings = readSettings(config);
  const options = {
    connectionId,
    config,
    schemas: topic,
    scratchFolder,
    buffers: buffersOf(1024 * 1024),
    signal: new AbortController().signal,
  };
  return S3Writer.open(options, settings, interrupted(openStore(settings), order));
}

/** Counts the requests; reading a list counts when it begins. */
function interrupted(
  store: ObjectStore,
  { signal, atRequest, moment }: InterruptedOrder,
): ObjectStore {
  let requests = 0;
  return new Proxy(store, {
    get(target, name: keyof ObjectStore) {
      const method = target[name] as (...args: unknown[]) => unknown;
      return (...args: unknown[]): unknown => {
        const key = String(args[0]);
        const isMoment = moment != null && moment.method === name && key.includes(moment.key);
        const isDue = ++requests === atRequest || isMoment;
        const isBefore = moment == null ? requests % 2 === 1 : moment.when === 'before';
        const hit = (): void => {
          process.stderr.write(`${signal} at ${name} ${key}\n`);
          process.kill(process.pid, signal);
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
