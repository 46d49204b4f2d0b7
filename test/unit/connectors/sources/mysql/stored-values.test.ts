import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { CellEncoder } from '../../../../../connectors/capture/row-codec.ts';
import {
  decimalBytes,
  encodeDecimal,
} from '../../../../../connectors/sources/mysql/encode-numbers.ts';
import {
  encodeDatetime,
  encodeTimestamp,
  isNoDayDatetime,
} from '../../../../../connectors/sources/mysql/encode-times.ts';
import { AvroWriter } from '../../../../../schemas/avro/avro-writer.ts';

const GROUP_BYTES = [0, 1, 1, 2, 2, 3, 3, 4, 4, 4];

function written(encode: CellEncoder, cell: Buffer): Buffer {
  const out = new AvroWriter(16);
  out.ensure(cell.length + 10);
  encode(out, cell, 0, cell.length);
  return out.bytes.subarray(0, out.pos);
}

function longAt(bytes: Buffer): { value: bigint; end: number } {
  let [value, end] = [0n, 0];
  for (let shift = 0n; ; shift += 7n) {
    const byte = bytes[end++]!;
    value |= BigInt(byte & 0x7f) << shift;
    if (byte < 0x80) return { value: (value >> 1n) ^ -(value & 1n), end };
  }
}

function textOf(bytes: Buffer): string {
  const { value, end } = longAt(bytes);
  expect(end + Number(value)).toBe(bytes.length);
  return bytes.toString('latin1', end);
}

/** As the log stores a decimal, from its digits: groups of nine, the odd ones outermost. */
function storedDecimal(whole: string, fraction: string, negative: boolean): Buffer {
  const odd = whole.length % 9;
  const groups = [whole.slice(0, odd), ...(whole.slice(odd).match(/.{9}/g) ?? [])];
  groups.push(...(fraction.match(/.{1,9}/g) ?? []));
  const bytes = Buffer.concat(
    groups.map((digits) => {
      const width = GROUP_BYTES[digits.length]!;
      const group = Buffer.alloc(width);
      if (width > 0) group.writeUIntBE(Number(digits), 0, width);
      return group;
    }),
  );
  bytes[0] = bytes[0]! ^ 0x80;
  return negative ? Buffer.from(bytes.map((byte) => byte ^ 0xff)) : bytes;
}

describe('values as the log stores them', () => {
  it('decimals of every precision and scale are written digit by digit', () => {
    const sizes = fc.tuple(fc.integer({ min: 1, max: 65 }), fc.nat(30)).chain(([digits, scale]) => {
      const behind = Math.min(scale, digits);
      const digit = fc.constantFrom(...'0000123456789');
      const run = (length: number) =>
        fc.array(digit, { minLength: length, maxLength: length }).map((all) => all.join(''));
      return fc.tuple(run(digits - behind), run(behind), fc.boolean());
    });
    fc.assert(
      fc.property(sizes, ([whole, fraction, negative]) => {
        const cell = storedDecimal(whole, fraction, negative);
        const precision = whole.length + fraction.length;
        expect(cell.length).toBe(decimalBytes(precision, fraction.length));
        const before = whole.replace(/^0+/, '') || '0';
        const behind = fraction === '' ? '' : `.${fraction}`;
        const sign = negative ? '-' : '';
        expect(textOf(written(encodeDecimal(precision, fraction.length), cell))).toBe(
          `${sign}${before}${behind}`,
        );
      }),
      { numRuns: 2_000 },
    );
  });

  it('date times become microseconds, and those that are no day are told', () => {
    const part = (max: number) => fc.nat(max);
    const parts = fc.tuple(part(9999), part(12), part(31), part(23), part(59), part(59));
    fc.assert(
      fc.property(parts, fc.nat(999_999), (fields, micros) => {
        const [year, month, day, hour, minute, second] = fields;
        const packed = ((((year * 13 + month) * 32 + day) * 32 + hour) * 64 + minute) * 64 + second;
        const cell = Buffer.alloc(8);
        cell.writeUIntBE(packed + 0x8000000000, 0, 5);
        cell.writeUIntBE(micros, 5, 3);
        const date = new Date(0);
        date.setUTCFullYear(year, month - 1, day);
        date.setUTCHours(hour, minute, second);
        const exists = year > 0 && month > 0 && date.getUTCDate() === day;
        expect(isNoDayDatetime(cell, 0, 8)).toBe(!exists);
        if (!exists) return;
        const { value } = longAt(written(encodeDatetime, cell));
        expect(value).toBe(BigInt(date.getTime()) * 1000n + BigInt(micros));
      }),
      { numRuns: 2_000 },
    );
  });

  it('a timestamp is the same text whatever came before it', () => {
    const near = fc.integer({ min: 1_790_000_000, max: 1_790_200_000 });
    const seconds = fc.oneof(near, fc.integer({ min: 1, max: 0xffffffff }));
    fc.assert(
      fc.property(fc.array(seconds, { maxLength: 20 }), fc.nat(6), (all, fsp) => {
        const encode = encodeTimestamp(fsp);
        for (const each of all) {
          const cell = Buffer.alloc(4 + ((fsp + 1) >> 1));
          cell.writeUInt32BE(each);
          const text = new Date(each * 1000).toISOString().slice(0, 19);
          const fraction = fsp === 0 ? '' : `.${'0'.repeat(fsp)}`;
          expect(textOf(written(encode, cell))).toBe(`${text}${fraction}Z`);
        }
      }),
    );
  });
});
