import type { Replay } from '../../../../connectors/spi/destination.ts';
import type { S3Writer } from '../../../../connectors/destinations/s3/writer.ts';
import type { MemoryTopic } from './memory-topic.ts';

export interface DeliverySteps {
  readonly step: number;
  /** The topic's end when not given. */
  readonly to?: number;
  /** After each step. */
  seen?(): Promise<void>;
}

/** Delivers a topic from where the destination says, a flush behind each step; answers where that was. */
export async function deliverInSteps(
  writer: S3Writer,
  topic: MemoryTopic,
  replay: Replay | null,
  { step, to = topic.end, seen }: DeliverySteps,
): Promise<number | null> {
  const target = replay === null ? topic.target : { ...topic.target, replay };
  const from = await writer.open(target);
  for (let at = from ?? 0; at < to; at = Math.min(to, at + step)) {
    const batch = topic.batch(at, Math.min(to, at + step));
    await writer.write([{ ...batch, target }]);
    await writer.flush();
    await seen?.();
  }
  return from;
}
