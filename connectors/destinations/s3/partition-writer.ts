import { randomUUID } from 'node:crypto';
import { join } from 'node:path';
import type { PipelineError } from '../../../core/errors/pipeline-error.ts';
import { streamLabel } from '../../../schemas/catalog/stream-id.ts';
import type { ChangeSchema } from '../../../schemas/envelope/change-decoder.ts';
import { schemaIdAt, type RecordView } from '../../../schemas/envelope/record-view.ts';
import type { ChangeBatch, PartitionTarget } from '../../spi/destination.ts';
import { AgeTimer } from './age-timer.ts';
import { BackgroundWork } from './background-work.ts';
import type { Claim } from './claim-chain.ts';
import type { Spool } from './spool.ts';
import { hasDocuments } from './field-search.ts';
import { withColumns, type FileColumn } from './file-columns.ts';
import { FileJoining } from './file-joining.ts';
import { fileLayout } from './file-layout.ts';
import type { Partition } from './partition.ts';
import { PartitionSchemas } from './partition-schemas.ts';
import { RangeDelivery, type SealedRange, type WriterContext } from './range-delivery.ts';
import { chunkEnd, indexAtOffset, indexOfNewSchema, packChunk } from './record-run.ts';
import type { FileLayout, RecordChunk } from './spool-builder.ts';
import type { StreamFields } from './stream-fields.ts';

/** Date folders that one range may have open. */
const MAX_FOLDERS = 32;

/**
 * Delivers one partition: records go to the range that is open, which becomes files when it is large
 * or old enough. While a sealed range is on its way to the bucket the next one fills; there is never a
 * second sealed one, so that each claim is made after all files of the one before it.
 */
export class PartitionWriter implements Partition {
  readonly target: PartitionTarget;
  readonly label: string;
  /** Everything below survives any crash. */
  durable = 0;
  private readonly context: WriterContext;
  private readonly delivery: RangeDelivery;
  private readonly joining: FileJoining;
  private readonly schemas: PartitionSchemas;
  private readonly fields: StreamFields;
  /** Next offset to take; null while the bucket knows nothing of the partition. */
  private next: number | null = null;
  /** Where the open range begins. */
  private first = 0;
  private rows = 0;
  private spool: Spool | null = null;
  private columns: readonly FileColumn[] = [];
  /** What the open range's files are built by; a found claim has fixed it. */
  private layout: FileLayout;
  /** Schemas whose columns are all among `columns`. */
  private known = new Map<number, ChangeSchema>();
  /** An unfinished claim that was found: the open range is exactly its range. */
  private found: Claim | null = null;
  private readonly background: BackgroundWork;
  private readonly age = new AgeTimer({
    waitMs: () => this.waitMs(),
    act: () => this.rotate(),
  });
  private widening: Promise<boolean> | null = null;
  private closed = false;
  /** Part of the age at which a range becomes files that the open one waits for. The first one's is
   * drawn: streams that begin together would all upload in the same second of each minute. */
  private share = 1 - Math.random() / 2;

  constructor(target: PartitionTarget, context: WriterContext) {
    this.target = target;
    this.context = context;
    this.label = streamLabel(target.stream.stream);
    this.delivery = new RangeDelivery(target, context);
    this.joining = new FileJoining(target, context);
    this.schemas = new PartitionSchemas(target, context.schemas);
    this.fields = context.fields.of(target.topic);
    this.background = new BackgroundWork(context.signal);
    this.layout = fileLayout([], context.settings);
  }

  /** Follows the claims to their end. Answers the first offset to read; null when there is none. */
  async open(): Promise<number | null> {
    const { tail, finished, start, set } = await this.delivery.open();
    if (tail !== null) {
      this.columns = this.schemas.columns = tail.layout.columns;
      if (this.context.settings.flatten) this.fields.addColumns(this.columns);
      if (!finished) this.found = tail;
    }
    if (start === null) return null;
    this.next = this.first = start;
    this.durable = this.delivery.hidden?.from ?? start;
    const { durable, columns } = this;
    if (this.delivery.hidden === null) this.joining.begin({ set, durable, columns });
    return start;
  }

  get failure(): PipelineError | null {
    return this.background.lastingFailure;
  }

  /** Makes sure that a batch can be taken as a whole, without changing anything. */
  async prepare(batch: ChangeBatch): Promise<void> {
    if (this.background.failure !== null) await this.background.settle();
    if (this.spool?.failure != null) throw this.spool.failure;
    await this.schemas.prepare(batch, this.next);
  }

  /** Takes what of the batch was not taken before; `prepare` has passed it. */
  async accept(batch: ChangeBatch): Promise<void> {
    const { records } = batch;
    if (this.next === null) this.next = this.first = batch.firstOffset;
    let i = indexAtOffset(records, this.next);
    while (i < records.count) {
      await this.context.encoder.room();
      i = await this.takeSome(records, i);
    }
    if (this.found !== null && batch.nextOffset >= this.found.end) await this.endFound();
    this.next = Math.max(this.next, batch.nextOffset);
    if (this.next >= (this.delivery.hidden?.until ?? Infinity)) await this.rotate();
    this.age.arm();
  }

  /** Takes records from `i` on up to the next reason to stop; answers where to go on. */
  private async takeSome(records: RecordView, i: number): Promise<number> {
    const limit = this.found === null ? records.count : indexAtOffset(records, this.found.end);
    if (i >= limit) {
      await this.endFound();
      return i;
    }
    const full = chunkEnd(records, i, limit);
    const end = indexOfNewSchema(records, i, full, this.known);
    if (end === i) {
      await this.meetSchema(records, i);
      return i;
    }
    await this.hand(records, i, end);
    if (this.isDue()) await this.rotate();
    return end;
  }

