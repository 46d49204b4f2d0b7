import type { PartitionTarget } from '../../spi/destination.ts';
import type { Claim, ClaimChain, ClaimedFile } from './claim-chain.ts';
import { fenced } from './errors.ts';
import { fileRange } from './file-ranges.ts';
import { ownerMark, streamPrefix } from './object-key.ts';
import type { WriterContext } from './range-delivery.ts';
import type { Rebuild, Rebuilds } from './rebuilds.ts';
import { ReplacedFiles } from './replaced-files.ts';

/** Files that the store is asked to copy at once. */
const PARALLEL_COPIES = 8;

/**
 * Puts a rebuild in the place of the files before it: copies its files, which nobody could see so far,
 * into the stream's folder, switches readers with one object, and removes what is replaced when no
 * reader can have begun with it any more. Each step may be repeated, here or by another instance.
 */
export class RebuildSwitch {
  private readonly target: PartitionTarget;
  private readonly context: WriterContext;
  private readonly rebuilds: Rebuilds;
  private readonly replaced: ReplacedFiles;
  private timer: NodeJS.Timeout | null = null;
  private closed = false;

  constructor(target: PartitionTarget, context: WriterContext, rebuilds: Rebuilds) {
    this.target = target;
    this.context = context;
    this.rebuilds = rebuilds;
    this.replaced = new ReplacedFiles(context);
  }

  /** `chain` has all of the rebuild up to its `until`. */
  async carryOut(rebuild: Rebuild, chain: ClaimChain): Promise<void> {
    const { connectionId } = this.context;
    const { topic, partition } = this.target;
    let next = rebuild.from;
    let files = 0;
    let rows = 0;
    const group: ClaimedFile[] = [];
    for await (const claim of chain.claims()) {
      group.push(...claim.files);
      if (group.length >= PARALLEL_COPIES) await this.copy(group.splice(0));
      files += claim.files.length;
      for (const file of claim.files) rows += file.rows;
      next = claim.end;
    }
    await this.copy(group);
    const shown = { ...rebuild, connectionId, topic, partition, next, files, rows };
    if (!(await this.rebuilds.show(shown))) throw fenced(this.target, 'has rebuilt');
  }

  private async copy(files: readonly ClaimedFile[]): Promise<void> {
    const { store } = this.context;
    await Promise.all(
      files.map(({ key, staged }) => (staged === undefined ? null : store.copy(staged, key))),
    );
  }

  /** To be called once the rebuild is shown, also by a start that finds it so. What fails is done at
   * another time: nothing waits for it. */
  tidy(number: number): void {
    void this.run(number)
      .catch(() => false)
      .then((isAtRest) => {
        if (isAtRest || this.closed) return;
        this.timer = setTimeout(() => this.tidy(number), this.context.settings.retentionMs);
        this.timer.unref();
      });
  }

  private async run(number: number): Promise<boolean> {
    const { store, settings, connectionId } = this.context;
    // Those before it may have been given up half-way.
    for (let each = number; each > 0; each--) {
      for await (const key of store.list(stagedFolder(this.rebuilds.set(each).prefix))) {
        if (this.closed) return false;
        await store.delete(key);
      }
    }
    const mark = ownerMark(connectionId, this.target);
    const old: string[] = [];
    for await (const object of store.objects(streamPrefix(settings, this.target))) {
      const file = fileRange(object);
      if (file?.owner === mark && file.rebuild < number) old.push(object.key);
    }
    return this.replaced.remove(old);
  }

  close(): void {
    this.closed = true;
    this.replaced.close();
    if (this.timer !== null) clearTimeout(this.timer);
    this.timer = null;
  }
}

function stagedFolder(prefix: string): string {
  return `${prefix}staged/`;
}

/** Where a file of a rebuild lies until the switch: outside of the stream's folder, for some readers
 * take all files below it. */
export function stagedKey(
  prefix: string,
  folder: string,
  { first, end }: Pick<Claim, 'first' | 'end'>,
): string {
  return `${stagedFolder(prefix)}${folder}${first}-${end}.parquet`;
}
