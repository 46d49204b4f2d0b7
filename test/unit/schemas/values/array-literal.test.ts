import fc from 'fast-check';
import { expect, test } from 'vitest';
import { parseJson } from '../../../../schemas/normalize/json-value.ts';
import { arrayAsJson, arrayOfJson } from '../../../../schemas/values/array-literal.ts';

test.each([
  ['{}', 'text[]', '[]'],
  ['{1,NULL,-3}', 'integer[]', '[1,null,-3]'],
  ['{9223372036854775807}', 'bigint[]', '[9223372036854775807]'],
  ['{1.10,NaN,Infinity}', 'numeric(10,2)[]', '[1.10,"NaN","Infinity"]'],
  ['{t,f,NULL}', 'boolean[]', '[true,false,null]'],
  ['{a,"b c","NULL",null,""}', 'text[]', '["a","b c","NULL",null,""]'],
  ['{"a\\"b\\\\c,}{"}', 'text[]', '["a\\"b\\\\c,}{"]'],
  ['{{1,2},{3,4}}', 'integer[]', '[[1,2],[3,4]]'],
  ['{{{1}},{{2}}}', 'integer[]', '[[[1]],[[2]]]'],
  ['[0:1]={5,6}', 'integer[]', '[5,6]'],
  ['[1:1][-2:-1]={{5,6}}', 'integer[]', '[[5,6]]'],
  ['{"{\\"a\\": [1, 2]}",null}', 'jsonb[]', '[{"a": [1, 2]},null]'],
  ['{2024-01-01}', 'date[]', '["2024-01-01"]'],
  ['{1,2', 'integer[]', '"{1,2"'],
  ['{1}{2}', 'integer[]', '"{1}{2}"'],
  ['nonsense', undefined, '"nonsense"'],
])('%s of %s', (literal, native, json) => {
  expect(arrayAsJson(literal, native)).toBe(json);
});

test('any texts, quoted as Postgres quotes them, come back', () => {
  fc.assert(
    fc.property(fc.array(fc.option(fc.string({ unit: 'grapheme' }))), (texts) => {
      const quoted = texts.map((text) =>
        text === null ? 'NULL' : `"${text.replace(/["\\]/g, '\\$&')}"`,
      );
      expect(JSON.parse(arrayAsJson(`{${quoted.join(',')}}`, 'text[]'))).toEqual(texts);
    }),
  );
});

test.each([
  ['[]', 'text[]'],
  ['[9223372036854775807,null,-3]', 'bigint[]'],
  ['[1.10,"NaN"]', 'numeric(10,2)[]'],
  ['[true,false,null]', 'boolean[]'],
  ['["a\\"b\\\\c,}{","","NULL",null]', 'text[]'],
  ['[[1,2],[3,4]]', 'integer[]'],
  ['[{"a": [1, 2]},{"b": "x\\"y"}]', 'jsonb[]'],
])('%s of %s comes back from its literal', (json, native) => {
  expect(arrayAsJson(arrayOfJson(parseJson(json)), native)).toBe(json);
});
