import { randomBytes } from 'node:crypto';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { foldLz4, unfoldLz4 } from '../../../topics/wire/lz4.ts';

const MOST = 16 * 1024 * 1024;
const refused = expect.objectContaining({ code: 'EVT_UNDECODABLE' }) as Error;

/** Runs of few letters, so that there is something to find, and of noise. */
const mixture = fc
  .array(
    fc.oneof(
      fc.uint8Array({ maxLength: 40 }).map((bytes) => Buffer.from(bytes)),
      fc
        .tuple(fc.constantFrom('a', 'abc', 'row '), fc.nat(30_000))
        .map(([text, times]) => Buffer.from(text.repeat(times))),
    ),
    { maxLength: 12 },
  )
  .map((parts) => Buffer.concat(parts));

describe('lz4 frames', () => {
  test('hold exactly what was put in', () => {
    fc.assert(
      fc.property(mixture, (bytes) => {
        expect(unfoldLz4(foldLz4(bytes), MOST).equals(bytes)).toBe(true);
      }),
      { numRuns: 200 },
    );
  });

  test('are smaller where bytes repeat, and hardly larger where none do', () => {
    const rows = Buffer.from(
      Array.from({ length: 20_000 }, (_, i) => `{"id":${i},"status":"open"}`).join(),
    );
    expect(foldLz4(rows).length).toBeLessThan(rows.length / 2);
    expect(foldLz4(randomBytes(200_000)).length).toBeLessThan(200_100);
  });

  test('with checksums and the size of their content are read, as other writers make them', () => {
    const header = '04224d18' + '7c40' + '2700000000000000' + '00';
    // Three letters, the same again 31 bytes long from 3 back, and the five that must be literal.
    const block = '3f616263' + '0300' + '0c' + '506263616263';
    const frame = Buffer.from(`${header}0d000000${block}${'00000000'.repeat(3)}`, 'hex');
    expect(unfoldLz4(frame, MOST).toString()).toBe('abc'.repeat(13));
  });

  test('that are cut, changed or too large are refused', () => {
    const whole = foldLz4(Buffer.from('abc'.repeat(10_000)));
    expect(() => unfoldLz4(whole, 1_000)).toThrow(refused);
    for (let end = 0; end < whole.length; end++) {
      expect(() => unfoldLz4(whole.subarray(0, end), MOST)).toThrow(refused);
    }
    for (let at = 0; at < whole.length; at++) {
      const changed = Buffer.from(whole);
      changed[at] = (changed[at] as number) ^ 0xff;
      try {
        unfoldLz4(changed, MOST);
      } catch (error) {
        expect(error).toEqual(refused);
      }
    }
  });
});
