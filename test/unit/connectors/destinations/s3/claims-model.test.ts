import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { toPipelineError } from '../../../../../core/errors/pipeline-error.ts';
import type { ObjectStore } from '../../../../../connectors/destinations/s3/object-store.ts';
import {
  RangeDelivery,
  type WriterContext,
} from '../../../../../connectors/destinations/s3/range-delivery.ts';
import { readSettings } from '../../../../../connectors/destinations/s3/settings.ts';
import type { Claim } from '../../../../../connectors/destinations/s3/claim-chain.ts';
import type { PartitionTarget } from '../../../../../connectors/spi/destination.ts';

/**
 * The real delivery of ranges over a bucket in memory: several instances at once, each request carried
 * out in an order that is drawn, each instance dying at requests that are drawn, with or without the
 * request having been carried out, and beginning anew from what the bucket says (invariant 6).
 */
const END = 12;
const LAYOUT = {
  columns: [],
  codec: 'SNAPPY',
  pageBytes: 1,
  partitionBy: 'none',
  rowGroupRows: 1,
  rowGroupBytes: 1,
};
const SETTINGS = readSettings({
  s3_bucket_name: 'b',
  s3_bucket_path: 'data/${STREAM_NAME}',
  s3_bucket_region: 'x',
  access_key_id: 'k',
  secret_access_key: 's',
  format: { format_type: 'Parquet' },
});
const TARGET: PartitionTarget = {
  stream: {
    stream: { namespace: 'n', name: 's' },
    namespace: null,
    name: 's',
    mode: 'append',
    primaryKey: [],
  },
  topic: 't',
  partition: 0,
};

/** What happens to a request: nothing, death before it, death with it done and its answer lost. */
type Fate = 'done' | 'dies' | 'answer lost';

class Died extends Error {}

/** Objects as text; a file's is the range in its metadata. */
type Bucket = Map<string, string>;

function storeOf(bucket: Bucket, request: <T>(work: () => T) => Promise<T>): ObjectStore {
  const create = (key: string, body: string): boolean => {
    if (bucket.has(key)) return false;
    bucket.set(key, body);
    return true;
  };
  const store: Partial<ObjectStore> = {
    putIfAbsent: (key, body) => request(() => create(key, body)),
    put: (key, body) => request(() => void bucket.set(key, body)),
    get: (key) => request(() => bucket.get(key) ?? null),
    head: (key) =>
      request(() => {
        const body = bucket.get(key);
        return body === undefined ? null : (JSON.parse(body) as Record<string, string>);
      }),
    uploadIfAbsent: (key, _path, _bytes, metadata) =>
      request(() => create(key, JSON.stringify(metadata))),
    abortUploads: () => request(() => undefined),
    async *list(prefix, after = '') {
      const keys = await request(() => [...bucket.keys()].toSorted());
      yield* keys.filter((key) => key.startsWith(prefix) && key > after);
    },
  };
  return store as ObjectStore;
}

/** One instance: opens the partition, delivers ranges until the end, and after each death again. */
async function instance(store: ObjectStore, lengths: () => number): Promise<void> {
  for (;;) {
    try {
      await life(store, lengths);
      return;
    } catch (error) {
      if (!(error instanceof Died) && toPipelineError(error).code !== 'SNK_FENCED') throw error;
    }
  }
}

async function life(store: ObjectStore, lengths: () => number): Promise<void> {
  const context = {
    connectionId: 'c',
    settings: SETTINGS,
    store,
    uploads: { run: <T>(work: () => Promise<T>) => work() },
  } as unknown as WriterContext;
  const delivery = new RangeDelivery(TARGET, context);
  const { tail, finished } = await delivery.open();
  let first = tail === null ? 0 : finished ? tail.end : tail.first;
  let found = finished ? null : tail;
  while (first < END) {
    const end = found?.end ?? Math.min(END, first + lengths());
    await delivery.deliver({
      first,
      end,
      layout: LAYOUT as Claim['layout'],
      spool: null,
      files: [{ folder: '', path: '/nowhere', bytes: 1, rows: end - first }],
      claim: found,
      claimMade: found !== null,
    } as Parameters<RangeDelivery['deliver']>[0]);
    first = end;
    found = null;
  }
}

describe('ranges of a partition in a bucket', () => {
  it('are each in one file, whichever instance dies when', async () => {
    const fates = fc.array(
      fc.oneof(
        { weight: 6, arbitrary: fc.constant<Fate>('done') },
        { weight: 1, arbitrary: fc.constantFrom<Fate>('dies', 'answer lost') },
      ),
      { maxLength: 80 },
    );
    const lengths = fc.array(fc.integer({ min: 1, max: 5 }), { minLength: 1, maxLength: 8 });
    await fc.assert(
      fc.asyncProperty(
        fc.scheduler(),
        fates,
        lengths,
        fc.integer({ min: 1, max: 3 }),
        async (s, given, cuts, instances) => {
          const bucket: Bucket = new Map();
          let requests = 0;
          let drawn = 0;
          const request = async <T>(work: () => T): Promise<T> => {
            const fate = given[requests++] ?? 'done';
            await s.schedule(Promise.resolve());
            if (fate === 'dies') throw new Died();
            const answer = work();
            await s.schedule(Promise.resolve());
            if (fate === 'answer lost') throw new Died();
            return answer;
          };
          const store = storeOf(bucket, request);
          const length = (): number => cuts[drawn++ % cuts.length] as number;
          await s.waitFor(
            Promise.all(Array.from({ length: instances }, () => instance(store, length))),
          );
          const ranges = [...bucket]
            .filter(([key]) => key.endsWith('.parquet'))
            .map(([, body]) => (JSON.parse(body) as Record<string, string>)['headrace-range'])
            .map((range) => (range as string).split('-').map(Number))
            .toSorted(([a], [b]) => (a as number) - (b as number));
          let next = 0;
          for (const [first, end] of ranges) {
            expect(first).toBe(next);
            next = end as number;
          }
          expect(next).toBe(END);
        },
      ),
      { numRuns: 200 },
    );
  });
});
