import { randomUUID } from 'node:crypto';
import { join } from 'node:path';
import type { PipelineError } from '../../../core/errors/pipeline-error.ts';
import { streamLabel } from '../../../schemas/catalog/stream-id.ts';
import type { ChangeBatch, PartitionTarget, Replay } from '../../spi/destination.ts';
import { AgeTimer } from './age-timer.ts';
import { BackgroundWork } from './background-work.ts';
import type { Spool } from './spool.ts';
import type { FileColumn } from './file-columns.ts';
import type { Generation } from './generation-chain.ts';
import { GenerationMerge, type SealedChanges } from './generation-merge.ts';
import { GenerationStore } from './generation-store.ts';
import { packKeyed } from './keyed-chunk.ts';
import { rowIdHash } from './object-key.ts';
import type { Partition } from './partition.ts';
import type { WriterContext } from './range-delivery.ts';
import { chunkEnd, indexAtOffset } from './record-run.ts';
import { PartitionSchemas } from './partition-schemas.ts';
import type { StreamFields } from './stream-fields.ts';

/** Changes that may wait on the local disk, in bytes, however long a merge takes. */
const MOST_WAITING_BYTES = 1024 * 1024 * 1024;

interface ReplayUnderWay {
  readonly id: string;
  readonly from: number;
  readonly until: number;
  /** What was delivered again so far, on top of what it began with. */
  base: Generation | null;
}

/**
 * Keeps one partition as one row per key. Changes wait on the local disk; when they are old enough,
 * or many compared with what is published, they are merged into a new generation, and with it they
 * are durable. A crash before costs nothing but reading them again.
 */
export class KeyedPartition implements Partition {
  readonly target: PartitionTarget;
  readonly label: string;
  readonly pendingBytes = 0;
  durable = 0;
  private readonly context: WriterContext;
  private readonly store: GenerationStore;
  private readonly schemas: PartitionSchemas;
  private readonly merge: GenerationMerge;
  private readonly fields: StreamFields;
  private readonly background: BackgroundWork;
  private next: number | null = null;
  /** Where the open spool begins. */
  private first = 0;
  private records = 0;
  private spool: Spool | null = null;
  private readonly age = new AgeTimer({
    waitMs: () => this.waitMs(),
    act: () => this.rotate(),
  });
  private replay: ReplayUnderWay | null = null;
  /** Epoch milliseconds before which age alone makes no generation. */
  private restUntil = 0;
  private closed = false;

  constructor(target: PartitionTarget, context: WriterContext) {
    this.target = target;
    this.context = context;
    this.label = streamLabel(target.stream.stream);
    this.store = new GenerationStore(target, context);
    this.schemas = new PartitionSchemas(target, context.schemas);
    this.fields = context.fields.of(target.topic);
    this.merge = new GenerationMerge(this.store, context, this.fields);
    this.background = new BackgroundWork(context.signal);
  }

  async open(): Promise<number | null> {
    const newest = await this.store.open();
    this.schemas.columns = newest?.columns ?? [];
    if (this.context.settings.flatten) this.fields.addColumns(this.schemas.columns);
    if (newest === null) await this.publishEmpty();
    const next = newest?.offsets.next ?? null;
    if (next === null) return null;
    const replay = this.store.newReplay(this.target);
    if (replay !== null) this.begin(replay, next);
    this.next = this.first = this.durable = this.replay?.from ?? next;
    if (this.next >= (this.replay?.until ?? Infinity)) await this.rotate();
    return this.next;
  }

  /** Changes that are delivered again gather in generations that nobody sees, on top of nothing for a
   * rebuild, else of what is there: a reader is never shown rows that were deleted since. */
  private begin({ id, from, until, rebuild }: Replay, next: number): void {
    const { newest } = this.store;
    if (rebuild) this.replay = { id, from, until, base: null };
    else this.replay = { id, from: Math.min(from, next), until: next, base: newest };
    if (rebuild) this.schemas.columns = [];
  }

  /** A stream without rows is a file without rows. */
  private async publishEmpty(): Promise<void> {
    await this.schemas.loadLatest();
    if (this.schemas.columns.length === 0) return;
    const spool = this.openSpool();
    try {
      await this.merge.run(this.sealed(spool, null, null));
    } finally {
      this.context.encoder.discard(spool);
    }
  }

  get failure(): PipelineError | null {
    return this.background.lastingFailure;
  }

