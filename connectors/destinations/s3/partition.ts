import type { PipelineError } from '../../../core/errors/pipeline-error.ts';
import type { ChangeBatch, PartitionTarget } from '../../spi/destination.ts';

/** Delivers one partition, in one of the modes. */
export interface Partition {
  readonly target: PartitionTarget;
  readonly label: string;
  /** Everything below this offset survives any crash. */
  readonly durable: number;
  /** Bytes in memory that `rotate` would let go of. */
  readonly pendingBytes: number;
  /** What failed behind records that were taken, and is not mended by trying again. */
  readonly failure: PipelineError | null;
  /** Answers where to read on; null when the bucket knows nothing of the partition. */
  open(): Promise<number | null>;
  /** Makes sure that a batch can be taken as a whole, without changing anything that is delivered. */
  prepare(batch: ChangeBatch): Promise<void>;
  /** Takes what of the batch was not taken before; `prepare` has passed it. */
  accept(batch: ChangeBatch): Promise<void>;
  /** Lets what was taken be made durable in the background, as far as the mode allows. */
  rotate(): Promise<void>;
  flush(): Promise<void>;
  /** Forgets what is not durable. */
  discard(): void;
}
