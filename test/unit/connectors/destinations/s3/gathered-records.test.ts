import fc from 'fast-check';
import { expect, test } from 'vitest';
import { GatheredRecords } from '../../../../../connectors/destinations/s3/gathered-records.ts';
import type { RecordChunk } from '../../../../../connectors/destinations/s3/spool-builder.ts';

type Records = [offset: number, value: string][];

function chunkOf(records: Records): RecordChunk {
  const values = records.map(([, value]) => Buffer.from(value));
  let end = 0;
  return {
    bytes: new Uint8Array(Buffer.concat(values)).buffer,
    ends: Int32Array.from(values, ({ length }) => (end += length)),
    offsets: Float64Array.from(records, ([offset]) => offset),
  };
}

function recordsOf({ bytes, ends, offsets }: RecordChunk): Records {
  return [...ends].map((end, i) => {
    const start = i === 0 ? 0 : (ends[i - 1] as number);
    return [offsets[i] as number, Buffer.from(bytes, start, end - start).toString()];
  });
}

const chunks = fc.array(
  fc.array(fc.tuple(fc.maxSafeNat(), fc.string({ maxLength: 40, unit: 'grapheme' })), {
    minLength: 1,
    maxLength: 12,
  }),
  { maxLength: 30 },
);

test('what is gathered is what came, in its order, however often it is taken', () => {
  fc.assert(
    fc.property(chunks, fc.nat(6), (all, takenEvery) => {
      const gathered = new GatheredRecords();
      const out: Records = [];
      all.forEach((records, i) => {
        gathered.add(chunkOf(records));
        if (i % (takenEvery + 1) !== 0) return;
        out.push(...recordsOf(gathered.take() as RecordChunk));
        expect(gathered.take()).toBeNull();
      });
      const rest = gathered.take();
      if (rest !== null) out.push(...recordsOf(rest));
      expect(out).toEqual(all.flat());
    }),
  );
});

test('is full at the size from which a chunk goes by itself', () => {
  const gathered = new GatheredRecords();
  const small = chunkOf([[1, 'x'.repeat(5_000)]]);
  for (let i = 0; i < 3; i++) gathered.add(small);
  expect(gathered.isFull).toBe(false);
  gathered.add(small);
  expect(gathered.isFull).toBe(true);
  expect(gathered.take()?.bytes.byteLength).toBe(20_000);
  expect(gathered.isFull).toBe(false);
  expect(GatheredRecords.isLarge(small)).toBe(false);
  expect(GatheredRecords.isLarge(chunkOf([[1, 'x'.repeat(16_384)]]))).toBe(true);
});
