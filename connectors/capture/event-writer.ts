import { PipelineError } from '../../core/errors/pipeline-error.ts';
import { AvroWriter } from '../../schemas/avro/avro-writer.ts';
import { streamLabel, type StreamId } from '../../schemas/catalog/stream-id.ts';
import { OP_DELETE, OP_MESSAGE, OP_TRUNCATE } from '../../schemas/envelope/change-decoder.ts';
import { partitionOf } from '../../schemas/envelope/partition.ts';
import type { RecordArena } from '../../schemas/envelope/record-arena.ts';
import { PartitionSlot, type Outbox } from './outbox.ts';
import { avroString, type RowCodec } from './row-codec.ts';

/** Codes that end one stream; every other failure ends the reader, which is then opened anew. */
export function stopsStreamOnly(error: PipelineError): boolean {
  return (
    error.code === 'SRC_VALUE' ||
    error.code === 'EVT_TOO_LARGE' ||
    error.code === 'SRC_NO_REPLICA_IDENTITY' ||
    error.code === 'SRC_STREAM_GONE' ||
    error.code === 'SRC_TABLE_CHANGED' ||
    error.code === 'SRC_PUBLICATION_MISSING' ||
    error.code === 'SRC_LOG_INCOMPLETE' ||
    error.code.startsWith('SCH_')
  );
}

/** A stream as the writer sees it: its partitions and the constant part of its source block. */
export class StreamLane {
  readonly stream: StreamId;
  readonly label: string;
  readonly slots: readonly PartitionSlot[];
  readonly snapshotPrefix: Buffer;
  readonly lastPrefix: Buffer;
  readonly streamedPrefix: Buffer;
  stopped = false;
  /** The copy of the table that is wanted, stored with the stream's mark. */
  copy: string | undefined;

  constructor(
    stream: StreamId,
    partitions: number,
    origin: { readonly connector: string; readonly serverName: string; readonly database: string },
  ) {
    this.stream = stream;
    this.label = streamLabel(stream);
    this.slots = Array.from({ length: partitions }, (_, index) => new PartitionSlot(stream, index));
    const { connector, serverName, database } = origin;
    const prefix = [connector, serverName, database, stream.namespace, stream.name];
    this.snapshotPrefix = Buffer.concat([...prefix, 'true'].map(avroString));
    this.lastPrefix = Buffer.concat([...prefix, 'last'].map(avroString));
    this.streamedPrefix = Buffer.concat([...prefix, 'false'].map(avroString));
  }
}

/** What a reader of a log says of changes. */
export type ChangeWriter = Pick<
  EventWriter,
  'seq' | 'beginTransaction' | 'change' | 'truncate' | 'settle' | 'rollback'
>;

/** Writes change events into the outbox. One message of the server may become several records; they
 * are kept by `settle` or taken back together by `rollback`. */
export class EventWriter {
  /** Ordinal of the last event in its transaction; an event's is given when it is written. */
  seq = 0;
  private readonly outbox: Outbox<unknown>;
  private readonly maxRecordBytes: number;
  private readonly epoch: number;
  private readonly key = new AvroWriter(1024);
  /** ts_ms, ts_us, txId, lsn: the same for a transaction's events. */
  private readonly origin = new AvroWriter(64);
  /** Behind what says the stream, the whole block as the event before had it: mostly this one's too. */
  private block = Buffer.alloc(0);
  private blockPrefix: Buffer | null = null;
  private readonly now = new AvroWriter(16);
  private snapshot = false;
  /** Records of the message at hand, whose entries in the next three lists are valid. */
  private open = 0;
  private readonly touched: PartitionSlot[] = [];
  private readonly counts: number[] = [];
  private readonly sizes: number[] = [];

  constructor(outbox: Outbox<unknown>, maxRecordBytes: number, epoch: number) {
    this.outbox = outbox;
    this.maxRecordBytes = maxRecordBytes;
    this.epoch = epoch;
    this.tick();
  }

  /** Processing time of the events to come; called once per received chunk. */
  tick(): void {
    this.now.pos = 0;
    this.now.writeByte(2);
    this.now.writeLong(Date.now());
  }

  beginTransaction(lsn: bigint, xid: number, tsUs: number, snapshot = false): void {
    this.seq = 0;
    this.snapshot = snapshot;
    const { origin } = this;
    origin.pos = 0;
    origin.writeLong(Math.floor(tsUs / 1000));
    origin.writeLong(tsUs);
    origin.writeLong(xid);
    origin.writeLongHalves(Number(lsn >> 32n) | 0, Number(lsn & 0xffffffffn));
    this.blockPrefix = null;
  }

  /** One change with its images; `room` is the length of the message they came in. */
  change(
    lane: StreamLane,
    codec: RowCodec,
    op: number,
    src: Buffer,
    before: Int32Array | null,
    after: Int32Array | null,
    unchanged: number,
    room: number,
  ): void {
    const keyed = (after ?? before) as Int32Array;
    const slot = this.slotOf(lane, codec, src, keyed, room);
    const arena = this.begin(slot);
    const { out } = arena;
    const from = out.pos;
    out.ensure(3 * room + 2 * codec.overhead + lane.streamedPrefix.length);
    if (codec.keyed) this.putKey(out, lane, codec, src, keyed);
    arena.endKey();
    const keyEnd = out.pos;
    out.copyRaw(codec.valueHeader, 0, codec.valueHeader.length);
    if (before === null) out.writeByte(0);
    else codec.writeImage(out, src, before);
    if (after === null) out.writeByte(0);
    else codec.writeImage(out, src, after);
    // An encoder may have made more of its cell than was reserved for it.
    out.ensure(codec.overhead + lane.streamedPrefix.length);
    this.source(out, this.prefixOf(lane), op);
    if (after === null) out.writeByte(0);
    else codec.writeUnchanged(out, after, unchanged);
    arena.endValue();
    this.refuseOversized(lane, out.pos - from);
    if (op === OP_DELETE && codec.keyed) this.tombstone(slot, from, keyEnd);
  }

