import { randomUUID } from 'node:crypto';
import { PipelineError } from '../../../core/errors/pipeline-error.ts';
import type { ObjectStore } from './object-store.ts';
import { offsetText, type ClaimedRange } from './object-key.ts';
import type { FileLayout } from './spool-builder.ts';

/**
 * The claims of one partition: what delivery exactly once rests on.
 *
 * A claim is an object `<end of the claim before it>.json`, made with If-None-Match, so each link of
 * the chain exists once. It fixes the range, the files' keys and all that their content depends on
 * before a file is visible; the next claim is made only when its files are there. Whoever opens
 * the partition after a crash, or while a forgotten instance still runs, finishes the same files under
 * the same keys (invariant 6). `_head.json` names the newest finished claim: it spares a start the
 * whole list, and a stale one only makes the start look at more links.
 */

export interface ClaimedFile {
  readonly key: string;
  /** Date folder within the stream's path; empty without date folders. */
  readonly folder: string;
  readonly rows: number;
  /** Where a file of a rebuild that is not shown yet lies; it gets its key with the switch. */
  readonly staged?: string;
}

export interface Claim extends ClaimedRange {
  readonly version: 1;
  /** End of the claim before it, 0 for the first: its own place in the chain. */
  readonly previousEnd: number;
  readonly layout: FileLayout;
  readonly files: readonly ClaimedFile[];
  /** Number of the rebuild that takes the files' place: no claim can follow. */
  readonly closedBy?: number;
}

interface Head {
  /** Key of the newest finished claim. */
  readonly claim: string;
}

export interface ChainState {
  /** The newest claim; null when the partition has none. */
  readonly tail: Claim | null;
  readonly finished: boolean;
}

/** Ends a chain; its range is what was claimed and, so far, not delivered. */
export function closingClaim(
  { tail, finished }: ChainState,
  layout: FileLayout,
  closedBy: number,
): Claim {
  const end = tail?.end ?? 0;
  return {
    version: 1,
    id: randomUUID(),
    first: tail === null || finished ? end : tail.first,
    end,
    createdAt: Date.now(),
    previousEnd: end,
    layout: tail?.layout ?? layout,
    files: [],
    closedBy,
  };
}

export class ClaimChain {
  private readonly store: ObjectStore;
  private readonly prefix: string;

  /** `prefix`: the partition's control folder, with a slash behind. */
  constructor(store: ObjectStore, prefix: string) {
    this.store = store;
    this.prefix = prefix;
  }

  async load(): Promise<ChainState> {
    const head = await this.store.get(this.headKey);
    const finished = head === null ? null : (JSON.parse(head) as Head).claim;
    const newest = await this.newestKey(finished);
    if (newest === null) return { tail: null, finished: true };
    const tail = await this.read(newest);
    if (tail === null) {
      throw new PipelineError('DST_STATE_LOST', `the claim ${newest} was removed from the bucket`, {
        details: { key: newest },
      });
    }
    return { tail, finished: newest === finished || (await this.filesExist(tail)) };
  }

  private async newestKey(finished: string | null): Promise<string | null> {
    let newest = finished;
    for await (const key of this.store.list(this.prefix, finished ?? undefined)) {
      if (this.isClaim(key)) newest = key;
    }
    return newest;
  }

  /** A head may be missing although all is done: the crash came between the last file and it. */
  private async filesExist(claim: Claim): Promise<boolean> {
    for (const { key, staged } of claim.files) {
      const isStaged = staged !== undefined && (await this.store.head(staged)) !== null;
      if (!isStaged && (await this.store.head(key)) === null) return false;
    }
    return true;
  }

  /** All that there are, oldest first. */
  async *claims(): AsyncGenerator<Claim> {
    for await (const key of this.store.list(this.prefix)) {
      const claim = this.isClaim(key) ? await this.read(key) : null;
      if (claim !== null) yield claim;
    }
  }

  /** Below the folder lie the claims of rebuilds, too. */
  private isClaim(key: string): boolean {
    return /^\d{20}\.json$/.test(key.slice(this.prefix.length));
  }

  /** False when this link of the chain is another instance's; true also when it is this very claim,
   * made by a request whose answer got lost. */
  async append(claim: Claim): Promise<boolean> {
    const key = this.claimKey(claim.previousEnd);
    if (await this.store.putIfAbsent(key, JSON.stringify(claim))) return true;
    const winner = await this.read(key);
    return winner?.id === claim.id;
  }

  async finish({ previousEnd }: Claim): Promise<void> {
    const head: Head = { claim: this.claimKey(previousEnd) };
    await this.store.put(this.headKey, JSON.stringify(head));
  }

  private async read(key: string): Promise<Claim | null> {
    const text = await this.store.get(key);
    return text === null ? null : (JSON.parse(text) as Claim);
  }

  private get headKey(): string {
    return `${this.prefix}_head.json`;
  }

  private claimKey(previousEnd: number): string {
    return `${this.prefix}${offsetText(previousEnd)}.json`;
  }
}
