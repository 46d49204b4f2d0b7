import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { PipelineError } from '../../../../core/errors/pipeline-error.ts';
import type {
  ChangeBatch,
  DestinationWriter,
  PartitionTarget,
} from '../../../../connectors/spi/destination.ts';
import { Lane } from '../../../../services/sink/lane.ts';

function target(name: string, partition = 0): PartitionTarget {
  return {
    stream: {
      stream: { namespace: 'public', name },
      namespace: null,
      name,
      mode: 'append',
      primaryKey: [],
    },
    topic: `t.${name}`,
    partition,
  };
}

function batch(to: PartitionTarget, firstOffset: number, bytes = 10): ChangeBatch {
  return {
    target: to,
    firstOffset,
    nextOffset: firstOffset + 1,
    records: {
      count: 1,
      bytes: Buffer.alloc(bytes, firstOffset),
      offsets: Float64Array.of(firstOffset),
      keyStarts: Int32Array.of(-1),
      keyEnds: Int32Array.of(-1),
      valueStarts: Int32Array.of(0),
      valueEnds: Int32Array.of(bytes),
    },
  };
}

/** Each record by its offset, which must be what its bytes say. */
function recordsOf({ target: to, firstOffset, nextOffset, records }: ChangeBatch): string[] {
  const offsets = [...records.offsets];
  expect([offsets[0], offsets.length]).toEqual([firstOffset, records.count]);
  expect(offsets.at(-1)).toBe(nextOffset - 1);
  return offsets.map((offset, i) => {
    const value = records.bytes.subarray(records.valueStarts[i], records.valueEnds[i]);
    expect(value.equals(Buffer.alloc(value.length, offset))).toBe(true);
    expect(records.keyStarts[i]).toBe(-1);
    return `${to.stream.name}/${to.partition}@${offset}`;
  });
}

/** A writer that applies in order and refuses what it is told to. */
class Recorder {
  readonly calls: string[][] = [];
  readonly partitions: string[][] = [];
  /** What was to come next, as told in each call. */
  readonly told: string[][] = [];
  refuse: (batches: readonly ChangeBatch[]) => PipelineError | null = () => null;

  readonly writer: DestinationWriter = {
    lanes: 1,
    open: () => Promise.resolve(null),
    durableOffset: () => 0,
    flush: () => Promise.resolve(),
    close: () => Promise.resolve(),
    write: async (batches, next) => {
      await Promise.resolve();
      this.told.push((next?.() ?? []).flatMap(recordsOf));
      // Asked again, it is the same.
      expect((next?.() ?? []).flatMap(recordsOf)).toEqual(this.told.at(-1));
      const error = this.refuse(batches);
      if (error !== null) throw error;
      this.calls.push(batches.flatMap(recordsOf));
      this.partitions.push(batches.map((b) => `${b.target.stream.name}/${b.target.partition}`));
    },
  };
}

function laneOn(recorder: Recorder): { lane: Lane; stopped: string[] } {
  const stopped: string[] = [];
  const lane = new Lane(recorder.writer, {
    busy: () => undefined,
    written: () => undefined,
    streamStopped: (label, error) => stopped.push(`${label} ${error.code}`),
  });
  return { lane, stopped };
}

describe('Lane', () => {
  it('keeps the order of every partition and puts no partition twice into a call', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(fc.nat(3), { maxLength: 40 }), async (partitions) => {
        const recorder = new Recorder();
        const { lane } = laneOn(recorder);
        partitions.forEach((partition, offset) => lane.push(batch(target('a', partition), offset)));
        await lane.settled(0);
        const written = recorder.calls.flat();
        for (const call of recorder.partitions) expect(new Set(call).size).toBe(call.length);
        // The first leaves at once; everything that waited meanwhile leaves together.
        expect(recorder.calls.length).toBeLessThanOrEqual(2);
        for (const partition of new Set(partitions)) {
          const expected = partitions.flatMap((p, offset) =>
            p === partition ? [`a/${partition}@${offset}`] : [],
          );
          expect(written.filter((entry) => entry.startsWith(`a/${partition}@`))).toEqual(expected);
        }
      }),
    );
  });

  it('goes on without the one stream that is to blame', async () => {
    const recorder = new Recorder();
    recorder.refuse = (batches) =>
      batches.some((b) => b.target.stream.name === 'bad')
        ? new PipelineError('DST_VALUE', 'no', { details: { stream: 'public.bad' } })
        : null;
    const { lane, stopped } = laneOn(recorder);
    lane.push(batch(target('first'), 0));
    lane.push(batch(target('bad'), 0));
    lane.push(batch(target('good'), 0));
    lane.push(batch(target('bad'), 1));
    await lane.settled(0);
    expect(stopped).toEqual(['public.bad DST_VALUE']);
    expect(recorder.calls.flat()).toEqual(['first/0@0', 'good/0@0']);
    expect(lane.bytes).toBe(0);
  });

  it('fails as a whole on an error that blames no stream, and on a fence', async () => {
    for (const error of [
      new PipelineError('DST_UNAVAILABLE', 'gone'),
      new PipelineError('SNK_FENCED', 'moved on', { details: { stream: 'public.a' } }),
    ]) {
      const recorder = new Recorder();
      recorder.refuse = () => error;
      const { lane } = laneOn(recorder);
      lane.push(batch(target('a'), 0));
      await expect(lane.settled(0)).rejects.toBe(error);
    }
  });

  it('joins what waits up to a size', async () => {
    const recorder = new Recorder();
    const { lane } = laneOn(recorder);
    for (let offset = 0; offset < 6; offset++) lane.push(batch(target('a'), offset, 100_000));
    await lane.settled(0);
    expect(recorder.calls.map((call) => call.length)).toEqual([1, 2, 2, 1]);
  });

  it('tells what comes next where much waits, and keeps to it', async () => {
    const recorder = new Recorder();
    const { lane } = laneOn(recorder);
    for (let offset = 0; offset < 6; offset++) lane.push(batch(target('a'), offset, 100_000));
    expect(lane.bytesHeld).toBeGreaterThan(lane.bytes);
    await lane.settled(0);
    // 100,000 bytes are worth waiting for more.
    expect(recorder.told.slice(0, -2)).toEqual(recorder.calls.slice(1, -1));
    expect(recorder.told.slice(-2)).toEqual([[], []]);
    expect(lane.bytesHeld).toBe(0);
  });

  it('drops what was to come next of a stream that is stopped', async () => {
    const recorder = new Recorder();
    recorder.refuse = (batches) =>
      batches.some((b) => b.target.stream.name === 'bad' && b.firstOffset === 0)
        ? new PipelineError('DST_VALUE', 'no', { details: { stream: 'public.bad' } })
        : null;
    const { lane } = laneOn(recorder);
    lane.push(batch(target('bad'), 0));
    for (let offset = 1; offset < 4; offset++) lane.push(batch(target('bad'), offset, 200_000));
    lane.push(batch(target('good'), 0));
    await lane.settled(0);
    expect(recorder.told[0]).toEqual(['bad/0@1', 'good/0@0']);
    expect(recorder.calls.flat()).toEqual(['good/0@0']);
  });

  it('lets a reader wait for room', async () => {
    const recorder = new Recorder();
    const { lane } = laneOn(recorder);
    for (let offset = 0; offset < 10; offset++) lane.push(batch(target('a'), offset, 100));
    await lane.settled(300);
    expect(lane.bytes).toBeLessThanOrEqual(300);
  });
});
