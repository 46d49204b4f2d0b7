import { randomUUID } from 'node:crypto';
import { rm } from 'node:fs/promises';
import { PipelineError } from '../../../core/errors/pipeline-error.ts';
import { metrics } from '../../../core/observe/metrics.ts';
import { failpoint } from '../../../core/run/failpoints.ts';
import { streamLabel } from '../../../schemas/catalog/stream-id.ts';
import type { PartitionTarget, SchemaLookup } from '../../spi/destination.ts';
import { ClaimChain, type ChainState, type Claim } from './claim-chain.ts';
import type { Encoder, Spool } from './encoder.ts';
import { controlPrefix, dataKey, ownerMark, rowIdHash, streamPrefix } from './object-key.ts';
import type { ObjectStore } from './object-store.ts';
import type { S3Settings } from './settings.ts';
import type { FileLayout, SpooledFile } from './spool-builder.ts';
import type { FieldsOfStreams } from './stream-fields.ts';
import type { UploadSlots } from './upload-slots.ts';

/** What the partitions of a writer share. */
export interface WriterContext {
  readonly connectionId: string;
  readonly settings: S3Settings;
  readonly store: ObjectStore;
  readonly encoder: Encoder;
  readonly fields: FieldsOfStreams;
  readonly schemas: SchemaLookup;
  readonly spoolFolder: string;
  readonly uploads: UploadSlots;
  readonly signal: AbortSignal;
}

/** Counts an uploaded file by its size. */
export function observeFile(context: WriterContext, target: PartitionTarget, bytes: number): void {
  const stream = streamLabel(target.stream.stream);
  metrics.fileBytes.observe({ connection: context.connectionId, stream }, bytes);
}

/** A range that takes no more records. The fields that change keep what a failed attempt has done. */
export interface SealedRange {
  readonly first: number;
  readonly end: number;
  readonly layout: FileLayout;
  /** Null when the range has no rows. */
  readonly spool: Spool | null;
  files: readonly SpooledFile[] | null;
  /** Set when the claim is decided, or from the start when it was found unfinished. */
  claim: Claim | null;
  claimMade: boolean;
}

/** Brings the sealed ranges of one partition into the bucket, one after the other: files built, range
 * claimed, files uploaded, head moved. Each step may be repeated, here or by another instance. */
export class RangeDelivery {
  /** Names topic and partition in row ids. */
  readonly idHash: string;
  private readonly target: PartitionTarget;
  private readonly context: WriterContext;
  private readonly chain: ClaimChain;
  private readonly mark: string;
  private chainEnd = 0;

  constructor(target: PartitionTarget, context: WriterContext) {
    const { settings, connectionId, store } = context;
    this.target = target;
    this.context = context;
    this.mark = ownerMark(connectionId, target);
    this.chain = new ClaimChain(store, controlPrefix(settings, connectionId, target));
    this.idHash = rowIdHash(target);
  }

  /** Where the chain of claims stands. Parts that an interrupted upload left are removed. */
  async open(): Promise<ChainState> {
    const state = await this.state();
    const { tail, finished } = state;
    if (tail === null) return state;
    this.chainEnd = finished ? tail.end : tail.previousEnd;
    for (const { key } of finished ? [] : tail.files) await this.context.store.abortUploads(key);
    return state;
  }

  /** Files of this partition without claims: someone removed the claims, and to begin again from the
   * topic's start would write every row a second time. A claim comes before its files, so another
   * instance's that were made just now are no such files when one looks for claims once more. */
  private async state(): Promise<ChainState> {
    const state = await this.chain.load();
    if (state.tail !== null) return state;
    const key = await this.anyFile();
    if (key === null) return state;
    const again = await this.chain.load();
    if (again.tail !== null) return again;
    const label = streamLabel(this.target.stream.stream);
    throw new PipelineError(
      'DST_STATE_LOST',
      `the bucket holds files of stream ${label} but no record of what they contain (folder _headrace)`,
      { details: { stream: label, key } },
    );
  }

  private async anyFile(): Promise<string | null> {
    const { settings, store } = this.context;
    for await (const key of store.list(streamPrefix(settings, this.target))) {
      if (key.includes(`${this.mark}-`)) return key;
    }
    return null;
  }

  async deliver(sealed: SealedRange): Promise<void> {
    const { spool } = sealed;
    sealed.files ??= spool === null ? [] : await this.context.encoder.seal(spool);
    const claim = (sealed.claim ??= this.claimOf(sealed, sealed.files));
    if (!sealed.claimMade) {
      await failpoint('s3.before_claim');
      if (!(await this.chain.append(claim))) throw this.fenced(claim);
      sealed.claimMade = true;
      await failpoint('s3.after_claim');
    }
    for (const file of sealed.files) await this.upload(claim, file);
    await failpoint('s3.after_upload');
    await this.chain.finish(claim);
    await failpoint('s3.claim_closed');
    this.chainEnd = claim.end;
    for (const { path } of sealed.files) await rm(path, { force: true });
  }

  private claimOf({ first, end, layout }: SealedRange, files: readonly SpooledFile[]): Claim {
    const { settings } = this.context;
    const range = { id: randomUUID(), first, end, createdAt: Date.now() };
    return {
      version: 1,
      ...range,
      previousEnd: this.chainEnd,
      layout,
      files: files.map(({ folder, rows }) => ({
        key: dataKey(settings, this.target, this.mark, range, folder),
        folder,
        rows,
      })),
    };
  }

  /** The key is the claim's. A file that the claim lists and that has no rows any more (compacted away
   * before the claim could be finished) has nothing to show and is never asked for here. */
  private async upload(claim: Claim, { folder, path, bytes, rows }: SpooledFile): Promise<void> {
    const { store, uploads } = this.context;
    const key = claim.files.find((file) => file.folder === folder)?.key;
    if (key === undefined) {
      throw new PipelineError(
        'BUG_UNEXPECTED',
        `rows for a folder that the claim lacks: ${folder}`,
      );
    }
    const metadata = {
      'headrace-claim': claim.id,
      'headrace-range': `${claim.first}-${claim.end}`,
      'headrace-rows': String(rows),
    };
    if (await uploads.run(() => store.uploadIfAbsent(key, path, bytes, metadata))) {
      observeFile(this.context, this.target, bytes);
      return;
    }
    // It is there: an answer that got lost, or another instance that finishes the same claim.
    const there = await store.head(key);
    if (there?.['headrace-claim'] !== claim.id) throw this.fenced(claim);
  }

  private fenced(claim: Claim): PipelineError {
    const { topic, partition, stream } = this.target;
    return new PipelineError(
      'SNK_FENCED',
      `another instance has claimed partition ${topic}-${partition}`,
      { details: { stream: streamLabel(stream.stream), offset: claim.first } },
    );
  }
}