  async prepare(batch: ChangeBatch): Promise<void> {
    if (this.background.failure !== null) await this.background.settle();
    if (this.spool?.failure != null) throw this.spool.failure;
    await this.schemas.prepare(batch, this.next);
  }

  async accept(batch: ChangeBatch): Promise<void> {
    const { records } = batch;
    if (this.next === null) this.next = this.first = batch.firstOffset;
    let i = indexAtOffset(records, this.next);
    while (i < records.count) {
      await this.context.encoder.room();
      const end = chunkEnd(records, i, records.count);
      this.spool ??= this.openSpool();
      if (this.spool.failure !== null) throw this.spool.failure;
      this.context.encoder.append(this.spool, packKeyed(records, i, end), this.schemas.known());
      this.records += end - i;
      this.next = (records.offsets[end - 1] as number) + 1;
      i = end;
      if (this.isDue()) await this.rotate();
    }
    this.next = Math.max(this.next, batch.nextOffset);
    if (this.next >= (this.replay?.until ?? Infinity)) await this.rotate();
    this.age.arm();
  }

  private openSpool(): Spool {
    const { encoder, spoolFolder, settings } = this.context;
    const path = join(spoolFolder, randomUUID());
    const columns = settings.flatten ? this.schemas.columns : null;
    return encoder.openKeyed({ path, idHash: rowIdHash(this.target), columns });
  }

  /** Enough to be worth reading half of what is published: a first copy of many rows is then not
   * written again and again as it grows. */
  private isDue(): boolean {
    if (this.spool === null) return false;
    const { rotateBytes, rotateRows } = this.context.settings;
    const { encodedBytes } = this.spool;
    const { rows = 0, bytes = 0 } = this.base() ?? {};
    if (encodedBytes >= MOST_WAITING_BYTES) return true;
    if (this.records >= rotateRows && this.records * 2 >= rows) return true;
    return encodedBytes >= rotateBytes && encodedBytes >= bytes;
  }

  async rotate(): Promise<void> {
    await this.background.settle();
    const { next, first, replay } = this;
    const endsReplay = replay !== null && next !== null && next >= replay.until;
    if (next === null || (next === first && !endsReplay) || this.closed) return;
    if (endsReplay && this.schemas.columns.length === 0) await this.schemas.loadLatest();
    const spool = endsReplay ? (this.spool ?? this.openSpool()) : this.spool;
    this.first = next;
    this.records = 0;
    this.spool = null;
    this.age.clear();
    if (spool === null) {
      if (replay === null) this.durable = next; // offsets without a record: there is nothing to lose
      return;
    }
    const sealed = this.sealed(spool, first, next);
    if (replay === null || endsReplay) this.background.start(() => this.publish(sealed, next));
    else this.background.start(() => this.gather(sealed, replay));
  }

  /** Makes what was delivered again so far a generation for the rest to come on top of. */
  private async gather(sealed: SealedChanges, replay: ReplayUnderWay): Promise<void> {
    replay.base = await this.merge.prepare(sealed);
    this.schemas.goOnFrom(replay.base.columns);
    this.context.encoder.discard(sealed.spool);
  }

  private base(): Generation | null {
    return this.replay === null ? this.store.newest : this.replay.base;
  }

  private sealed(spool: Spool, first: number | null, next: number | null): SealedChanges {
    const columns: readonly FileColumn[] = this.schemas.columns;
    const { replay } = this;
    const offsets = { first: replay?.from ?? first, next };
    return { spool, columns, offsets, base: this.base(), replay: replay?.id, generation: null };
  }

  private async publish(sealed: SealedChanges, next: number): Promise<void> {
    const started = Date.now();
    await this.merge.run(sealed);
    this.replay = null;
    this.durable = next;
    this.schemas.goOnFrom(sealed.generation?.columns ?? []);
    this.context.encoder.discard(sealed.spool);
    // A large stream is not merged all the time: half of it is the machine's for other work.
    const now = Date.now();
    this.restUntil = now + (now - started);
  }

  private waitMs(): number | null {
    if (this.next === this.first || this.closed || this.replay !== null) return null;
    return Math.max(this.context.settings.rotateMs, this.restUntil - Date.now());
  }

  async flush(): Promise<void> {
    await this.rotate();
    await this.background.settle();
  }

  discard(): void {
    this.closed = true;
    this.background.close();
    this.age.clear();
    this.store.close();
    if (this.spool !== null) this.context.encoder.discard(this.spool);
    this.spool = null;
  }
}
