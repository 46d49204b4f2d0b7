import type { ErrorCode } from '../../../core/errors/codes.ts';
import type { ErrorDetails } from '../../../core/errors/pipeline-error.ts';
import type { ChangeSchema } from '../../../schemas/envelope/change-decoder.ts';
import type { FileColumn } from './file-columns.ts';
import type { FoundField } from './json-fields.ts';
import type { Joined, JoinSpec } from './file-join.ts';
import type { KeyedContent, KeyedSpoolSpec } from './keyed-spool.ts';
import type { Merged, MergeSpec } from './key-merge.ts';
import type { RecordChunk, SpooledFile, SpoolSpec } from './spool-builder.ts';

/** A chunk that comes back, and the fields of its documents that the columns lack. */
export interface Searched {
  readonly chunk: RecordChunk;
  readonly fields: readonly FoundField[];
}

/** What passes between a writer and the thread that builds its files. */
export type ToEncoder =
  | { readonly type: 'schema'; readonly schema: ChangeSchema }
  | { readonly type: 'open'; readonly spec: SpoolSpec }
  | {
      readonly type: 'widen';
      /** Of the question. */
      readonly spool: number;
      readonly widened: number;
      readonly columns: readonly FileColumn[];
    }
  | {
      readonly type: 'find';
      /** Of the question; there is no spool. */
      readonly spool: number;
      readonly chunk: RecordChunk;
      readonly columns: readonly FileColumn[];
    }
  | { readonly type: 'open-keyed'; readonly spec: KeyedSpoolSpec }
  | { readonly type: 'seal-keyed'; readonly spool: number }
  | { readonly type: 'merge'; readonly spool: number; readonly merge: MergeSpec }
  | { readonly type: 'join'; readonly spool: number; readonly join: JoinSpec }
  | { readonly type: 'records'; readonly spool: number; readonly chunk: RecordChunk }
  | { readonly type: 'seal'; readonly spool: number }
  | { readonly type: 'discard'; readonly spool: number };

export type FromEncoder =
  | {
      readonly type: 'taken';
      readonly spool: number;
      /** Bytes of the chunk that was taken. */
      readonly chunkBytes: number;
      readonly encodedBytes: number;
      readonly pendingBytes: number;
      readonly files: number;
    }
  | { readonly type: 'found'; readonly spool: number; readonly search: Searched }
  | { readonly type: 'widened'; readonly spool: number; readonly done: boolean }
  | { readonly type: 'joined'; readonly spool: number; readonly joined: Joined }
  | { readonly type: 'sealed'; readonly spool: number; readonly files: readonly SpooledFile[] }
  | { readonly type: 'sealed-keyed'; readonly spool: number; readonly content: KeyedContent }
  | { readonly type: 'merged'; readonly spool: number; readonly merged: Merged }
  | {
      readonly type: 'failed';
      readonly spool: number;
      readonly code: ErrorCode;
      readonly message: string;
      readonly details: ErrorDetails;
    };
