import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  describeTransform,
  fieldTransforms,
  transformed,
  type JsonType,
} from '../../../../core/store/field-transforms.ts';

const INTEGER = { type: 'number', airbyte_type: 'integer' };
const TEXT = { type: 'string' };
const DATE = { type: 'string', format: 'date' };

describe('what two schemas differ in', () => {
  it('tells columns that came, went and changed', () => {
    const found = fieldTransforms(
      { id: INTEGER, a: TEXT, b: TEXT },
      { id: INTEGER, a: INTEGER, c: DATE },
      ['id'],
    );
    expect(found.map(describeTransform)).toEqual([
      'column "a" changed from string to integer',
      'column "c" was added (date)',
      'column "b" was removed',
    ]);
    expect(found.some(({ breaking }) => breaking)).toBe(false);
  });

  it('calls the loss of a key or cursor column breaking', () => {
    const [gone] = fieldTransforms({ id: INTEGER, a: TEXT }, { a: TEXT }, ['id']);
    expect(gone).toEqual({
      transformType: 'remove_field',
      fieldName: ['id'],
      breaking: true,
      removeField: { schema: INTEGER },
    });
  });

  it.each([
    [{ type: 'integer' }, INTEGER],
    [{ type: ['null', 'string'] }, TEXT],
    [{ type: ['string', 'null'] }, DATE],
    [DATE, { ...DATE, airbyte_type: 'date' }],
  ])('takes %j and %j for the same type', (a, b) => {
    expect(fieldTransforms({ x: a }, { x: b }, [])).toEqual([]);
  });

  it('passes over fields that are Airbyte’s own', () => {
    expect(fieldTransforms({ _ab_cdc_lsn: INTEGER, a: TEXT }, { a: TEXT }, [])).toEqual([]);
  });

  it('leads from one schema to the other', () => {
    const type = fc.constantFrom<JsonType>(INTEGER, TEXT, { type: 'boolean' });
    const schema = fc.dictionary(fc.constantFrom('a', 'b', 'constructor', '__proto__', 'd'), type);
    fc.assert(
      fc.property(schema, schema, (old, next) => {
        expect(transformed(old, fieldTransforms(old, next, []))).toEqual(next);
      }),
    );
  });
});
