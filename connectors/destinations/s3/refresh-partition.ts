import { randomUUID } from 'node:crypto';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { streamLabel } from '../../../schemas/catalog/stream-id.ts';
import {
  ChangeCursor,
  OP_TRUNCATE,
  type ChangeSchema,
} from '../../../schemas/envelope/change-decoder.ts';
import { schemaIdAt, type RecordView } from '../../../schemas/envelope/record-view.ts';
import type { ChangeBatch, PartitionTarget } from '../../spi/destination.ts';
import type { Spool } from './spool.ts';
import { fileLayout } from './file-layout.ts';
import { hasDocuments } from './field-search.ts';
import { withFields } from './file-columns.ts';
import type { Generation, GenerationFile } from './generation-chain.ts';
import { GenerationStore, type Draft } from './generation-store.ts';
import { SLOTS } from './hash-slots.ts';
import { rowIdHash } from './object-key.ts';
import type { Partition } from './partition.ts';
import { PartitionSchemas } from './partition-schemas.ts';
import { comparePositions, positionOf, positionText, type Position } from './position.ts';
import type { WriterContext } from './range-delivery.ts';
import { chunkEnd, indexAtOffset, indexOfMark, packChunk } from './record-run.ts';
import { fileHash } from './slot-files.ts';
import type { RecordChunk } from './spool-builder.ts';

/** A full refresh between its begin mark and its end mark: its files are uploaded as they fill, and
 * nobody sees them before the end mark. */
interface Refresh {
  readonly draft: Draft;
  readonly begin: Position;
  readonly first: number;
  readonly files: GenerationFile[];
}

/**
 * Keeps one partition as the rows of its last whole full refresh. A refresh that has begun is durable
 * only when its end mark has made it a generation; a crash before means reading it again from its
 * begin mark.
 */
export class RefreshPartition implements Partition {
  readonly target: PartitionTarget;
  readonly label: string;
  readonly pendingBytes = 0;
  /** Nothing is done behind what was taken. */
  readonly failure = null;
  private readonly context: WriterContext;
  private readonly store: GenerationStore;
  private readonly schemas: PartitionSchemas;
  private readonly change = new ChangeCursor();
  private next: number | null = null;
  private refresh: Refresh | null = null;
  private spool: Spool | null = null;
  private width = 0;

  constructor(target: PartitionTarget, context: WriterContext) {
    this.target = target;
    this.context = context;
    this.label = streamLabel(target.stream.stream);
    this.store = new GenerationStore(target, context);
    this.schemas = new PartitionSchemas(target, context.schemas);
  }

  get durable(): number {
    return this.refresh?.first ?? this.next ?? 0;
  }

  async open(): Promise<number | null> {
    const newest = await this.store.open();
    if (newest === null) await this.publishEmpty();
    this.next = newest?.offsets.next ?? null;
    const replay = this.store.newReplay(this.target);
    if (replay !== null && this.next !== null) this.next = Math.min(replay.from, this.next);
    return this.next;
  }

  /** Before the first refresh has ended the stream is a file without rows. */
  private async publishEmpty(): Promise<void> {
    await this.schemas.loadLatest();
    if (this.schemas.columns.length === 0) return;
    const draft = this.store.draft();
    const files = [await this.emptyFile(draft)];
    const offsets = { first: null, next: null };
    await this.switchTo({ draft, offsets, source: null, files });
  }

  async prepare(batch: ChangeBatch): Promise<void> {
    if (this.spool?.failure != null) throw this.spool.failure;
    await this.schemas.prepare(batch, this.next);
  }

  async accept(batch: ChangeBatch): Promise<void> {
    const { records } = batch;
    const from = this.next ?? batch.firstOffset;
    let i = indexAtOffset(records, from);
    while (i < records.count) {
      const mark = indexOfMark(records, i);
      if (mark === i) await this.takeMark(records, i++);
      else {
        await this.takeRows(records, i, mark);
        i = mark;
      }
      this.next = (records.offsets[i - 1] as number) + 1;
    }
    this.next = Math.max(from, batch.nextOffset);
  }

  private async takeMark(records: RecordView, i: number): Promise<void> {
    const start = records.valueStarts[i] as number;
    const end = records.valueEnds[i] as number;
    const { change } = this;
    const schema = this.schemas.schema(schemaIdAt(records.bytes, start, end)) as ChangeSchema;
    change.decode(schema, records.bytes, start, end);
    const offset = records.offsets[i] as number;
    if (change.op === OP_TRUNCATE) this.begin(offset);
    else if (change.last && change.epoch === this.refresh?.begin.epoch) await this.end(offset);
  }

