import { randomUUID } from 'node:crypto';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { toPipelineError } from '../../../core/errors/pipeline-error.ts';
import { metrics } from '../../../core/observe/metrics.ts';
import type { PartitionTarget } from '../../spi/destination.ts';
import type { FileColumn } from './file-columns.ts';
import { fileLayout } from './file-layout.ts';
import { fileRange, filesToJoin, joinedKey, sortFiles, type FileRange } from './file-ranges.ts';
import { JoinClaims, type JoinClaim } from './join-claims.ts';
import { controlPrefix, offsetText, ownerMark, streamPrefix } from './object-key.ts';
import { observeFile, type WriterContext } from './range-delivery.ts';

/** Names of a stream's newest files that are looked at together (invariant 9). */
const MOST_NAMES = 20_000;

/**
 * Puts small files of one partition together, in the background: claimed, built, uploaded, and the
 * joined ones removed when no reader can have begun with them any more. Each step may be repeated,
 * here or by another instance. What fails is tried again with the next file: delivery never waits
 * for it and never fails by it.
 */
export class FileJoining {
  private readonly target: PartitionTarget;
  private readonly context: WriterContext;
  private readonly claims: JoinClaims;
  private readonly mark: string;
  private running: Promise<void> | null = null;
  private delivered = 0;
  /** When replaced files were first seen, epoch milliseconds. */
  private readonly seen = new Map<string, number>();
  private tidyTimer: NodeJS.Timeout | null = null;
  private closed = false;

  constructor(target: PartitionTarget, context: WriterContext) {
    const { store, settings, connectionId } = context;
    this.target = target;
    this.context = context;
    this.mark = ownerMark(connectionId, target);
    this.claims = new JoinClaims(store, controlPrefix(settings, connectionId, target));
    // The first look finds what an instance before has begun.
    this.delivered = settings.joinFiles ?? 0;
  }

  /** To be called when everything below `durable` is in files with these columns, or fewer. */
  fileDelivered(durable: number, columns: readonly FileColumn[]): void {
    const { joinFiles } = this.context.settings;
    if (joinFiles === null || ++this.delivered < joinFiles || this.running !== null) return;
    this.delivered = 0;
    this.running = this.run(durable, columns, joinFiles)
      .catch((error: unknown) => this.failed(error))
      .then(() => {
        this.running = null;
      });
  }

  private async run(
    durable: number,
    columns: readonly FileColumn[],
    leastFiles: number,
  ): Promise<void> {
    const { rotateBytes: targetBytes } = this.context.settings;
    const begun = await this.claims.newest();
    if (begun !== null) await this.carryOut(begun, columns);
    for (let number = (begun?.number ?? 0) + 1; !this.closed; number++) {
      const { current, replaced } = sortFiles(await this.files());
      this.tidyLater(replaced);
      const inputs = filesToJoin(current, { targetBytes, leastFiles, durable });
      if (inputs === null) return;
      const claim = claimOf(number, inputs);
      if (!(await this.claims.make(claim))) return; // another instance has the partition
      await this.carryOut(claim, columns);
    }
  }

  private async files(): Promise<FileRange[]> {
    const { store, settings } = this.context;
    let files: FileRange[] = [];
    for await (const object of store.objects(streamPrefix(settings, this.target))) {
      const file = fileRange(object);
      if (file?.mark !== this.mark) continue;
      files.push(file);
      if (files.length >= MOST_NAMES * 2) files = files.slice(MOST_NAMES);
    }
    return files;
  }

  private async carryOut(claim: JoinClaim, columns: readonly FileColumn[]): Promise<void> {
    const { store, encoder, settings, uploads } = this.context;
    if ((await store.head(claim.key)) !== null) return;
    const local: string[] = [];
    try {
      for (const key of claim.inputs) {
        const path = this.scratchPath();
        local.push(path);
        // A claim whose joined file was itself joined has nothing left to do.
        if (!(await store.download(key, path))) return;
      }
      const inputs = [...local];
      const path = this.scratchPath();
      local.push(path);
      // A closed writer's thread has ended and must not begin again.
      if (this.closed) return;
      const layout = fileLayout(columns, settings);
      const { rows, bytes } = await encoder.join({ inputs, path, layout });
      const metadata = { 'headrace-claim': claim.id, 'headrace-rows': String(rows) };
      if (await uploads.run(() => store.uploadIfAbsent(claim.key, path, bytes, metadata))) {
        observeFile(this.context, this.target, bytes);
      }
    } finally {
      for (const path of local) await rm(path, { force: true });
    }
  }

  private scratchPath(): string {
    return join(this.context.spoolFolder, randomUUID());
  }

  private tidyLater(replaced: readonly FileRange[]): void {
    const now = Date.now();
    for (const { key } of replaced) if (!this.seen.has(key)) this.seen.set(key, now);
    if (this.seen.size === 0 || this.tidyTimer !== null || this.closed) return;
    this.tidyTimer = setTimeout(() => void this.tidy(), this.context.settings.retentionMs);
    this.tidyTimer.unref();
  }

  private async tidy(): Promise<void> {
    const { store, settings } = this.context;
    const time = Date.now() - settings.retentionMs;
    try {
      for (const [key, since] of this.seen) {
        if (since > time || this.closed) continue;
        await store.delete(key);
        this.seen.delete(key);
      }
    } catch (error) {
      this.failed(error);
    }
    this.tidyTimer = null;
    this.tidyLater([]);
  }

  private failed(error: unknown): void {
    if (!this.closed) metrics.errors.inc({ code: toPipelineError(error).code });
  }

  close(): void {
    this.closed = true;
    if (this.tidyTimer !== null) clearTimeout(this.tidyTimer);
    this.tidyTimer = null;
  }
}

function claimOf(number: number, inputs: readonly FileRange[]): JoinClaim {
  const [first, last] = [inputs[0] as FileRange, inputs.at(-1) as FileRange];
  return {
    version: 1,
    id: randomUUID(),
    number,
    key: joinedKey(first, offsetText(last.end)),
    inputs: inputs.map(({ key }) => key),
    createdAt: new Date().toISOString(),
  };
}
