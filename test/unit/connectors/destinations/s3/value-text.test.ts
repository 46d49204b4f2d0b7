import fc from 'fast-check';
import { expect, test } from 'vitest';
import { ColumnBuffers } from '../../../../../connectors/destinations/s3/column-buffer.ts';
import { valueAt } from '../../../../../connectors/destinations/s3/file-values.ts';
import {
  appendDecimal,
  appendTimestamptz,
} from '../../../../../connectors/destinations/s3/value-text.ts';

const buffers = new ColumnBuffers();

function decimal(text: string, scale: number): unknown {
  const bytes = Buffer.from(`<${text}>`);
  const into = buffers.begin('decimal', 1);
  const isHeld = appendDecimal(into, bytes, 1, bytes.length - 1, scale);
  return isHeld ? valueAt('decimal', into, 0) : undefined;
}

function moment(text: string): unknown {
  const bytes = Buffer.from(`<${text}>`);
  const into = buffers.begin('timestamptz', 1);
  const isHeld = appendTimestamptz(into, bytes, 1, bytes.length - 1);
  return isHeld ? valueAt('timestamptz', into, 0) : undefined;
}

test('decimals keep every digit, whatever their length', () => {
  const digits = fc.bigInt({ min: -(10n ** 38n) + 1n, max: 10n ** 38n - 1n });
  fc.assert(
    fc.property(digits, fc.integer({ min: 0, max: 38 }), (unscaled, scale) => {
      const abs = (unscaled < 0n ? -unscaled : unscaled).toString().padStart(scale + 1, '0');
      const whole = abs.slice(0, abs.length - scale);
      const text = `${unscaled < 0n ? '-' : ''}${whole}${scale === 0 ? '' : `.${abs.slice(-scale)}`}`;
      expect(decimal(text, scale)).toBe(unscaled);
    }),
  );
});

test.each([
  ['1.5', 3, 1500n],
  ['1.500', 1, 15n],
  ['-0.00', 2, 0n],
  ['1.51', 1, undefined],
  ['NaN', 2, undefined],
  ['Infinity', 2, undefined],
  ['-Infinity', 2, undefined],
  ['99999999999999999999999999999999999999', 0, 10n ** 38n - 1n],
  ['100000000000000000000000000000000000000', 0, undefined],
])('decimal %s at scale %i', (text, scale, expected) => {
  expect(decimal(text, scale)).toBe(expected);
});

test('times of the years 0 to 9999 are those of JavaScript', () => {
  fc.assert(
    fc.property(
      fc.date({ min: new Date('0001-01-01Z'), max: new Date('9999-12-31Z'), noInvalidDate: true }),
      fc.nat(999),
      (date, micros) => {
        const text = date.toISOString().replace('Z', `${String(micros).padStart(3, '0')}Z`);
        expect(moment(text)).toBe(BigInt(date.getTime()) * 1000n + BigInt(micros));
      },
    ),
  );
});

test.each([
  ['1970-01-01T00:00:00Z', 0n],
  ['1969-12-31T23:59:59.9Z', -100_000n],
  ['4714-11-24T00:00:00Z BC', -210_866_803_200_000_000n],
  ['0001-12-31T00:00:00Z BC', -62_135_683_200_000_000n],
  ['294246-12-31T23:59:59.999999Z', 9_223_371_244_799_999_999n],
  ['294247-01-10T04:00:54.775807Z', 9_223_372_036_854_775_807n],
  ['294247-01-10T04:00:54.775808Z', undefined],
  ['294276-12-31T23:59:59.999999Z', undefined],
  ['infinity', undefined],
  ['-infinity', undefined],
])('moment %s', (text, expected) => {
  expect(moment(text)).toBe(expected);
});
