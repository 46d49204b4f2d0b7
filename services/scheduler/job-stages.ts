import type { StageMs } from '../../core/store/jobs.ts';
import type { DeliveryStages, SourceStages } from '../../core/store/work.ts';

/** What the workers' clocks showed when they were last looked at. */
export interface SeenStages {
  readonly source?: SourceStages;
  readonly delivery?: DeliveryStages;
}

type Stages = SourceStages | DeliveryStages | undefined;

/**
 * The part of an attempt's time that each stage took. While the source is behind the barrier, its
 * stages and the writing count; afterwards the destination's, for what it waits for then is Kafka.
 */
export function addStages(
  spent: StageMs,
  before: SeenStages,
  now: SeenStages,
  { capturing }: { capturing: boolean },
): StageMs {
  const source = (stage: keyof SourceStages): number =>
    capturing ? grown(before.source, now.source, stage) : 0;
  const kafka = capturing ? source('kafka') : grown(before.delivery, now.delivery, 'kafka');
  const added: StageMs = {
    read: source('read'),
    encode: source('encode'),
    kafka,
    write: grown(before.delivery, now.delivery, 'write'),
  };
  return Object.fromEntries(
    Object.entries(added).map(([stage, ms]) => [stage, (spent[stage] ?? 0) + ms]),
  );
}

/** `source read 61 %, encode 12 %, Kafka 9 %, write 18 %`; empty when nothing was measured. */
export function stageShares(spent: StageMs): string {
  const total = Object.values(spent).reduce((sum, ms) => sum + ms, 0);
  if (total <= 0) return '';
  const share = (stage: string): number => Math.round(((spent[stage] ?? 0) / total) * 100);
  return (
    `source read ${share('read')} %, encode ${share('encode')} %, ` +
    `Kafka ${share('kafka')} %, write ${share('write')} %`
  );
}

/** A worker that began anew counts from zero; without an earlier look there is nothing to compare. */
function grown(before: Stages, now: Stages, stage: string): number {
  const to = (now as StageMs | undefined)?.[stage];
  const from = (before as StageMs | undefined)?.[stage];
  if (to === undefined || from === undefined) return 0;
  return to >= from ? to - from : to;
}
