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
import { offsetText, ownerMark, streamPrefix } from './object-key.ts';
import { observeFile, type WriterContext } from './range-delivery.ts';
import type { FileSet } from './rebuilds.ts';
import { ReplacedFiles } from './replaced-files.ts';

/** Names of a stream's newest files that are looked at together (invariant 9). */
const MOST_NAMES = 20_000;

/** What of a partition is delivered: everything below `durable`, in files with these columns or fewer. */
export interface DeliveredFiles {
  readonly set: FileSet;
  readonly durable: number;
  readonly columns: readonly FileColumn[];
}

/**
 * Puts small files of one partition together, in the background: claimed, built, uploaded, and the
 * joined ones removed when no reader can have begun with them any more. Each step may be repeated,
 * here or by another instance. What fails is tried again later: delivery never waits
 * for it and never fails by it.
 */
export class FileJoining {
  private readonly target: PartitionTarget;
  private readonly context: WriterContext;
  private readonly replaced: ReplacedFiles;
  private claims: JoinClaims | null = null;
  private files: DeliveredFiles | null = null;
  private running: Promise<void> | null = null;
  /** Something was delivered since the look that is under way has begun. */
  private isWanted = false;
  /** Files since the last look. */
  private delivered: number;
  private timer: NodeJS.Timeout | null = null;
  private closed = false;

  constructor(target: PartitionTarget, context: WriterContext) {
    this.target = target;
    this.context = context;
    this.replaced = new ReplacedFiles(context);
    // The first file may be one that an instance before had delivered, and joined.
    this.delivered = context.settings.joinFiles ?? 0;
  }

  /** To be called with what is there at the start: an instance before may have left work half done,
   * and a stream that is idle has no other occasion. */
  begin(delivered: DeliveredFiles): void {
    this.files = delivered;
    this.look();
  }

  /** To be called when everything below `durable` is in files with these columns, or fewer. */
  fileDelivered(delivered: DeliveredFiles): void {
    this.files = delivered;
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
    const { files } = this;
    if (files === null) return true;
    const claims = (this.claims ??= new JoinClaims(this.context.store, files.set.prefix));
    const begun = await claims.newest();
    if (begun !== null) await this.carryOut(begun);
    for (let number = (begun?.number ?? 0) + 1; !this.closed; number++) {
      const { current, replaced } = sortFiles(await this.filesOf(files.set));
      const isTidy = await this.replaced.remove(replaced.map(({ key }) => key));
      const inputs = filesToJoin(current, {
        targetBytes,
        leastFiles,
        durable: this.files?.durable ?? 0,
      });
      if (inputs === null) return isTidy;
      const claim = claimOf(number, inputs);
      if (!(await claims.make(claim))) return false;
      await this.carryOut(claim);
    }
    return true;
  }

  private async filesOf({ number }: FileSet): Promise<FileRange[]> {
    const { store, settings, connectionId } = this.context;
    const owner = ownerMark(connectionId, this.target);
    let files: FileRange[] = [];
    for await (const object of store.objects(streamPrefix(settings, this.target))) {
      const file = fileRange(object);
      if (file?.owner !== owner || file.rebuild !== number) continue;
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
      const layout = fileLayout(this.files?.columns ?? [], settings);
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

  private failed(error: unknown): boolean {
    if (!this.closed) metrics.errors.inc({ code: toPipelineError(error).code });
    return false;
  }

  close(): void {
    this.closed = true;
    this.replaced.close();
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
