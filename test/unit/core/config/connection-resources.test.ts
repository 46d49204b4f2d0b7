import { expect, test } from 'vitest';
import { memoryLimitOf, resourceNotes } from '../../../../core/config/connection-resources.ts';

test('a limit of memory counts; an empty one, and none, do not', () => {
  expect(memoryLimitOf({ memory_limit: '64Mi' })).toBe(64 * 1024 * 1024);
  expect(memoryLimitOf({ memory_limit: 1_000_000 })).toBe(1_000_000);
  for (const none of [undefined, {}, { memory_limit: '' }, { memory_limit: null }]) {
    expect(memoryLimitOf(none)).toBeUndefined();
    expect(resourceNotes(none)).toEqual([]);
  }
});

test('says what holds and what does not', () => {
  const notes = resourceNotes({ memory_limit: '64Mi', cpu_limit: '1.0', memory_request: '' });
  expect(notes).toEqual([
    expect.stringContaining('memory_limit bounds the buffers of the delivery (64Mi)'),
    expect.stringContaining('cpu_limit kept and not applied'),
  ]);
});
