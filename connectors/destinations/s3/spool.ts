import type { PipelineError } from '../../../core/errors/pipeline-error.ts';
import type { GatheredRecords } from './gathered-records.ts';

/** The writer's end of one range being built. */
export interface Spool {
  readonly id: number;
  /** Bytes on the local disk so far: of Parquet, or of changes that wait for a merge. */
  encodedBytes: number;
  /** Bytes that were appended and that the thread has not yet taken. */
  sentBytes: number;
  /** Bytes that the thread holds until their row group is full. */
  pendingBytes: number;
  files: number;
  failure: PipelineError | null;
  /** What was appended and not sent; null where each chunk is sent by itself. */
  readonly gathered: GatheredRecords | null;
}

export function newSpool(id: number, gathered: GatheredRecords | null): Spool {
  return {
    id,
    encodedBytes: 0,
    sentBytes: 0,
    pendingBytes: 0,
    files: 0,
    failure: null,
    gathered,
  };
}
