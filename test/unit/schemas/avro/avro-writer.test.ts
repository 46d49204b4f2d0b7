import avsc from 'avsc';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { AvroWriter } from '../../../../schemas/avro/avro-writer.ts';
import {
  longHigh,
  longLow,
  readLong,
  readLongHalves,
} from '../../../../schemas/envelope/change-decoder.ts';
import { exactLong } from '../../../support/avro-oracle.ts';

function written(write: (out: AvroWriter) => void): Buffer {
  const out = new AvroWriter(1);
  out.ensure(64);
  write(out);
  return out.bytes.subarray(0, out.pos);
}

const int64 = fc.oneof(
  fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }),
  fc.bigInt({ min: -(2n ** 33n), max: 2n ** 33n }),
  fc.constantFrom(
    0n,
    -1n,
    2n ** 63n - 1n,
    -(2n ** 63n),
    2n ** 31n,
    -(2n ** 31n),
    2n ** 28n,
    2n ** 32n,
  ),
);

describe('AvroWriter', () => {
  it('writes longs byte for byte as avsc does, and reads them back', () => {
    fc.assert(
      fc.property(int64, (n) => {
        const bytes = written((out) =>
          out.writeLongHalves(Number(BigInt.asIntN(32, n >> 32n)), Number(n & 0xffffffffn)),
        );
        expect(bytes).toEqual(exactLong.toBuffer(n));
        readLongHalves(bytes, 0);
        expect((BigInt(longHigh) << 32n) | BigInt(longLow)).toBe(n);
      }),
      { numRuns: 2000 },
    );
  });

  it('writes safe integers and 32-bit ints as avsc does', () => {
    fc.assert(
      fc.property(fc.maxSafeInteger(), fc.integer(), (long, int) => {
        const bytes = written((out) => out.writeLong(long));
        expect(bytes).toEqual(exactLong.toBuffer(BigInt(long)));
        expect(readLong(bytes, 0)).toBe(long);
        expect(written((out) => out.writeInt(int))).toEqual(
          avsc.Type.forSchema('int').toBuffer(int),
        );
      }),
      { numRuns: 2000 },
    );
  });

  it('writes strings, bytes and floats as avsc does, growing as needed', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'grapheme', maxLength: 200 }), fc.double(), (text, double) => {
        const out = new AvroWriter(1);
        out.writeString(text);
        const raw = Buffer.from(text);
        out.ensure(raw.length + 5 + 8);
        out.writeBytes(raw, 0, raw.length);
        out.writeDouble(double);
        const string = avsc.Type.forSchema('string').toBuffer(text);
        const expected = [string, string, avsc.Type.forSchema('double').toBuffer(double)];
        expect(out.bytes.subarray(0, out.pos)).toEqual(Buffer.concat(expected));
      }),
    );
  });
});
