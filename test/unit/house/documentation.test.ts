import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { ERROR_CODES } from '../../../core/errors/codes.ts';
import { ROOT } from './source-files.ts';

function page(path: string): string {
  return readFileSync(join(ROOT, path), 'utf8');
}

describe('docs/errors.md', () => {
  const headings = [...page('docs/errors.md').matchAll(/^### (\S+)$/gm)].map((m) => m[1] ?? '');

  test('has a heading for every code, and no other (else: npm run docs:errors)', () => {
    expect(headings.toSorted()).toEqual(Object.keys(ERROR_CODES).toSorted());
  });

  test('says of every code what to do', () => {
    const text = page('docs/errors.md');
    const silent = Object.entries(ERROR_CODES)
      .filter(([, spec]) => !text.includes(spec.fix))
      .map(([code]) => code);
    expect(silent).toEqual([]);
  });

  test('every fix is a sentence', () => {
    const fixes = Object.entries(ERROR_CODES).map(([code, spec]) => ({ code, fix: spec.fix }));
    expect(fixes.filter(({ fix }) => !/^[A-Z].{15,}\.$/.test(fix))).toEqual([]);
  });
});

describe.each(['docs/flow.md', 'docs/invariants.md', 'docs/words.md', 'README.md'])(
  '%s',
  (path) => {
    test.runIf(existsSync(join(ROOT, path)))('names only files that exist', () => {
      const named = [...page(path).matchAll(/`([\w.-]+(?:\/[\w.-]+)+\.(?:ts|md|sh|json|yml))`/g)];
      const missing = named
        .map((match) => match[1] ?? '')
        .filter((f) => !existsSync(join(ROOT, f)));
      expect(missing).toEqual([]);
    });
  },
);

describe('docs/invariants.md', () => {
  test('has the nine invariants, in order', () => {
    const numbers = [...page('docs/invariants.md').matchAll(/^## (\d+)\. /gm)].map((m) => m[1]);
    expect(numbers).toEqual(['1', '2', '3', '4', '5', '6', '7', '8', '9']);
  });
});

describe('docs/decisions', () => {
  test('the index lists every decision, and none that does not exist', () => {
    const index = page('docs/decisions/README.md');
    const linked = [...index.matchAll(/\]\(([\w.-]+\.md)\)/g)].map((match) => match[1] ?? '');
    const written = readdirSync(join(ROOT, 'docs/decisions')).filter((f) => f !== 'README.md');
    expect(linked.toSorted()).toEqual(written.toSorted());
  });
});
