import { randomUUID } from 'node:crypto';
import { rm } from 'node:fs/promises';
import { PipelineError } from '../../../core/errors/pipeline-error.ts';
import { metrics } from '../../../core/observe/metrics.ts';
import { failpoint } from '../../../core/run/failpoints.ts';
import { streamLabel } from '../../../schemas/catalog/stream-id.ts';
import type { PartitionTarget, SchemaLookup } from '../../spi/destination.ts';
import type { Claim, ClaimChain } from './claim-chain.ts';
import type { Encoder } from './encoder.ts';
import type { Spool } from './spool.ts';
import { fenced } from './errors.ts';
import { dataKey, rowIdHash } from './object-key.ts';
import type { ObjectStore } from './object-store.ts';
import { RebuildStart, type OpenedFiles } from './rebuild-start.ts';
import { RebuildSwitch, stagedKey } from './rebuild-switch.ts';
import { Rebuilds, type FileSet, type Rebuild } from './rebuilds.ts';
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
  private readonly rebuilds: Rebuilds;
  private readonly rebuildSwitch: RebuildSwitch;
  private opened: OpenedFiles | null = null;
  private isShown = true;
  private chainEnd = 0;

  constructor(target: PartitionTarget, context: WriterContext) {
    const { settings, connectionId, store } = context;
    this.target = target;
    this.context = context;
    this.rebuilds = new Rebuilds(store, settings, connectionId, target);
    this.rebuildSwitch = new RebuildSwitch(target, context, this.rebuilds);
    this.idHash = rowIdHash(target);
  }

  /** Where the chain of claims stands. Parts that an interrupted upload left are removed, and a switch
   * that was cut off is carried out. */
  async open(): Promise<OpenedFiles> {
    const opened = await new RebuildStart(this.target, this.context, this.rebuilds).open();
    const { tail, finished, rebuild, isShown, start } = opened;
    this.opened = opened;
    this.isShown = isShown;
    if (tail !== null) {
      this.chainEnd = finished ? tail.end : tail.previousEnd;
      for (const file of finished ? [] : tail.files) {
        await this.context.store.abortUploads(file.staged ?? file.key);
      }
    }
    if (rebuild !== null && isShown) this.rebuildSwitch.tidy(rebuild.number);
    else if (start !== null) await this.showUpTo(start);
    return opened;
  }

  /** The rebuild that readers do not see yet; null when there is none. */
  get hidden(): Rebuild | null {
    return this.isShown ? null : (this.opened?.rebuild ?? null);
  }

  /** Files of the partition that it goes on with. */
  get set(): FileSet {
    return this.opened?.set ?? this.rebuilds.set(0);
  }

  private get chain(): ClaimChain {
    if (this.opened !== null) return this.opened.chain;
    throw new PipelineError('BUG_UNEXPECTED', 'a range for a partition that was not opened');
  }

  /** Everything below `end` is in the bucket: a rebuild that is complete with it is shown. */
  private async showUpTo(end: number): Promise<void> {
    const { hidden } = this;
    if (hidden === null || end < hidden.until) return;
    try {
      await this.rebuildSwitch.carryOut(hidden, this.chain);
    } catch (error) {
      // Another instance may have been faster, and has removed what was to be copied.
      if ((await this.rebuilds.shown()) < hidden.number) throw error;
    }
    this.isShown = true;
    this.rebuildSwitch.tidy(hidden.number);
  }

  close(): void {
    this.rebuildSwitch.close();
  }

  async deliver(sealed: SealedRange): Promise<void> {
    const { spool } = sealed;
    sealed.files ??= spool === null ? [] : await this.context.encoder.seal(spool);
    const claim = (sealed.claim ??= this.claimOf(sealed, sealed.files));
    if (!sealed.claimMade) {
      await failpoint('s3.before_claim');
      if (!(await this.chain.append(claim))) throw this.claimedByAnother(claim);
      sealed.claimMade = true;
      await failpoint('s3.after_claim');
    }
    for (const file of sealed.files) await this.upload(claim, file);
    await failpoint('s3.after_upload');
    await this.chain.finish(claim);
    await failpoint('s3.claim_closed');
    this.chainEnd = claim.end;
    await this.showUpTo(claim.end);
    for (const { path } of sealed.files) await rm(path, { force: true });
  }

  private claimOf({ first, end, layout }: SealedRange, files: readonly SpooledFile[]): Claim {
    const { settings } = this.context;
    const { hidden, set } = this;
    const range = { id: randomUUID(), first, end, createdAt: Date.now() };
    return {
      version: 1,
      ...range,
      previousEnd: this.chainEnd,
      layout,
      files: files.map(({ folder, rows }) => ({
        key: dataKey(settings, this.target, set.mark, range, folder),
        folder,
        rows,
        ...(hidden === null ? {} : { staged: stagedKey(set.prefix, folder, range) }),
      })),
    };
  }

  /** The key is the claim's. A file that the claim lists and that has no rows any more (compacted away
   * before the claim could be finished) has nothing to show and is never asked for here. */
  private async upload(claim: Claim, { folder, path, bytes, rows }: SpooledFile): Promise<void> {
    const { store, uploads } = this.context;
    const claimed = claim.files.find((file) => file.folder === folder);
    if (claimed === undefined) {
      throw new PipelineError(
        'BUG_UNEXPECTED',
        `rows for a folder that the claim lacks: ${folder}`,
      );
    }
    const key = claimed.staged ?? claimed.key;
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
    if (there?.['headrace-claim'] !== claim.id) throw this.claimedByAnother(claim);
  }

  private claimedByAnother({ first }: Claim): PipelineError {
    return fenced(this.target, 'has claimed', { offset: first });
  }
}
