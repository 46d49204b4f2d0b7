import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { murmur2, partitionOf } from '../../../../schemas/envelope/partition.ts';
import { RecordArena } from '../../../../schemas/envelope/record-arena.ts';

type Pair = [string, string];

function fill(arena: RecordArena, records: Pair[]): void {
  for (const [key, value] of records) {
    const bytes = Buffer.from(key + value);
    arena.out.ensure(bytes.length);
    arena.out.copyRaw(bytes, 0, Buffer.byteLength(key));
    arena.endKey();
    arena.out.copyRaw(bytes, Buffer.byteLength(key), bytes.length);
    arena.endValue();
  }
}

function contents(arena: RecordArena): Pair[] {
  const pairs: Pair[] = [];
  let start = 0;
  for (let i = 0; i < arena.count; i++) {
    const keyEnd = arena.keyEnds[i] as number;
    const valueEnd = arena.valueEnds[i] as number;
    const text = (from: number, to: number): string => arena.out.bytes.toString('utf8', from, to);
    pairs.push([text(start, keyEnd), text(keyEnd, valueEnd)]);
    start = valueEnd;
  }
  return pairs;
}

describe('RecordArena', () => {
  it('keeps records whole through split, truncate and further writing', () => {
    const records = fc.array(fc.tuple(fc.string(), fc.string()), { maxLength: 600 });
    fc.assert(
      fc.property(records, records, fc.nat(), fc.nat(), (first, more, splitAt, truncateAt) => {
        const arena = new RecordArena(1);
        fill(arena, first);
        const at = splitAt % (first.length + 1);
        const tail = new RecordArena(16);
        arena.splitInto(tail, at);
        expect(contents(arena)).toEqual(first.slice(0, at));
        expect(contents(tail)).toEqual(first.slice(at));
        const kept = truncateAt % (tail.count + 1);
        tail.truncate(kept);
        fill(tail, more);
        expect(contents(tail)).toEqual([...first.slice(at, at + kept), ...more]);
      }),
    );
  });
});

describe('partitionOf', () => {
  // Values of Kafka's own Java utility for these byte strings.
  it.each([
    ['21', -973932308],
    ['foobar', -790332482],
    ['a-little-bit-long-string', -985981536],
    ['a-little-bit-longer-string', -1486304829],
    ['lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8', -58897971],
    ['abc', 479470107],
  ])('murmur2 of %s', (text, hash) => {
    const key = Buffer.from(`x${text}`);
    expect(murmur2(key, 1, key.length) | 0).toBe(hash);
    expect(partitionOf(key, 1, key.length, 7)).toBe((hash & 0x7fffffff) % 7);
  });
});
