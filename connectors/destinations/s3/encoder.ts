import { Worker } from 'node:worker_threads';
import { PipelineError } from '../../../core/errors/pipeline-error.ts';
import type { ChangeSchema } from '../../../schemas/envelope/change-decoder.ts';
import type { FromEncoder, Searched, ToEncoder } from './encoder-messages.ts';
import type { FileColumn } from './file-columns.ts';
import type { Joined, JoinSpec } from './file-join.ts';
import { GatheredRecords } from './gathered-records.ts';
import type { KeyedContent, KeyedSpoolSpec } from './keyed-spool.ts';
import type { Merged, MergeSpec } from './key-merge.ts';
import { newSpool, type Spool } from './spool.ts';
import type { RecordChunk, SpooledFile, SpoolSpec } from './spool-builder.ts';

/** Without a limit the garbage of row groups is let grow to several hundred megabytes before it is
 * collected; half of this is what the largest row group needs. */
const THREAD_MEMORY = { maxOldGenerationSizeMb: 192, maxYoungGenerationSizeMb: 8 };

/** What a spool was asked and has not answered. */
interface Question {
  resolve(answer: never): void;
  reject(error: PipelineError): void;
}

/**
 * One thread that builds the files of all partitions of a writer. When it dies, every spool that it
 * held fails with SNK_ENCODER_LOST and the next `open` starts another one: a spool is never resumed,
 * the topic still has its records.
 */
export class Encoder {
  private readonly maxInFlight: number;
  private thread: Worker | null = null;
  private readonly spools = new Map<number, Spool>();
  private readonly questions = new Map<number, Question>();
  private readonly knownSchemas = new Set<number>();
  private roomWaiters: (() => void)[] = [];
  private inFlight = 0;
  private held = 0;
  private nextId = 1;

  /** `maxInFlight`: bytes of chunks that may wait for the thread (invariant 9). */
  constructor(maxInFlight: number) {
    this.maxInFlight = maxInFlight;
  }

  open(spec: Omit<SpoolSpec, 'id'>): Spool {
    const spool = this.newSpool(new GatheredRecords());
    this.post({ type: 'open', spec: { ...spec, id: spool.id } });
    return spool;
  }

  /** A spool of packed records with their keys (keyed-chunk.ts), to be merged into published files. */
  openKeyed(spec: Omit<KeyedSpoolSpec, 'id'>): Spool {
    const spool = this.newSpool(null);
    this.post({ type: 'open-keyed', spec: { ...spec, id: spool.id } });
    return spool;
  }

  private newSpool(gathered: GatheredRecords | null): Spool {
    const spool = newSpool(this.nextId++, gathered);
    this.spools.set(spool.id, spool);
    return spool;
  }

  /** Adds columns to a spool. False, and nothing changes, when a row group of it was written. */
  widen(spool: Spool, columns: readonly FileColumn[]): Promise<boolean> {
    this.sendGathered(spool);
    return this.question((id) => {
      this.post({ type: 'widen', spool: id, widened: spool.id, columns });
    });
  }

  /** Looks for fields of JSON documents that the columns lack. The chunk's buffers are transferred;
   * the answer has them. */
  async findFields(
    chunk: RecordChunk,
    columns: readonly FileColumn[],
    schemas: Iterable<ChangeSchema>,
  ): Promise<Searched> {
    this.postSchemas(schemas);
    return this.question((spool) => {
      this.post({ type: 'find', spool, chunk, columns }, buffersOf(chunk));
    });
  }

  /** Makes one file of several. It is the caller's. */
  join(join: JoinSpec): Promise<Joined> {
    return this.question((spool) => this.post({ type: 'join', spool, join }));
  }

  /** Asks what is about no spool. */
  private question<T>(ask: (id: number) => void): Promise<T> {
    return new Promise((resolve, reject) => {
      const id = this.nextId++;
      this.questions.set(id, { resolve, reject });
      ask(id);
    });
  }

  /** What all its spools have sent or hold in memory. */
  get heldBytes(): number {
    return this.held;
  }

  /** Resolves when a chunk may be appended; at once while the thread keeps up. */
  async room(): Promise<void> {
    while (this.inFlight >= this.maxInFlight) {
      await new Promise<void>((resolve) => this.roomWaiters.push(resolve));
    }
  }

  /** Hands a chunk over; its buffers are transferred and must not be touched any more. */
  append(spool: Spool, chunk: RecordChunk, schemas: Iterable<ChangeSchema>): void {
    this.postSchemas(schemas);
    this.holds(spool, spool.sentBytes + chunk.bytes.byteLength, spool.pendingBytes);
    const { gathered } = spool;
    if (gathered === null || GatheredRecords.isLarge(chunk)) {
      this.sendGathered(spool);
      this.send(spool, chunk);
      return;
    }
    gathered.add(chunk);
    if (gathered.isFull) this.sendGathered(spool);
  }

  private sendGathered(spool: Spool): void {
    const chunk = spool.failure === null ? (spool.gathered?.take() ?? null) : null;
    if (chunk !== null) this.send(spool, chunk);
  }

  private send(spool: Spool, chunk: RecordChunk): void {
    this.inFlight += chunk.bytes.byteLength;
    this.post({ type: 'records', spool: spool.id, chunk }, buffersOf(chunk));
  }