  private async hand(records: RecordView, from: number, to: number): Promise<void> {
    const packed = packChunk(records, from, to);
    if (packed !== null) {
      const chunk = await this.meetFields(packed);
      this.spool ??= this.openSpool();
      if (this.spool.failure !== null) throw this.spool.failure;
      this.rows += chunk.ends.length;
      this.context.encoder.append(this.spool, chunk, this.known.values());
    }
    this.next = (records.offsets[to - 1] as number) + 1;
  }

  /** A schema that the open range has not met. Columns that its files lack end the range: once per
   * version, for rows of older versions then fit the wider files. */
  private async meetSchema(records: RecordView, i: number): Promise<void> {
    const start = records.valueStarts[i] as number;
    const id = schemaIdAt(records.bytes, start, records.valueEnds[i] as number);
    const schema = this.schemas.schema(id) as ChangeSchema; // `prepare` has met it
    // The columns of a found claim were fixed when its range was first read.
    if (this.found === null) {
      const wider = withColumns(this.fields.widen(this.columns), schema.columns);
      if (wider !== this.columns && this.rows > 0) await this.rotate();
      this.columns = withColumns(this.fields.widen(this.columns), schema.columns);
    }
    this.known.set(schema.id, schema);
  }

  /** Fields of documents that have no column yet get one. Files that have a row group already lack it
   * and end; so many new fields make no small files. */
  private async meetFields(packed: RecordChunk): Promise<RecordChunk> {
    const { encoder, settings } = this.context;
    const known = [...this.known.values()];
    // The columns of a found claim are fixed.
    if (!settings.flatten || this.found !== null || !hasDocuments(known)) return packed;
    const { chunk, fields } = await encoder.findFields(packed, this.columns, known);
    if (fields.length === 0) return chunk;
    this.fields.add(fields);
    if (!(await this.widen())) await this.rotate();
    this.columns = this.fields.widen(this.columns);
    return chunk;
  }

  /** Gives the open files columns for all fields of the stream; false when it is too late for that.
   * Once at a time: files sealed while it is under way would have other columns than their claim. */
  private widen(): Promise<boolean> {
    this.widening ??= this.widenSpool().finally(() => {
      this.widening = null;
    });
    return this.widening;
  }

  private async widenSpool(): Promise<boolean> {
    const { spool } = this;
    const columns = this.fields.widen(this.columns);
    if (columns === this.columns) return true;
    if (spool !== null) {
      if (!(await this.context.encoder.widen(spool, columns))) return false;
      this.layout = { ...this.layout, columns };
    }
    this.columns = columns;
    return true;
  }

  private openSpool(): Spool {
    const { encoder, spoolFolder } = this.context;
    const path = join(spoolFolder, randomUUID());
    this.layout = this.found?.layout ?? this.emptyLayout();
    return encoder.open({ path, idHash: this.delivery.idHash, layout: this.layout });
  }

  /** Of files that have no row yet. */
  private emptyLayout(): FileLayout {
    return fileLayout(this.columns, this.context.settings);
  }

  private isDue(): boolean {
    if (this.found !== null || this.spool === null) return false;
    const { rotateBytes, rotateRows } = this.context.settings;
    const { encodedBytes, files } = this.spool;
    return encodedBytes >= rotateBytes || this.rows >= rotateRows || files > MAX_FOLDERS;
  }

  /** Bytes in memory that `rotate` would let go of; a found claim's range cannot be cut. */
  get pendingBytes(): number {
    if (this.found !== null || this.spool === null) return 0;
    return this.spool.sentBytes + this.spool.pendingBytes;
  }

  /** The range of a found claim is complete: its files can be finished. */
  private async endFound(): Promise<void> {
    if (this.found === null) return;
    this.next = this.found.end;
    await this.rotate();
  }

  /** Seals the open range and lets its files be built and uploaded in the background. Waits for the
   * range before it. Does nothing when the range is empty, or a found claim's that is incomplete. */
  async rotate(): Promise<void> {
    await this.background.settle();
    if (this.found === null && this.spool !== null) await this.widen();
    const { next, found } = this;
    if (next === null || next === this.first || this.closed) return;
    if (found !== null && next < found.end) return;
    const sealed: SealedRange = {
      first: this.first,
      end: next,
      layout: found?.layout ?? (this.spool === null ? this.emptyLayout() : this.layout),
      spool: this.spool,
      files: null,
      claim: found,
      claimMade: found !== null,
    };
    this.first = next;
    this.rows = 0;
    this.spool = null;
    this.share = 1;
    this.found = null;
    if (found !== null) this.known.clear();
    this.age.clear();
    this.background.start(() => this.deliver(sealed));
  }

  private async deliver(sealed: SealedRange): Promise<void> {
    const wasHidden = this.delivery.hidden !== null;
    await this.delivery.deliver(sealed);
    // Of a rebuild nothing counts before all of it does.
    if (this.delivery.hidden !== null) return;
    this.durable = sealed.end;
    const { set } = this.delivery;
    const delivered = { set, durable: sealed.end, columns: sealed.layout.columns };
    if (wasHidden) this.joining.begin(delivered);
    else this.joining.fileDelivered(delivered);
  }

  private waitMs(): number | null {
    if (this.next === this.first || this.closed || this.delivery.hidden !== null) return null;
    return this.context.settings.rotateMs * this.share;
  }

  async flush(): Promise<void> {
    await this.rotate();
    await this.background.settle();
  }

  /** Forgets what is not durable. */
  discard(): void {
    this.closed = true;
    this.background.close();
    this.joining.close();
    this.delivery.close();
    this.age.clear();
    if (this.spool !== null) this.context.encoder.discard(this.spool);
    this.spool = null;
  }
}
