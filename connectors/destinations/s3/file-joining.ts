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
 * here or by another instance. What fails is tried again later: delivery never waits
 * for it and never fails by it.
 */
export class FileJoining {
  private readonly target: PartitionTarget;
  private readonly context: WriterContext;
  private readonly claims: JoinClaims;
  private readonly mark: string;
  private running: Promise<void> | null = null;
  /** Something was delivered since the look that is under way has begun. */
  private isWanted = false;
  /** Files since the last look. */
  private delivered: number;
  private durable = 0;
  private columns: readonly FileColumn[] = [];
  /** When replaced files were first seen, epoch milliseconds. */
  private seen = new Map<string, number>();
  private timer: NodeJS.Timeout | null = null;
  private closed = false;

  constructor(target: PartitionTarget, context: WriterContext) {
    const { store, settings, connectionId } = context;
    this.target = target;
    this.context = context;
    this.mark = ownerMark(connectionId, target);
    this.claims = new JoinClaims(store, controlPrefix(settings, connectionId, target));
    // The first file may be one that an instance before had delivered, and joined.
    this.delivered = settings.joinFiles ?? 0;
  }

  /** To be called with what is there at the start: an instance before may have left work half done,
   * and a stream that is idle has no other occasion. */
  begin(durable: number, columns: readonly FileColumn[]): void {
    this.durable = durable;
    this.columns = columns;
    this.look();
  }

  /** To be called when everything below `durable` is in files with these columns, or fewer. */
  fileDelivered(durable: number, columns: readonly FileColumn[]): void {
    this.durable = durable;
    this.columns = columns;
    if (++this.delivered < (this.context.settings.joinFiles ?? Infinity)) return;
    this.delivered = 0;
    this.look();
  }

  private look(): void {
    const { joinFiles, retentionMs } = this.context.settings;
    this.isWanted = this.running !== null;
    if (joinFiles === null || this.running !== null || this.closed) return;
    this.running = this.run(joinFiles)
      .catch((error: unknown) => this.failed(error))
      .then((isAtRest) => {
        this.running = null;
        if (this.isWanted) this.look();
        else if (!isAtRest) this.lookLater(retentionMs);
      });
  }

  private lookLater(waitMs: number): void {
    if (this.closed) return;
    if (this.timer !== null) clearTimeout(this.timer);
    this.timer = setTimeout(() => this.look(), waitMs);
    this.timer.unref();
  }

  /** False when somebody has to look again: replaced files are kept for their readers, or another
   * instance was faster. */
  private async run(leastFiles: number): Promise<boolean> {
    const { rotateBytes: targetBytes } = this.context.settings;
    const begun = await this.claims.newest();
    if (begun !== null) await this.carryOut(begun);
    for (let number = (begun?.number ?? 0) + 1; !this.closed; number++) {
      const { current, replaced } = sortFiles(await this.files());
      const isTidy = await this.removeReplaced(replaced);
      const inputs = filesToJoin(current, { targetBytes, leastFiles, durable: this.durable });
      if (inputs === null) return isTidy;
      const claim = claimOf(number, inputs);
      if (!(await this.claims.make(claim))) return false;
      await this.carryOut(claim);
    }
    return true;
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

  private async carryOut(claim: JoinClaim): Promise<void> {
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
      const layout = fileLayout(this.columns, settings);
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

  /** Removes those that no reader can have begun with any more; true when none is left. */
  private async removeReplaced(replaced: readonly FileRange[]): Promise<boolean> {
    const { store, settings } = this.context;
    const now = Date.now();
    const before = this.seen;
    this.seen = new Map(replaced.map(({ key }) => [key, before.get(key) ?? now]));
    for (const [key, since] of this.seen) {
      if (since > now - settings.retentionMs || this.closed) continue;
      await store.delete(key);
      this.seen.delete(key);
    }
    return this.seen.size === 0;
  }

  private failed(error: unknown): boolean {
    if (!this.closed) metrics.errors.inc({ code: toPipelineError(error).code });
    return false;
  }

  close(): void {
    this.closed = true;
    if (this.timer !== null) clearTimeout(this.timer);
    this.timer = null;
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
