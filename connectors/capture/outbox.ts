import type { BufferAccount } from '../../core/run/memory-budget.ts';
import type { StreamId } from '../../schemas/catalog/stream-id.ts';
import { RecordArena } from '../../schemas/envelope/record-arena.ts';
import type { SourcePart } from '../spi/source.ts';

/** Where the records of one partition gather. */
export class PartitionSlot {
  readonly stream: StreamId;
  readonly partition: number;
  arena: RecordArena | null = null;
  /** The transaction that wrote here last, and how many records were here before it. */
  stamp = -1;
  cut = 0;

  constructor(stream: StreamId, partition: number) {
    this.stream = stream;
    this.partition = partition;
  }
}

export interface Taken<Mark> {
  readonly parts: readonly SourcePart[];
  readonly records: number;
  readonly bytes: number;
  readonly mark: Mark;
}

/** A batch of this size fills a Kafka transaction well; a larger one only takes memory. */
const GATHERED_BYTES = 8 * 1024 * 1024;
/** Kept to be filled again, by what they take, so that a source which was busy once is small again. */
const POOLED_BYTES = 16 * 1024 * 1024;
/** While a batch is on its way its bytes are there twice: as records and as requests. */
const COPIES_UNDER_WAY = 2;

/**
 * Records between the decoder and `next`. `seal` says that everything written so far is whole; a
 * `take` in the middle of a transaction leaves that transaction's records behind (invariant 7).
 * Sealing costs nothing per partition: a partition remembers its own cut when it is first written to.
 */
export class Outbox<Mark> {
  bytes = 0;
  records = 0;
  private stamp = 0;
  private open: PartitionSlot[] = [];
  private mark: Mark | null = null;
  private sealedRecords = 0;
  private urgent = false;
  private readonly pool: RecordArena[] = [];
  private pooledBytes = 0;
  private bytesUnderWay = 0;
  private readonly buffers: BufferAccount;

  constructor(buffers: BufferAccount) {
    this.buffers = buffers;
  }

  /** The source should read no more before a batch is taken (invariant 9). */
  isFull(): boolean {
    this.account();
    return this.buffers.isFull(this.bytes, GATHERED_BYTES);
  }

  /** The arena to write one record into. */
  arenaOf(slot: PartitionSlot): RecordArena {
    let { arena } = slot;
    if (arena === null) {
      arena = this.emptyArena();
      slot.arena = arena;
      this.open.push(slot);
    }
    if (slot.stamp !== this.stamp) {
      slot.stamp = this.stamp;
      slot.cut = arena.count;
    }
    return arena;
  }

  added(records: number, bytes: number): void {
    this.records += records;
    this.bytes += bytes;
  }

  private emptyArena(): RecordArena {
    const arena = this.pool.pop();
    if (arena === undefined) return new RecordArena(16 * 1024);
    this.pooledBytes -= arena.out.bytes.length;
    return arena;
  }

  /** Ends what is whole. An urgent mark is worth a batch of its own, even without records. */
  seal(mark: Mark, urgent: boolean): void {
    this.mark = mark;
    this.stamp++;
    this.sealedRecords = this.records;
    this.urgent ||= urgent;
    this.account();
  }

  /** Forgets what was written since the last seal: a transaction that did not come to its end. */
  discardUnsealed(): void {
    for (const slot of this.open) {
      const arena = slot.arena as RecordArena;
      if (slot.stamp !== this.stamp) continue;
      this.bytes -= arena.byteLength;
      arena.truncate(slot.cut);
      this.bytes += arena.byteLength;
    }
    this.records = this.sealedRecords;
  }

  get sealed(): boolean {
    return this.mark !== null;
  }

  get ready(): boolean {
    return this.mark !== null && (this.sealedRecords > 0 || this.urgent);
  }

  /** What was sealed last; null when nothing was. */
  take(): Taken<Mark> | null {
    const { mark } = this;
    if (mark === null) return null;
    const parts: SourcePart[] = [];
    const staying: PartitionSlot[] = [];
    let bytes = 0;
    for (const slot of this.open) {
      const arena = this.detach(slot);
      if (slot.arena !== null) staying.push(slot);
      if (arena === null) continue;
      bytes += arena.byteLength;
      parts.push({ stream: slot.stream, partition: slot.partition, arena });
    }
    const records = this.sealedRecords;
    this.open = staying;
    this.records -= records;
    this.bytes -= bytes;
    this.bytesUnderWay += bytes;
    this.account();
    this.sealedRecords = 0;
    this.mark = null;
    this.urgent = false;
    return { parts, records, bytes, mark };
  }

  /** The sealed part of a partition's records; the open transaction's stay in the slot. */
  private detach(slot: PartitionSlot): RecordArena | null {
    const arena = slot.arena as RecordArena;
    const sealed = slot.stamp === this.stamp ? slot.cut : arena.count;
    if (sealed === 0 && arena.count > 0) return null;
    slot.arena = sealed < arena.count ? this.emptyArena() : null;
    if (slot.arena === null) slot.stamp = -1;
    else arena.splitInto(slot.arena, sealed);
    slot.cut = 0;
    return arena.count > 0 ? arena : null;
  }

  /** What was taken has been written, or was given up. */
  recycle(parts: readonly SourcePart[]): void {
    for (const { arena } of parts) {
      this.bytesUnderWay -= arena.byteLength;
      arena.clear();
      const size = arena.out.bytes.length;
      if (this.pooledBytes + size > POOLED_BYTES) continue;
      this.pooledBytes += size;
      this.pool.push(arena);
    }
    this.account();
  }

  /** Told once per received chunk, seal and take, not per record. */
  private account(): void {
    this.buffers.hold(this.bytes + this.bytesUnderWay * COPIES_UNDER_WAY);
  }
}
