import { expect, test } from 'vitest';
import { withColumns } from '../../../../../connectors/destinations/s3/file-columns.ts';
import type { ColumnType } from '../../../../../schemas/values/column-type.ts';

function columnsOf(types: Record<string, ColumnType>) {
  return Object.entries(types).map(([name, type]) => ({ name, type, inKey: false }));
}

test('names are reduced, and those that become alike are told apart', () => {
  const text = { kind: 'string' } as const;
  const columns = withColumns(
    [],
    columnsOf({ 'a b': text, a_b: text, A_B: text, '1st': text, '': text, _ab_cdc_lsn: text }),
  );
  expect(columns.map(({ name }) => name)).toEqual([
    'a_b',
    'a_b_2',
    'A_B_3',
    '_1st',
    '_',
    '_ab_cdc_lsn_2',
  ]);
});

test('a decimal that Parquet cannot hold is text', () => {
  const columns = withColumns(
    [],
    columnsOf({
      plain: { kind: 'decimal', precision: 12, scale: 2 },
      small: { kind: 'decimal', precision: 3, scale: 5 },
      rounded: { kind: 'decimal', precision: 5, scale: -2 },
      free: { kind: 'decimal' },
      long: { kind: 'decimal', precision: 39, scale: 0 },
      shifted: { kind: 'decimal', precision: 38, scale: -2 },
    }),
  );
  expect(columns.map(({ form, scale }) => [form, scale])).toEqual([
    ['decimal', 2],
    ['decimal', 5],
    ['decimal', 0],
    ['text', undefined],
    ['text', undefined],
    ['text', undefined],
  ]);
});

test('columns are added behind and never taken away', () => {
  const first = withColumns([], columnsOf({ a: { kind: 'int32' }, b: { kind: 'string' } }));
  const second = withColumns(first, columnsOf({ c: { kind: 'bytes' }, a: { kind: 'int64' } }));
  expect(second.map(({ source }) => source)).toEqual(['a', 'b', 'c']);
  expect(withColumns(second, columnsOf({ b: { kind: 'json' } }))).toBe(second);
});

test.each([
  [{ kind: 'int32' }, { kind: 'float64' }],
  [{ kind: 'int64' }, { kind: 'decimal', precision: 10, scale: 0 }],
  [
    { kind: 'decimal', precision: 10, scale: 2 },
    { kind: 'decimal', precision: 10, scale: 3 },
  ],
  [{ kind: 'timestamp' }, { kind: 'timestamptz' }],
  [{ kind: 'string' }, { kind: 'bytes' }],
] satisfies [ColumnType, ColumnType][])('%o cannot become %o', (before, after) => {
  const known = withColumns([], columnsOf({ x: before }));
  expect(() => withColumns(known, columnsOf({ x: after }))).toThrow('column x is');
});
