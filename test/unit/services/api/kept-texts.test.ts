import { expect, test } from 'vitest';
import { KeptTexts } from '../../../../services/api/kept-texts.ts';

test('keeps texts until they are too many, and lets the one go that was longest unused', () => {
  const kept = new KeptTexts(10);
  kept.keep('a', 'aaaa');
  kept.keep('b', 'bbbb');
  expect(kept.get('a')).toBe('aaaa');
  kept.keep('c', 'cccc');
  expect([kept.get('a'), kept.get('b'), kept.get('c')]).toEqual(['aaaa', undefined, 'cccc']);
});

test('a text that is kept again counts once', () => {
  const kept = new KeptTexts(10);
  for (let i = 0; i < 5; i++) kept.keep('a', 'aaaa');
  kept.keep('b', 'bbbb');
  expect([kept.get('a'), kept.get('b')]).toEqual(['aaaa', 'bbbb']);
});

test('one that is larger than all may be is not kept', () => {
  const kept = new KeptTexts(3);
  kept.keep('a', 'aaaa');
  expect(kept.get('a')).toBeUndefined();
});
