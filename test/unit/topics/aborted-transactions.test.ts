import { crc32c } from '@node-rs/crc32';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { AbortedTransaction } from '../../../topics/consume/fetch-request.ts';
import { parseBatches } from '../../../topics/consume/record-batches.ts';
import { cutBatches, writeBatch } from '../../../topics/produce/record-batch.ts';
import { ByteWriter } from '../../../topics/wire/bytes.ts';
import { arenaOf, recordsOf } from '../../support/record-arenas.ts';

/** A partition's log as a broker keeps it, and what it answers to a fetch of a part of it. */
class PartitionLog {
  private readonly batches: { bytes: Buffer; first: number; last: number }[] = [];
  private readonly open = new Map<number, number>();
  private readonly aborted: (AbortedTransaction & { last: number })[] = [];
  private readonly committed: string[] = [];
  private readonly pending = new Map<number, string[]>();
  private end = 0;

  write(producerId: number, values: readonly string[]): void {
    const arena = arenaOf(values.map((value) => ['k', value]));
    const [cut] = cutBatches(arena, 1 << 20, () => {});
    const out = new ByteWriter();
    writeBatch(out, cut!, { producerId, epoch: 0, sequence: 0, transactional: true }, 0);
    if (!this.open.has(producerId)) this.open.set(producerId, this.end);
    this.pending.set(producerId, [...(this.pending.get(producerId) ?? []), ...values]);
    this.add(Buffer.from(out.view()), values.length);
  }

  finish(producerId: number, commit: boolean): void {
    const first = this.open.get(producerId);
    if (first === undefined) return;
    this.open.delete(producerId);
    if (commit) this.committed.push(...(this.pending.get(producerId) ?? []));
    else this.aborted.push({ producerId, firstOffset: first, last: this.end });
    this.pending.delete(producerId);
    this.add(controlBatch(producerId, commit), 1);
  }

  private add(bytes: Buffer, count: number): void {
    bytes.writeBigInt64BE(BigInt(this.end), 0);
    this.batches.push({ bytes, first: this.end, last: this.end + count - 1 });
    this.end += count;
  }

  /** Reads all of it in answers of so many batches each. */
  async read(batchesPerAnswer: number): Promise<{ values: string[]; offset: number }> {
    const values: string[] = [];
    let offset = 0;
    while (offset < this.end) {
      const from = this.batches.findIndex(({ last }) => last >= offset);
      const answer = this.batches.slice(from, from + batchesPerAnswer);
      const last = answer.at(-1)!.last;
      const overlapping = this.aborted.filter((a) => a.last >= offset && a.firstOffset <= last);
      const bytes = Buffer.concat(answer.map((batch) => batch.bytes));
      const parsed = await parseBatches(bytes, offset, overlapping);
      values.push(...recordsOf(parsed.records).map(({ value }) => value ?? ''));
      expect(parsed.nextOffset).toBe(last + 1);
      offset = parsed.nextOffset;
    }
    return { values: values.toSorted(), offset };
  }

  expected(): string[] {
    return this.committed.toSorted();
  }
}

function controlBatch(producerId: number, commit: boolean): Buffer {
  const out = new ByteWriter();
  const arena = arenaOf([
    ['\u0000\u0000\u0000' + (commit ? '\u0001' : '\u0000'), '\u0000'.repeat(6)],
  ]);
  const [cut] = cutBatches(arena, 1 << 20, () => {});
  writeBatch(out, cut!, { producerId, epoch: 0, sequence: -1, transactional: true }, 0);
  const bytes = Buffer.from(out.view());
  bytes.writeInt16BE(0x30, 21);
  bytes.writeUInt32BE(crc32c(bytes.subarray(21)), 17);
  return bytes;
}

type Step = readonly ['write' | 'commit' | 'abort', number];

async function play(steps: readonly Step[], batchesPerAnswer: number): Promise<void> {
  const log = new PartitionLog();
  for (const [index, [what, producer]] of steps.entries()) {
    if (what === 'write') log.write(producer, [`${index}a`, `${index}b`]);
    else log.finish(producer, what === 'commit');
  }
  for (const producer of new Set(steps.map(([, p]) => p))) log.finish(producer, true);
  const { values } = await log.read(batchesPerAnswer);
  expect(values).toEqual(log.expected());
}

describe('aborted transactions are never delivered', () => {
  const shapes: Record<string, readonly Step[]> = {
    'one, with its marker in the same answer': [
      ['write', 1],
      ['abort', 1],
    ],
    'two of one producer in one answer': [
      ['write', 1],
      ['abort', 1],
      ['write', 1],
      ['abort', 1],
    ],
    'abort, commit, abort': [
      ['write', 1],
      ['abort', 1],
      ['write', 1],
      ['commit', 1],
      ['write', 1],
      ['abort', 1],
    ],
    'two producers, interleaved': [
      ['write', 1],
      ['write', 2],
      ['write', 1],
      ['abort', 1],
      ['write', 2],
      ['commit', 2],
    ],
  };
  describe.each(Object.entries(shapes))('%s', (_name, steps) => {
    // One batch per answer: the marker, and later the beginning, lie in other answers than the data.
    test.each([1, 2, 3, 100])('in answers of %d batches', (size) => play(steps, size));
  });

  test('whatever the order of writes and ends', async () => {
    const step = fc.tuple(
      fc.constantFrom('write' as const, 'write' as const, 'commit' as const, 'abort' as const),
      fc.integer({ min: 1, max: 3 }),
    );
    await fc.assert(
      fc.asyncProperty(
        fc.array(step, { minLength: 1, maxLength: 40 }),
        fc.integer({ min: 1, max: 6 }),
        (steps, size) => play(steps, size),
      ),
      { numRuns: 300 },
    );
  });
});
