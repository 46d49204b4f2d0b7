import { describe, expect, it } from 'vitest';
import { jsonbText, parseJson } from '../../../../schemas/normalize/json-value.ts';

describe('the text of a jsonb', () => {
  it.each([
    ['{"bb":1,"a":[1, 2.50,{}],  "a":[]}', '{"a": [], "bb": 1}'],
    ['{"é":1,"zz":2,"z":3}', '{"z": 3, "zz": 2, "é": 1}'],
    ['[1e100]', `[1${'0'.repeat(100)}]`],
    ['[1e-7, -1.5e-7, 1.50e1, 12e-1, 0.001]', '[0.0000001, -0.00000015, 15.0, 1.2, 0.001]'],
    ['[-0.0, -0, 0e5, 1E+2]', '[0.0, 0, 0, 100]'],
    [
      '[18446744073709551615, -9223372036854775808]',
      '[18446744073709551615, -9223372036854775808]',
    ],
    ['"\\u00e9\\/\\b\\u0001\\"\\\\"', '"é/\\b\\u0001\\"\\\\"'],
    [' null ', 'null'],
    ['[true,false,null,""]', '[true, false, null, ""]'],
  ])('%s', (document, text) => {
    expect(jsonbText(parseJson(document))).toBe(text);
  });

  it.each(['', '{', '[1', '{"a" 1}', '1 2', '{"a":1,,}'])('refuses %j', (document) => {
    expect(() => jsonbText(parseJson(document))).toThrow(SyntaxError);
  });
});
