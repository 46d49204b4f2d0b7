import { createRequire } from 'node:module';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { parseBatches } from '../../../topics/consume/record-batches.ts';
import { cutBatches, writeBatch, writeRecords } from '../../../topics/produce/record-batch.ts';
import { ByteWriter } from '../../../topics/wire/bytes.ts';
import { compress } from '../../../topics/wire/codec.ts';
import { arenaOf, recordsOf, type KeyValue } from '../../support/record-arenas.ts';

/** kafkajs's own encoder and decoder are the second opinion. */
const require = createRequire(import.meta.url);
const { RecordBatch } = require('kafkajs/src/protocol/recordBatch/v0') as {
  RecordBatch: (options: Record<string, unknown>) => Promise<{ buffer: Buffer }>;
};
const KafkajsRecord = require('kafkajs/src/protocol/recordBatch/record/v0') as (
  options: Record<string, unknown>,
) => unknown;
const decodeBatch = require('kafkajs/src/protocol/recordBatch/v0/decoder') as (
  decoder: unknown,
) => Promise<{ producerId: string; inTransaction: boolean; records: KafkajsDecoded[] }>;
const Decoder = require('kafkajs/src/protocol/decoder') as new (bytes: Buffer) => unknown;

interface KafkajsDecoded {
  readonly offset: string;
  readonly key: Buffer | null;
  readonly value: Buffer | null;
}

const TIME = 1_700_000_000_123;
const PRODUCER = { producerId: 4711, epoch: 7, sequence: 1234, transactional: true };
const ALL = 1 << 30;

const someRecords = fc.array(fc.tuple(fc.string(), fc.string({ maxLength: 300 })), {
  minLength: 1,
  maxLength: 300,
});

function ours(records: readonly KeyValue[]): Buffer {
  const [cut] = cutBatches(arenaOf(records), ALL, () => {});
  const out = new ByteWriter(16);
  writeBatch(out, cut!, PRODUCER, TIME);
  return Buffer.from(out.view());
}

async function kafkajs(records: readonly KeyValue[], compression = 0): Promise<Buffer> {
  const encoder = await RecordBatch({
    compression,
    firstTimestamp: TIME,
    maxTimestamp: TIME,
    partitionLeaderEpoch: -1,
    lastOffsetDelta: records.length - 1,
    transactional: true,
    producerId: PRODUCER.producerId,
    producerEpoch: PRODUCER.epoch,
    firstSequence: PRODUCER.sequence,
    records: records.map(([key, value], offsetDelta) =>
      KafkajsRecord({ offsetDelta, key: key || null, value: value || null }),
    ),
  });
  return encoder.buffer;
}

function expected(records: readonly KeyValue[], from = 0) {
  return records
    .map(([key, value], offset) => ({ offset, key: key || null, value: value || null }))
    .slice(from);
}

describe('record batches', () => {
  test('are byte for byte those of kafkajs', async () => {
    await fc.assert(
      fc.asyncProperty(someRecords, async (records) => {
        expect(ours(records).equals(await kafkajs(records))).toBe(true);
      }),
      { numRuns: 60 },
    );
  });

  test('are read by kafkajs', async () => {
    const records: KeyValue[] = [
      ['a', 'x'.repeat(20_000)],
      ['', 'no key'],
      ['tombstone', ''],
    ];
    const decoded = await decodeBatch(new Decoder(ours(records)));
    expect(decoded.producerId).toBe('4711');
    expect(decoded.inTransaction).toBe(true);
    expect(
      decoded.records.map(({ key, value }) => [String(key ?? ''), String(value ?? '')]),
    ).toEqual(records);
  });

  test('are read back from any offset, also those that kafkajs compressed', async () => {
    await fc.assert(
      fc.asyncProperty(someRecords, fc.nat(300), fc.boolean(), async (records, from, gzip) => {
        const bytes = await kafkajs(records, gzip ? 1 : 0);
        const offset = Math.min(from, records.length - 1);
        const parsed = await parseBatches(bytes, offset, []);
        expect(parsed.nextOffset).toBe(records.length);
        expect(recordsOf(parsed.records)).toEqual(expected(records, offset));
      }),
      { numRuns: 60 },
    );
  });

  test.each(['gzip', 'snappy', 'lz4', 'zstd'] as const)(
    'compressed with %s are read back',
    async (codec) => {
      const records: KeyValue[] = Array.from({ length: 500 }, (_, i) => [`k${i}`, 'v'.repeat(50)]);
      const [cut] = cutBatches(arenaOf(records), ALL, () => {});
      const body = new ByteWriter();
      writeRecords(body, cut!);
      const out = new ByteWriter();
      writeBatch(out, cut!, PRODUCER, TIME, { codec, bytes: await compress(codec, body.view()) });
      expect(out.pos).toBeLessThan(cut!.bytes / 2);
      const mixed = Buffer.concat([ours(records), out.view()]);
      const parsed = await parseBatches(mixed, 0, []);
      expect(recordsOf(parsed.records)).toEqual([...expected(records), ...expected(records)]);
    },
  );

  test('are cut below the limit, in order, with the sizes they say', () => {
    fc.assert(
      fc.property(someRecords, fc.integer({ min: 500, max: 5_000 }), (records, limit) => {
        const tooLarge: number[] = [];
        const cuts = cutBatches(arenaOf(records), limit, (bytes) => tooLarge.push(bytes));
        let next = 0;
        for (const cut of cuts) {
          expect(cut.from).toBe(next);
          next = cut.to;
          const out = new ByteWriter();
          writeBatch(out, cut, PRODUCER, TIME);
          expect(out.pos).toBe(cut.bytes);
          if (cut.bytes > limit) expect(tooLarge).toContain(cut.bytes);
        }
        expect(next).toBe(records.length);
      }),
    );
  });

  test('with a wrong checksum or a wrong length are refused', async () => {
    const bytes = ours([['key', 'value']]);
    bytes[bytes.length - 3]! ^= 1;
    await expect(parseBatches(bytes, 0, [])).rejects.toMatchObject({ code: 'EVT_UNDECODABLE' });
  });

  test('that are cut off at the end of an answer are left for the next', async () => {
    const whole = ours([['a', '1']]);
    const parsed = await parseBatches(Buffer.concat([whole, whole.subarray(0, -1)]), 0, []);
    expect(parsed.records.count).toBe(1);
    expect(parsed.nextOffset).toBe(1);
  });
});
