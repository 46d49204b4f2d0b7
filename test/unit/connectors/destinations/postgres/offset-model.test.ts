import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { PipelineError } from '../../../../../core/errors/pipeline-error.ts';
import { PartitionState } from '../../../../../connectors/destinations/postgres/partition-state.ts';
import type { StoredPartition } from '../../../../../connectors/destinations/postgres/offset-store.ts';
import type { StreamTable } from '../../../../../connectors/destinations/postgres/stream-table.ts';
import type { ChangeBatch, PartitionTarget } from '../../../../../connectors/spi/destination.ts';

/**
 * What a writer knows of its partition against an offset row in memory: two writers at once, batches of
 * any length, commits that happen or not and tell or not, a writer forgetting everything at any time.
 * Each offset is applied once and in order (invariants 3 and 6).
 */
const END = 30;
const TARGET = { topic: 't', partition: 0 } as PartitionTarget;

/** `silent`: the transaction committed and its answer was lost; `failed`: it did not commit. */
type Outcome = 'told' | 'silent' | 'failed';

interface Step {
  readonly writer: 0 | 1;
  readonly records: number;
  readonly outcome: Outcome;
  readonly dies: boolean;
  /** Reads on from where the reader is, not from what is applied: batches may overlap. */
  readonly back: number;
}

const STEP: fc.Arbitrary<Step> = fc.record({
  writer: fc.constantFrom<0 | 1>(0, 1),
  records: fc.integer({ min: 0, max: 6 }),
  outcome: fc.oneof(
    { weight: 3, arbitrary: fc.constant<Outcome>('told') },
    { weight: 1, arbitrary: fc.constantFrom<Outcome>('silent', 'failed') },
  ),
  dies: fc.boolean(),
  back: fc.integer({ min: 0, max: 2 }),
});

/** The target: what a transaction changes together. */
interface Target {
  next: number;
  readonly applied: number[];
}

function batchAt(first: number, end: number): ChangeBatch {
  const offsets = Array.from({ length: end - first }, (_, i) => first + i);
  return {
    target: TARGET,
    firstOffset: first,
    nextOffset: end,
    records: { count: offsets.length, offsets },
  } as unknown as ChangeBatch;
}

/** A writer's call: finds out about the last one, cuts off what is applied, and commits the rest. */
function write(target: Target, state: PartitionState, batch: ChangeBatch, outcome: Outcome): void {
  if (state.uncertain !== null) state.settle(target.next);
  const { from, to } = state.unapplied(batch);
  const next = Math.max(batch.nextOffset, state.position ?? 0);
  // As the transaction does: the row is compared before anything is applied.
  if (state.confirms(target.next)) return;
  state.uncertain = next;
  if (outcome === 'failed') return;
  for (let i = from; i < to; i++) target.applied.push(batch.records.offsets[i] as number);
  target.next = next;
  if (outcome === 'told') state.advance(next);
}

function run(steps: readonly Step[]): Target {
  const target: Target = { next: 0, applied: [] };
  const open = (): PartitionState => {
    const row = { nextOffset: target.next, isRebuild: false, replayUntil: null };
    return new PartitionState(TARGET, {} as StreamTable, row as StoredPartition);
  };
  const writers = [open(), open()];
  const step = ({ writer, records, outcome, dies, back }: Step): void => {
    const state = writers[writer] as PartitionState;
    const first = Math.max(0, (state.position ?? 0) - back);
    try {
      write(target, state, batchAt(first, Math.min(END, first + records)), outcome);
      if (dies) writers[writer] = open();
    } catch (error) {
      if (!(error instanceof PipelineError) || error.code !== 'SNK_FENCED') throw error;
      writers[writer] = open();
    }
  };
  for (const each of steps) step(each);
  for (let i = 0; i <= END; i++) {
    step({ writer: 0, records: 3, outcome: 'told', dies: false, back: 0 });
  }
  return target;
}

describe('the stored offset of a partition', () => {
  it('lets each record in once and in order, whoever writes and whatever fails', () => {
    fc.assert(
      fc.property(fc.array(STEP, { maxLength: 60 }), (steps) => {
        const { applied, next } = run(steps);
        expect(applied).toEqual(Array.from({ length: END }, (_, offset) => offset));
        expect(next).toBe(END);
      }),
      { numRuns: 1_000 },
    );
  });
});