  /** What an unfinished refresh has left is replaced; its files are removed with the next switch. */
  private begin(offset: number): void {
    this.dropSpool();
    const begin = positionOf(this.change);
    this.refresh = { draft: this.store.draft(), begin, first: offset, files: [] };
    this.width = this.schemas.columns.length;
  }

  /** Rows outside of a refresh belong to one whose beginning the topic does not have any more. */
  private async takeRows(records: RecordView, from: number, to: number): Promise<void> {
    if (this.refresh === null) return;
    const { encoder, settings } = this.context;
    if (this.schemas.columns.length > this.width) await this.endFile();
    for (let i = from; i < to;) {
      await encoder.room();
      const end = chunkEnd(records, i, to);
      const packed = packChunk(records, i, end);
      const chunk = packed === null ? null : await this.meetFields(packed);
      this.spool ??= this.openSpool();
      if (this.spool.failure !== null) throw this.spool.failure;
      if (chunk !== null) encoder.append(this.spool, chunk, this.schemas.known());
      if (this.spool.encodedBytes >= settings.rotateBytes) await this.endFile();
      i = end;
    }
  }

  private async meetFields(packed: RecordChunk): Promise<RecordChunk> {
    const { encoder, settings } = this.context;
    const known = [...this.schemas.known()];
    if (!settings.flatten || !hasDocuments(known)) return packed;
    const { chunk, fields } = await encoder.findFields(packed, this.schemas.columns, known);
    if (fields.length === 0) return chunk;
    this.schemas.columns = withFields(this.schemas.columns, fields);
    this.width = this.schemas.columns.length;
    if (this.spool !== null && !(await encoder.widen(this.spool, this.schemas.columns))) {
      await this.endFile();
    }
    return chunk;
  }

  private openSpool(keepEmpty = false): Spool {
    const { encoder, spoolFolder, settings } = this.context;
    const { columns } = this.schemas;
    this.width = columns.length;
    const layout = { ...fileLayout(columns, settings), partitionBy: 'none' as const };
    const path = join(spoolFolder, randomUUID());
    return encoder.open({ path, idHash: rowIdHash(this.target), layout, keepEmpty });
  }

  private async endFile(): Promise<void> {
    const { spool, refresh } = this;
    this.spool = null;
    if (spool === null || refresh === null) return;
    for (const { path, rows, bytes } of await this.context.encoder.seal(spool)) {
      refresh.files.push(await this.upload(refresh.draft, path, rows, bytes));
    }
  }

  private async upload(
    draft: Draft,
    path: string,
    rows: number,
    bytes: number,
  ): Promise<GenerationFile> {
    const sha256 = await fileHash(path);
    const file = { path, rows, bytes, sha256, firstSlot: 0, endSlot: SLOTS };
    const uploaded = await this.store.upload(draft, file);
    await rm(path, { force: true });
    return uploaded;
  }

  /** The end mark: the refresh is whole, and readers are switched to it. */
  private async end(offset: number): Promise<void> {
    await this.endFile();
    const { draft, begin, first, files } = this.refresh as Refresh;
    const last = positionOf(this.change);
    if (this.isReplaced(last)) {
      this.refresh = null;
      return;
    }
    if (files.length === 0) files.push(await this.emptyFile(draft));
    const source = { first: positionText(begin), last: positionText(last) };
    await this.switchTo({ draft, offsets: { first, next: offset + 1 }, source, files });
    this.refresh = null;
  }

  /** Of a replay: a newer copy is there, and readers never go back (invariant 4). */
  private isReplaced(last: Position): boolean {
    const shown = this.store.newest?.through ?? null;
    if (shown === null) return false;
    return comparePositions(last, { ...shown, lsn: BigInt(shown.lsn) }) < 0;
  }

  private async emptyFile(draft: Draft): Promise<GenerationFile> {
    const spool = this.openSpool(true);
    const [file] = await this.context.encoder.seal(spool);
    return this.upload(draft, file?.path ?? '', 0, file?.bytes ?? 0);
  }

  private async switchTo(
    content: Pick<Generation, 'offsets' | 'source' | 'files'> & { draft: Draft },
  ): Promise<void> {
    const { draft, ...rest } = content;
    const { columns } = this.schemas;
    const replay = this.store.newReplay(this.target)?.id;
    await this.store.switchTo(this.store.next({ id: draft.id, columns, ...rest, replay }));
  }

  /** A refresh becomes durable with its end mark and not before. */
  async rotate(): Promise<void> {}

  async flush(): Promise<void> {}

  private dropSpool(): void {
    if (this.spool !== null) this.context.encoder.discard(this.spool);
    this.spool = null;
  }

  discard(): void {
    this.store.close();
    this.dropSpool();
  }
}
