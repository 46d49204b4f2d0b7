import { readFileSync } from 'node:fs';
import { stripTypeScriptTypes } from 'node:module';
import { describe, expect, it } from 'vitest';
import { PLANTED_BUGS } from '../../chaos/planted-bugs.ts';

describe('planted bugs', () => {
  it('are ten', () => {
    expect(new Set(PLANTED_BUGS.map(({ name }) => name)).size).toBe(10);
  });

  it.each(PLANTED_BUGS)(
    '$name: each line is there once, and what replaces it can be read',
    ({ edits }) => {
      for (const { file, right, wrong } of edits) {
        const source = readFileSync(new URL(`../../../${file}`, import.meta.url), 'utf8');
        expect(source.split(right), `${file}: ${right}`).toHaveLength(2);
        expect(stripTypeScriptTypes(source.replace(right, () => wrong))).not.toBe('');
      }
    },
  );
});
