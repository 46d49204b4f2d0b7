import fc from 'fast-check';
import { expect, test } from 'vitest';
import { boundsOf } from '../../../../../connectors/destinations/s3/column-bounds.ts';
import { ColumnBuffers } from '../../../../../connectors/destinations/s3/column-buffer.ts';
import type { FileForm } from '../../../../../connectors/destinations/s3/file-columns.ts';
import {
  cellsOf,
  valueAt,
  type FileValue,
} from '../../../../../connectors/destinations/s3/file-values.ts';

const buffers = new ColumnBuffers();

function bounds(form: FileForm, values: readonly FileValue[]): unknown[] {
  const buffer = buffers.begin(form, values.length);
  cellsOf([values], [{ form }]).fill(0, buffer);
  const { min, max } = boundsOf(form, buffer);
  return [valueAt(form, buffer, min), valueAt(form, buffer, max)];
}

const RUNS = { numRuns: 2_000 };

test('bounds of bytes are those of sorting, however much the values have in common', () => {
  const letters = fc.constantFrom(0, 97, 98, 255);
  const value = fc.array(letters, { maxLength: 5 }).map((each) => Uint8Array.from(each));
  fc.assert(
    fc.property(fc.array(value, { minLength: 1, maxLength: 12 }), (values) => {
      const sorted = values.toSorted((a, b) => Buffer.compare(a, b));
      expect(bounds('bytes', values)).toEqual([sorted[0], sorted.at(-1)]);
    }),
    RUNS,
  );
});

test.each<[FileForm, bigint]>([
  ['int64', 2n ** 63n],
  ['decimal', 10n ** 38n],
])('bounds of %s are those of sorting', (form, limit) => {
  const near = [0n, 2n ** 31n, -(2n ** 31n), 2n ** 32n, -(2n ** 32n), limit - 3n, 3n - limit];
  const value = fc.oneof(
    fc.bigInt({ min: 1n - limit, max: limit - 1n }),
    fc
      .tuple(fc.constantFrom(...near), fc.constantFrom(-2n, -1n, 0n, 1n, 2n))
      .map(([a, b]) => a + b),
  );
  fc.assert(
    fc.property(fc.array(value, { minLength: 1, maxLength: 12 }), (values) => {
      const sorted = values.toSorted((a, b) => (a < b ? -1 : a > b ? 1 : 0));
      expect(bounds(form, values)).toEqual([sorted[0], sorted.at(-1)]);
    }),
    RUNS,
  );
});
