import { globSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { ROOT } from './source-files.ts';

/** The contracts with Airbyte's clients, each by its number in the name of a test. */
const CONTRACTS = Array.from({ length: 36 }, (_, i) => `CT-${String(i + 1).padStart(2, '0')}`);

test('every contract with a client is the name of a test', () => {
  const names = globSync(`${ROOT}test/{integration,e2e}/**/*.test.ts`).flatMap((file) =>
    [...readFileSync(file, 'utf8').matchAll(/\b(?:it|test)\(\s*(['"`])(.*?)\1,/gs)].map(
      ([, , name = '']) => name,
    ),
  );
  const tested = new Set(names.flatMap((name) => name.match(/CT-\d\d/g) ?? []));
  expect(CONTRACTS.filter((each) => !tested.has(each))).toEqual([]);
});

test('docs/api.md says of every contract where it is tested', () => {
  const page = readFileSync(join(ROOT, 'docs/api.md'), 'utf8');
  const said = new Set(page.match(/CT-\d\d/g));
  expect(CONTRACTS.filter((each) => !said.has(each))).toEqual([]);
});