  private holds(spool: Spool, sentBytes: number, pendingBytes: number): void {
    // One that was let go of meanwhile holds nothing, whatever is still said of it.
    if (this.spools.get(spool.id) !== spool) return;
    this.held += sentBytes + pendingBytes - spool.sentBytes - spool.pendingBytes;
    spool.sentBytes = sentBytes;
    spool.pendingBytes = pendingBytes;
  }

  private forget(spool: Spool | undefined): void {
    if (spool === undefined) return;
    this.holds(spool, 0, 0);
    this.spools.delete(spool.id);
  }

  private postSchemas(schemas: Iterable<ChangeSchema>): void {
    for (const schema of schemas) {
      if (this.knownSchemas.has(schema.id)) continue;
      this.knownSchemas.add(schema.id);
      this.post({ type: 'schema', schema });
    }
  }

  /** Finishes the files of a spool. They are the caller's from then on. */
  seal(spool: Spool): Promise<readonly SpooledFile[]> {
    this.sendGathered(spool);
    return this.ask(spool, { type: 'seal', spool: spool.id });
  }

  /** Lets a keyed spool take no more records; it stays until it is discarded. */
  sealKeyed(spool: Spool): Promise<KeyedContent> {
    return this.ask(spool, { type: 'seal-keyed', spool: spool.id });
  }

  /** Merges some slots of a sealed keyed spool. The files are the caller's. */
  merge(spool: Spool, merge: MergeSpec): Promise<Merged> {
    return this.ask(spool, { type: 'merge', spool: spool.id, merge });
  }

  private ask<T>(spool: Spool, message: ToEncoder): Promise<T> {
    if (spool.failure !== null) return Promise.reject(spool.failure);
    return new Promise<T>((resolve, reject) => {
      this.questions.set(spool.id, { resolve, reject });
      this.post(message);
    });
  }

  private answer(spool: number, answer: unknown): void {
    this.questions.get(spool)?.resolve(answer as never);
    this.questions.delete(spool);
  }

  discard(spool: Spool): void {
    this.fail(spool.id, new PipelineError('SNK_ENCODER_LOST', 'the records were let go of'));
    if (this.thread !== null) this.post({ type: 'discard', spool: spool.id });
  }

  async close(): Promise<void> {
    const { thread } = this;
    this.thread = null;
    await thread?.terminate();
    const closed = new PipelineError('SNK_ENCODER_LOST', 'the writer was closed');
    for (const id of [...this.questions.keys()]) this.fail(id, closed);
  }

  private post(message: ToEncoder, transfer: ArrayBuffer[] = []): void {
    this.thread ??= this.start();
    this.thread.postMessage(message, transfer);
  }

  private start(): Worker {
    const thread = new Worker(new URL('./encoder-thread.ts', import.meta.url), {
      resourceLimits: THREAD_MEMORY,
    });
    thread.on('message', (message: FromEncoder) => this.receive(message));
    thread.on('error', (error) => this.lose(thread, error));
    thread.on('exit', () => this.lose(thread, null));
    return thread;
  }

  private receive(message: FromEncoder): void {
    const spool = this.spools.get(message.spool);
    switch (message.type) {
      case 'taken':
        this.inFlight -= message.chunkBytes;
        if (spool !== undefined) {
          this.holds(spool, spool.sentBytes - message.chunkBytes, message.pendingBytes);
          spool.encodedBytes = message.encodedBytes;
          spool.files = message.files;
        }
        this.wakeRoomWaiters();
        return;
      case 'found':
        this.answer(message.spool, message.search);
        return;
      case 'widened':
        this.answer(message.spool, message.done);
        return;
      case 'joined':
        this.answer(message.spool, message.joined);
        return;
      case 'sealed':
        this.answer(message.spool, message.files);
        this.forget(spool);
        return;
      case 'sealed-keyed':
        this.answer(message.spool, message.content);
        return;
      case 'merged':
        this.answer(message.spool, message.merged);
        return;
      case 'failed': {
        const { code, message: text, details } = message;
        this.fail(message.spool, new PipelineError(code, text, { details }));
      }
    }
  }

  private fail(id: number, error: PipelineError): void {
    const spool = this.spools.get(id);
    if (spool !== undefined) spool.failure = error;
    this.forget(spool);
    this.questions.get(id)?.reject(error);
    this.questions.delete(id);
  }

  private lose(thread: Worker, cause: unknown): void {
    if (this.thread !== thread) return; // closed on purpose, or known already
    this.thread = null;
    this.inFlight = 0;
    this.knownSchemas.clear();
    const error = new PipelineError('SNK_ENCODER_LOST', 'the thread that builds files ended', {
      cause,
    });
    for (const id of [...this.spools.keys(), ...this.questions.keys()]) this.fail(id, error);
    this.wakeRoomWaiters();
  }

  private wakeRoomWaiters(): void {
    const waiters = this.roomWaiters;
    this.roomWaiters = [];
    for (const wake of waiters) wake();
  }
}

function buffersOf({ bytes, ends, offsets }: RecordChunk): ArrayBuffer[] {
  return [bytes, ends.buffer, offsets.buffer];
}
