import { fittingName } from '../../../../../schemas/normalize/names.ts';
import { describe, expect, it } from 'vitest';
import {
  covers,
  targetType,
  typeOfSpelling,
  widened,
} from '../../../../../connectors/destinations/postgres/column-type.ts';
import {
  arrayItems,
  arrayLiteral,
  columnName,
} from '../../../../../connectors/destinations/postgres/identifiers.ts';

describe('column types', () => {
  it.each([
    ['bigint', 'integer', true],
    ['integer', 'bigint', false],
    ['numeric', 'bigint', true],
    ['numeric(10,0)', 'integer', true],
    ['numeric(11,2)', 'integer', false],
    ['numeric', 'numeric(5,2)', true],
    ['numeric(5,2)', 'numeric', false],
    ['numeric(6,3)', 'numeric(5,2)', true],
    ['numeric(6,4)', 'numeric(5,2)', false],
    ['text', 'character varying(3)', true],
    ['character varying', 'text', true],
    ['character varying(3)', 'text', false],
    ['character varying(4)', 'character varying(3)', true],
    ['timestamp without time zone', 'timestamp(3) without time zone', true],
    ['timestamp(3) without time zone', 'timestamp without time zone', false],
    ['timestamp with time zone', 'timestamp without time zone', false],
    ['text', 'integer', false],
    ['text[]', 'character varying(3)[]', false],
    ['jsonb', 'json', false],
  ])('%s holds all of %s: %s', (wide, narrow, expected) => {
    expect(covers(wide, narrow)).toBe(expected);
  });

  it('widen to what holds both, or not at all', () => {
    expect(widened('integer', 'bigint')).toBe('bigint');
    expect(widened('bigint', 'numeric(5,2)')).toBe('numeric');
    expect(widened('numeric(5,2)', 'numeric(9,7)')).toBe('numeric');
    expect(widened('text', 'integer')).toBeNull();
    expect(widened('integer', 'text')).toBeNull();
    expect(widened('integer[]', 'bigint[]')).toBeNull();
  });

  it('are cast without a length, which would cut in silence', () => {
    expect(typeOfSpelling('bit(3)').cast).toBe('bit varying');
    expect(typeOfSpelling('character varying(3)[]').cast).toBe('character varying[]');
    expect(typeOfSpelling('character(3)').cast).toBeNull();
    expect(typeOfSpelling('interval day to second(3)').cast).toBe('interval');
  });

  it('follow the native name only where the kind agrees', () => {
    expect(targetType({ kind: 'string', native: 'jsonb' }).ddl).toBe('text');
    expect(targetType({ kind: 'array', native: 'integer' }).ddl).toBe('text');
    expect(targetType({ kind: 'timestamp', native: 'datetime(3)' }).ddl).toBe(
      'timestamp without time zone',
    );
  });
});

describe('identifiers', () => {
  it('keep what fits and cut the rest to 63 bytes', () => {
    expect(fittingName('a'.repeat(63))).toBe('a'.repeat(63));
    expect(fittingName('a'.repeat(64))).toMatch(/^a{54}_[0-9a-f]{8}$/);
    expect(Buffer.byteLength(fittingName('\u{1f600}'.repeat(40)))).toBeLessThanOrEqual(63);
    expect(columnName('tableoid')).toBe('tableoid_');
    expect(columnName('_headrace_seq')).toBe('_headrace_seq_');
  });

  it('survive an array literal', () => {
    const names = ['plain', 'with "quotes"', 'back\\slash', 'co,mma', '{brace}', 'NULL', '', 'ü x'];
    expect(arrayItems(arrayLiteral(names))).toEqual(names);
    expect(arrayItems('{}')).toEqual([]);
  });
});