  /** What was before is gone: one event to every partition, so that each consumer sees it in its
   * place. In a copy it is the begin mark of a generation. */
  truncate(lane: StreamLane, codec: RowCodec): void {
    // A copy's rows have one position: theirs must be past that of the truncate before them.
    if (this.snapshot) this.seq = 0;
    this.mark(lane, codec, OP_TRUNCATE, this.prefixOf(lane));
    if (this.snapshot) this.seq = 1;
  }

  /** The end mark of a generation: what its begin mark began is whole. Its position is past that of
   * the generation's rows, which have one. */
  endGeneration(lane: StreamLane, codec: RowCodec): void {
    this.seq = 2;
    this.mark(lane, codec, OP_MESSAGE, lane.lastPrefix);
  }

  private mark(lane: StreamLane, codec: RowCodec, op: number, prefix: Buffer): void {
    for (const slot of lane.slots) {
      if (!this.snapshot) this.seq++;
      const arena = this.begin(slot);
      const { out } = arena;
      out.ensure(codec.overhead + lane.streamedPrefix.length);
      out.copyRaw(codec.truncateKey, 0, codec.truncateKey.length);
      arena.endKey();
      out.copyRaw(codec.valueHeader, 0, codec.valueHeader.length);
      out.writeByte(0);
      out.writeByte(0);
      this.source(out, prefix, op);
      out.writeByte(0);
      arena.endValue();
    }
    this.settle();
  }

  settle(): void {
    let bytes = 0;
    for (let i = 0; i < this.open; i++) {
      const arena = (this.touched[i] as PartitionSlot).arena as RecordArena;
      const count = this.counts[i] as number;
      bytes += (arena.valueEnds[count] as number) - (this.sizes[i] as number);
    }
    this.outbox.added(this.open, bytes);
    this.open = 0;
  }

  rollback(): void {
    for (let i = this.open - 1; i >= 0; i--) {
      (this.touched[i] as PartitionSlot).arena?.truncate(this.counts[i] as number);
    }
    this.open = 0;
  }

  private begin(slot: PartitionSlot): RecordArena {
    const arena = this.outbox.arenaOf(slot);
    const index = this.open++;
    this.touched[index] = slot;
    this.counts[index] = arena.count;
    this.sizes[index] = arena.byteLength;
    return arena;
  }

  /** The key says the partition: it is encoded before where there is more than one. */
  private slotOf(
    lane: StreamLane,
    codec: RowCodec,
    src: Buffer,
    spans: Int32Array,
    room: number,
  ): PartitionSlot {
    if (!codec.keyed || lane.slots.length === 1) return lane.slots[0] as PartitionSlot;
    const { key } = this;
    key.pos = 0;
    key.ensure(room + codec.overhead);
    codec.writeKey(key, src, spans);
    return lane.slots[partitionOf(key.bytes, 0, key.pos, lane.slots.length)] as PartitionSlot;
  }

  private putKey(
    out: AvroWriter,
    lane: StreamLane,
    codec: RowCodec,
    src: Buffer,
    spans: Int32Array,
  ): void {
    if (lane.slots.length === 1) codec.writeKey(out, src, spans);
    else out.copyRaw(this.key.bytes, 0, this.key.pos);
  }

  /** Has the key of the record before it, which lies in the same arena. */
  private tombstone(slot: PartitionSlot, from: number, keyEnd: number): void {
    const arena = this.begin(slot);
    const { out } = arena;
    out.ensure(keyEnd - from);
    out.copyRaw(out.bytes, from, keyEnd);
    arena.endKey();
    arena.endValue();
  }

  private prefixOf(lane: StreamLane): Buffer {
    return this.snapshot ? lane.snapshotPrefix : lane.streamedPrefix;
  }

  private source(out: AvroWriter, prefix: Buffer, op: number): void {
    if (prefix !== this.blockPrefix) this.prepareBlock(prefix);
    out.putAll(this.block);
    out.writeInt(this.seq);
    out.writeInt(this.epoch);
    out.writeByte(2);
    out.writeByte(op);
    out.copyRaw(this.now.bytes, 0, this.now.pos);
  }

  private prepareBlock(prefix: Buffer): void {
    const { origin } = this;
    const length = prefix.length + origin.pos;
    // Exactly as long, so that no view of a part has to be made for each event.
    if (this.block.length !== length) this.block = Buffer.allocUnsafeSlow(length);
    prefix.copy(this.block);
    origin.bytes.copy(this.block, prefix.length, 0, origin.pos);
    this.blockPrefix = prefix;
  }

  private refuseOversized(lane: StreamLane, length: number): void {
    if (length > this.maxRecordBytes) throw tooLarge(lane.label, length, this.maxRecordBytes);
  }
}

export function tooLarge(label: string, length: number, limit: number): PipelineError {
  return new PipelineError(
    'EVT_TOO_LARGE',
    `a change of ${label} takes ${length} bytes, more than the ${limit} that a record may have`,
    { details: { stream: label, bytes: length, limit } },
  );
}
