import { describe, expect, it } from 'vitest';
import { fingerprint, SeenRows } from '../../../../../connectors/sources/mysql/seen-rows.ts';

const [one, other] = ['one', 'other'].map((text) => fingerprint(Buffer.from(text))) as [
  string,
  string,
];

describe('rows that a read has met', () => {
  it('are known again as often as they were there', () => {
    const seen = new SeenRows(10);
    for (const print of [one, one, other]) seen.add(print);
    const again = new SeenRows(10, seen.toText());
    expect([one, one, one, other, other].map((print) => again.take(print))).toEqual([
      true,
      true,
      false,
      true,
      false,
    ]);
  });

  it('are forgotten beyond the limit, and then told again', () => {
    const seen = new SeenRows(1);
    seen.add(one);
    seen.add(other);
    const again = new SeenRows(1, seen.toText());
    expect([again.take(other), again.take(one)]).toEqual([false, true]);
  });
});
