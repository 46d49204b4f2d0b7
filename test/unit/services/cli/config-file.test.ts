import { expect, test } from 'vitest';
import { parseConfigFile } from '../../../../services/cli/config-file.ts';

test.each([
  ['- just\n- a list', /must be a mapping/],
  ['text', /must be a mapping/],
  ['sources: [', /cannot be read as YAML: [^\n]*line 1[^\n]*$/],
  ['sources: 7', /sources/],
])('%j is refused, and the message says why', (text, why) => {
  expect(() => parseConfigFile(text)).toThrow(why);
});
