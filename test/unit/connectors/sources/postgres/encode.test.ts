import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { CellEncoder } from '../../../../../connectors/capture/row-codec.ts';
import { splitCopyRow } from '../../../../../connectors/sources/postgres/copy-out.ts';
import {
  encodeBytea,
  encodeInteger,
} from '../../../../../connectors/sources/postgres/encode-numbers.ts';
import {
  encodeDate,
  encodeTimestamp,
  encodeTimestamptz,
} from '../../../../../connectors/sources/postgres/encode-times.ts';
import { AvroWriter } from '../../../../../schemas/avro/avro-writer.ts';
import { avroOracle } from '../../../../support/avro-oracle.ts';

function encoded(encode: CellEncoder, text: string, avro: string): unknown {
  const out = new AvroWriter(2 * text.length + 32);
  const src = Buffer.from(`<${text}>`);
  encode(out, src, 1, src.length - 1);
  return avroOracle(avro).fromBuffer(Buffer.from(out.bytes.subarray(0, out.pos)));
}

describe('cell encoders', () => {
  it('keep every 64-bit integer', () => {
    fc.assert(
      fc.property(fc.bigInt(-(2n ** 63n), 2n ** 63n - 1n), (value) => {
        expect(encoded(encodeInteger, String(value), 'long')).toBe(value);
      }),
    );
  });

  it('keep bytes', () => {
    fc.assert(
      fc.property(fc.uint8Array(), (value) => {
        const hex = `\\x${Buffer.from(value).toString('hex')}`;
        expect(encoded(encodeBytea, hex, 'bytes')).toEqual(Buffer.from(value));
      }),
    );
  });

  it('agree with the calendar of the platform where that is exact', () => {
    const moment = fc.integer({ min: -62_135_596_800_000, max: 253_402_300_799_999 });
    fc.assert(
      fc.property(moment, fc.nat(999), (ms, us) => {
        const iso = new Date(ms).toISOString();
        const text = `${iso.slice(0, 10)} ${iso.slice(11, 23)}${String(us).padStart(3, '0')}`;
        expect(encoded(encodeTimestamp, text, 'long')).toBe(BigInt(ms) * 1000n + BigInt(us));
        expect(encoded(encodeDate, text.slice(0, 10), 'int')).toBe(Math.floor(ms / 86_400_000));
        expect(encoded(encodeTimestamptz, `${text}+00`, 'string')).toBe(
          `${text.replace(' ', 'T')}Z`,
        );
      }),
    );
  });

  it.each([
    [encodeInteger, '12a'],
    [encodeInteger, ''],
    [encodeInteger, '123456789012345678901'],
    [encodeBytea, 'dead'],
    [encodeBytea, '\\xzz'],
    [encodeTimestamptz, '2024-01-01 00:00:00+02'],
    [encodeDate, '01.02.2024'],
    [encodeTimestamp, '2024-01-01'],
  ])('refuse what Postgres does not print so: %o %s', (encode, text) => {
    expect(() => encoded(encode, text, 'bytes')).toThrow(
      expect.objectContaining({ code: 'SRC_VALUE' }),
    );
  });
});

const ESCAPED: Readonly<Record<string, string>> = {
  '\\': '\\\\',
  '\b': '\\b',
  '\f': '\\f',
  '\n': '\\n',
  '\r': '\\r',
  '\t': '\\t',
  '\v': '\\v',
};

describe('a row of COPY', () => {
  it('gives back the cells that were written into it', () => {
    const cell = fc.option(
      fc.oneof(
        fc.string({ unit: 'binary' }),
        fc.string({ unit: fc.constantFrom(...'\\N\t\nabr') }),
      ),
    );
    fc.assert(
      fc.property(fc.array(cell, { minLength: 1, maxLength: 6 }), (cells) => {
        const line = cells.map((text) =>
          text === null
            ? '\\N'
            : text.replace(/[\\\b\f\n\r\t\v]/g, (char) => ESCAPED[char] as string),
        );
        const bytes = Buffer.from(`${line.join('\t')}\n`);
        const spans = new Int32Array(cells.length * 2);
        expect(splitCopyRow(bytes, 0, bytes.length, spans)).toBe(cells.length);
        const found = cells.map((_, i) =>
          (spans[i * 2] as number) < 0
            ? null
            : bytes.toString('utf8', spans[i * 2], spans[i * 2 + 1]),
        );
        expect(found).toEqual(
          cells.map((text) => (text === null ? null : Buffer.from(text).toString())),
        );
      }),
    );
  });
});
