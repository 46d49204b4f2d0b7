import { expect, test } from 'vitest';
import { SharedReads } from '../../../../services/api/shared-reads.ts';

test('a question that comes while the same one is answered is asked once more, for all of them', async () => {
  const reads = new SharedReads();
  const asked: PromiseWithResolvers<string>[] = [];
  const answer = (): Promise<string> => {
    const open = Promise.withResolvers<string>();
    asked.push(open);
    return open.promise;
  };
  const first = reads.read('list', answer);
  const later = [1, 2, 3].map(() => reads.read('list', answer));
  expect(asked).toHaveLength(1);
  asked[0]?.resolve('before');
  expect(String(await first)).toBe('before');
  await expect.poll(() => asked.length).toBe(2);
  asked[1]?.resolve('after');
  expect((await Promise.all(later)).map(String)).toEqual(Array(3).fill('after'));
  expect(asked).toHaveLength(2);
});

test('other questions do not wait, and a failure is nobody else’s', async () => {
  const reads = new SharedReads();
  const failing = Promise.withResolvers<string>();
  const failed = reads.read('list', () => failing.promise);
  const next = reads.read('list', () => Promise.resolve('ok'));
  expect(String(await reads.read('other', () => Promise.resolve('other one')))).toBe('other one');
  failing.reject(new Error('the store is gone'));
  await expect(failed).rejects.toThrow('the store is gone');
  expect(String(await next)).toBe('ok');
});
