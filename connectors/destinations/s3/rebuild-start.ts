import { randomUUID } from 'node:crypto';
import { PipelineError } from '../../../core/errors/pipeline-error.ts';
import { streamLabel } from '../../../schemas/catalog/stream-id.ts';
import type { PartitionTarget, Replay } from '../../spi/destination.ts';
import { ClaimChain, closingClaim, type ChainState } from './claim-chain.ts';
import { fenced } from './errors.ts';
import { fileLayout } from './file-layout.ts';
import { ownerMark, streamPrefix } from './object-key.ts';
import type { WriterContext } from './range-delivery.ts';
import type { FileSet, Rebuild, Rebuilds } from './rebuilds.ts';

/** How often another instance that opens the same partition at the same time is given way to. */
const OPEN_ATTEMPTS = 5;

/** What a partition goes on with. */
export interface OpenedFiles extends ChainState {
  readonly set: FileSet;
  readonly chain: ClaimChain;
  /** The rebuild that these files are; null for those delivered first. */
  readonly rebuild: Rebuild | null;
  /** Readers take these files. */
  readonly isShown: boolean;
  /** First offset to read: the start of a claim that was not finished, else its end; without claims
   * where the rebuild begins, null when there is none. */
  readonly start: number | null;
}

/** Finds the files that a partition goes on with, and begins the rebuild that is ordered. */
export class RebuildStart {
  private readonly target: PartitionTarget;
  private readonly context: WriterContext;
  private readonly rebuilds: Rebuilds;

  constructor(target: PartitionTarget, context: WriterContext, rebuilds: Rebuilds) {
    this.target = target;
    this.context = context;
    this.rebuilds = rebuilds;
  }

  async open(): Promise<OpenedFiles> {
    for (let attempt = 1; attempt <= OPEN_ATTEMPTS; attempt++) {
      const rebuild = await this.rebuild();
      if (rebuild === 'taken') continue;
      const number = rebuild?.number ?? 0;
      const isShown = rebuild === null || (await this.rebuilds.shown()) >= number;
      // What a forgotten instance still adds would go to files that nobody reads any more.
      if (!isShown) await this.closeChain(number);
      const set = this.rebuilds.set(number);
      const chain = new ClaimChain(this.context.store, set.prefix);
      const state = await chain.load();
      if (state.tail?.closedBy !== undefined) continue;
      if (state.tail === null && rebuild === null) {
        const key = await this.anyFile();
        // A claim comes before its files: another instance's that were made just now have one.
        if (key !== null && (await chain.load()).tail !== null) continue;
        if (key !== null) throw this.stateLost(key);
      }
      return { set, chain, rebuild, isShown, start: startOf(state, rebuild), ...state };
    }
    throw fenced(this.target, 'is opening');
  }

  /** The rebuild to go on with, which is begun when its order is new; `taken` when another instance was
   * faster. */
  private async rebuild(): Promise<Rebuild | null | 'taken'> {
    const newest = await this.rebuilds.newest();
    const order = this.target.replay;
    if (order?.rebuild !== true || order.id === newest?.replay) return newest;
    if (await this.rebuilds.hasBegun(order.id)) return newest;
    // Numbers go on behind those that readers have met, whatever became of our own records.
    const number = Math.max(newest?.number ?? 0, await this.rebuilds.shown()) + 1;
    const begun = rebuildOf(order, number);
    if (!(await this.rebuilds.begin(begun))) return 'taken';
    return begun;
  }

  /** Ends the chain of the files before: whoever held it is fenced with its next claim. */
  private async closeChain(by: number): Promise<void> {
    const { prefix } = this.rebuilds.set(by - 1);
    const chain = new ClaimChain(this.context.store, prefix);
    for (;;) {
      const state = await chain.load().catch((error: unknown) => {
        // Nobody can go on in a chain that has lost a link.
        if (error instanceof PipelineError && error.code === 'DST_STATE_LOST') return null;
        throw error;
      });
      if (state === null || state.tail?.closedBy !== undefined) return;
      const layout = fileLayout([], this.context.settings);
      if (await chain.append(closingClaim(state, layout, by))) return;
    }
  }

  private async anyFile(): Promise<string | null> {
    const { settings, store, connectionId } = this.context;
    const mark = ownerMark(connectionId, this.target);
    for await (const key of store.list(streamPrefix(settings, this.target))) {
      if (key.includes(`${mark}-`)) return key;
    }
    return null;
  }

  /** Files of this partition without claims: someone removed the claims, and to begin again from the
   * topic's start would write every row a second time. */
  private stateLost(key: string): PipelineError {
    const label = streamLabel(this.target.stream.stream);
    return new PipelineError(
      'DST_STATE_LOST',
      `the bucket holds files of stream ${label} but no record of what they contain (folder _headrace)`,
      { details: { stream: label, key } },
    );
  }
}

function startOf({ tail, finished }: ChainState, rebuild: Rebuild | null): number | null {
  if (tail === null) return rebuild?.from ?? null;
  return finished ? tail.end : tail.first;
}

function rebuildOf({ id: replay, from, until }: Replay, number: number): Rebuild {
  const createdAt = new Date().toISOString();
  return { version: 1, id: randomUUID(), number, replay, from, until, createdAt };
}
