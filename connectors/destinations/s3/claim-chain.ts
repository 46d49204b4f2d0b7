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
}

export interface Claim extends ClaimedRange {
  readonly version: 1;
  /** End of the claim before it, 0 for the first: its own place in the chain. */
  readonly previousEnd: number;
  readonly layout: FileLayout;
  readonly files: readonly ClaimedFile[];
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
      if (/\/\d{20}\.json$/.test(key)) newest = key;
    }
    return newest;
  }

  /** A head may be missing although all is done: the crash came between the last file and it. */
  private async filesExist(claim: Claim): Promise<boolean> {
    for (const { key } of claim.files) {
      if ((await this.store.head(key)) === null) return false;
    }
    return true;
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
