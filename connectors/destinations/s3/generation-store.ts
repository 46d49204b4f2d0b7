import { randomUUID } from 'node:crypto';
import { PipelineError } from '../../../core/errors/pipeline-error.ts';
import { streamLabel } from '../../../schemas/catalog/stream-id.ts';
import type { PartitionTarget, Replay } from '../../spi/destination.ts';
import {
  GenerationChain,
  generationFileName,
  generationOf,
  generationPlace,
  type Generation,
  type GenerationContent,
  type GenerationFile,
} from './generation-chain.ts';
import { ownerMark, streamFolder } from './object-key.ts';
import { observeFile, type WriterContext } from './range-delivery.ts';
import type { BuiltFile } from './slot-files.ts';

/** How often another instance that opens the same partition at the same time is given way to. */
const OPEN_ATTEMPTS = 5;

/** Files of one attempt at a generation: nobody reads them before the manifest names them. */
export interface Draft {
  readonly id: string;
  readonly generation: number;
  files: number;
}

/**
 * Publishes the generations of one partition. `_generations/<mark>/` in the stream's folder has the
 * manifests and the files that they name; the stream's folder itself gets a copy of the newest
 * generation's files, for readers that take all files of a folder.
 */
export class GenerationStore {
  private readonly target: PartitionTarget;
  private readonly context: WriterContext;
  private readonly folder: string;
  private readonly mark: string;
  private readonly chain: GenerationChain;
  private tidyTimer: NodeJS.Timeout | null = null;

  constructor(target: PartitionTarget, context: WriterContext) {
    const { settings, connectionId, store } = context;
    this.target = target;
    this.context = context;
    this.mark = ownerMark(connectionId, target);
    this.folder = streamFolder(settings, target);
    this.chain = new GenerationChain(store, generationPlace(settings, connectionId, target));
  }

  get newest(): Generation | null {
    return this.chain.newest;
  }

  /** The order that is not carried out yet. */
  newReplay({ replay }: PartitionTarget): Replay | null {
    const { newest } = this;
    return replay === undefined || newest === null || newest.replay === replay.id ? null : replay;
  }

  /** Takes the partition over: from here on what another instance still does is fenced. Answers the
   * newest generation as it was. */
  async open(): Promise<Generation | null> {
    for (let attempt = 1; ; attempt++) {
      const newest = await this.chain.load();
      if (newest === null) await this.refuseOrphans();
      try {
        if (newest !== null) await this.switchTo(this.chain.next(takeOver(newest)));
        return newest;
      } catch (error) {
        if (!isFence(error) || attempt === OPEN_ATTEMPTS) throw error;
      }
    }
  }

  /** Files of ours without manifests: someone removed these, or the stream was delivered in mode
   * append before. Beside such files a reader of the folder would see rows twice. */
  private async refuseOrphans(): Promise<void> {
    for await (const key of this.context.store.list(this.folder)) {
      if (!key.includes(`${this.mark}-`)) continue;
      const label = streamLabel(this.target.stream.stream);
      throw new PipelineError(
        'DST_STATE_LOST',
        `the bucket holds files of stream ${label} but no record of what they contain (folder _generations)`,
        { details: { stream: label, key } },
      );
    }
  }

  draft(): Draft {
    const generation = (this.chain.newest?.generation ?? 0) + 1;
    return { id: randomUUID(), generation, files: 0 };
  }

  async upload(draft: Draft, file: BuiltFile): Promise<GenerationFile> {
    const { rows, bytes, sha256, firstSlot, endSlot, path } = file;
    const name = generationFileName(draft.generation, draft.id, draft.files++);
    const key = `${this.folder}_generations/${this.mark}/${name}`;
    const { store, uploads } = this.context;
    const metadata = {
      'headrace-generation': String(draft.generation),
      'headrace-rows': `${rows}`,
    };
    await uploads.run(() => store.uploadIfAbsent(key, path, bytes, metadata));
    observeFile(this.context, this.target, bytes);
    return { key, rows, bytes, sha256, firstSlot, endSlot };
  }

  /** Fixes what the next generation is. */
  next(content: GenerationContent): Generation {
    return this.chain.next(content);
  }

  /** Switches readers to a generation; may be repeated when it failed half-way. */
  async switchTo(generation: Generation): Promise<void> {
    if (this.chain.newest?.id !== generation.id) await this.chain.commit(generation);
    await this.fillFolder();
    await this.tidy();
  }

  /** Brings the stream's folder to the newest generation. Only files of generations that are known
   * here are removed: a forgotten instance cannot take away what a newer one has put there. */
  private async fillFolder(): Promise<void> {
    const { newest } = this.chain;
    const { store, settings } = this.context;
    if (newest === null) return;
    const prefix = `${this.folder}${this.mark}-`;
    const wanted = new Map(
      (settings.plainFolder ? newest.files : []).map(({ key }) => [
        `${prefix}${key.slice(key.lastIndexOf('/') + 1)}`,
        key,
      ]),
    );
    const surplus: string[] = [];
    for await (const key of store.list(prefix)) {
      if (!wanted.delete(key) && generationOf(key) <= newest.generation) surplus.push(key);
    }
    for (const [to, from] of wanted) await store.copy(from, to);
    for (const key of surplus) await store.delete(key);
  }

  /** Removes what was replaced long enough ago; what fails here is done next time. */
  private async tidy(): Promise<void> {
    const { retentionMs } = this.context.settings;
    await this.chain.prune(Date.now() - retentionMs).catch(() => undefined);
    if (this.tidyTimer !== null) clearTimeout(this.tidyTimer);
    this.tidyTimer = setTimeout(() => void this.tidy(), retentionMs);
    this.tidyTimer.unref();
  }

  close(): void {
    if (this.tidyTimer !== null) clearTimeout(this.tidyTimer);
    this.tidyTimer = null;
  }
}

/** A generation of the same files that reads nothing of the topic. */
function takeOver({ offsets, columns, files }: Generation): GenerationContent {
  const same = { first: offsets.next, next: offsets.next };
  return { id: randomUUID(), offsets: same, source: null, columns, files };
}

function isFence(error: unknown): boolean {
  return error instanceof PipelineError && error.code === 'SNK_FENCED';
}
