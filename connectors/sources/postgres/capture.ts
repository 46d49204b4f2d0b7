import { randomBytes } from 'node:crypto';
import type pg from 'pg';
import { PipelineError, toPipelineError } from '../../../core/errors/pipeline-error.ts';
import { failpoint } from '../../../core/run/failpoints.ts';
import type { SourceOpenOptions } from '../../spi/source.ts';
import type { CaptureState, Mark } from './capture-state.ts';
import type { TableFacts } from './catalog.ts';
import { TypeRegistry } from './column-types.ts';
import type { CaptureConfig, PostgresSourceConfig } from './config.ts';
import { Definitions } from './definitions.ts';
import { sqlStateOf } from './errors.ts';
import { EventWriter, stopsStreamOnly } from '../../capture/event-writer.ts';
import type { Outbox } from '../../capture/outbox.ts';
import { lsnOfText, lsnText, type ChunkMark } from './position.ts';
import type { PublishedTable } from './publication.ts';
import { followRelation, type Relation } from './relations.ts';
import { connect, type SideSession } from './session.ts';
import { abandonSession, createSlot, readSlot, type ExportedSnapshot } from './slot.ts';
import { Snapshot } from './snapshot.ts';
import { PAUSED_BY_BUFFER, PAUSED_BY_SCHEMA } from './socket-takeover.ts';
import { StreamWatch } from './stream-watch.ts';
import { frameLimitFor } from './table-copy.ts';
import { completeUpdate } from './unchanged-cells.ts';
import { WalSession } from './wal-session.ts';
import { WalStream } from './wal-stream.ts';

/** An idle position is stored this often, so that the server may drop log that concerns others. */
const IDLE_COMMIT_MS = 10_000;
const TICK_MS = 1_000;
const SILENCE_MS = 30_000;
const BUSY_ATTEMPTS = 20;
const BUSY_WAIT_MS = 500;

export interface CaptureParts {
  readonly config: PostgresSourceConfig;
  readonly capture: CaptureConfig;
  readonly open: SourceOpenOptions;
  readonly sql: SideSession;
  readonly state: CaptureState;
  readonly outbox: Outbox<Mark>;
  readonly tables: ReadonlyMap<string, TableFacts>;
  /** As it was before the snapshot's slot was made. */
  readonly published: ReadonlyMap<string, PublishedTable>;
  /** Null when there is no stored state: the snapshot's start becomes the position. */
  readonly position: bigint | null;
  readonly chunk: ChunkMark | null;
  readonly wake: () => void;
  readonly taken: () => Promise<void>;
}

/** Snapshots what was not copied yet, then streams the log: the background work of one reader. */
export class Capture {
  waitingFor: string | undefined;
  phase: 'connecting' | 'snapshot' | 'streaming' = 'connecting';
  /** The server's newest position, as last heard. */
  serverEnd = 0n;
  /** What `next` has handed over. */
  handed = 0n;
  private readonly parts: CaptureParts;
  private readonly writer: EventWriter;
  private readonly types: TypeRegistry;
  private readonly definitions: Definitions;
  private readonly frameLimit: number;
  private wal: WalStream | null = null;
  private session: WalSession | null = null;
  private watch: StreamWatch | null = null;
  private timer: NodeJS.Timeout | null = null;
  private replication: pg.Client | null = null;
  private snapshot: Snapshot | null = null;
  private acked: bigint;
  private sealedAt = Date.now();
  private closed = false;
  private readonly failed: (error: PipelineError) => void;

  constructor(parts: CaptureParts, failed: (error: PipelineError) => void) {
    this.parts = parts;
    this.failed = failed;
    this.writer = new EventWriter(parts.outbox, parts.open.maxRecordBytes, parts.state.epoch);
    this.types = new TypeRegistry(parts.sql);
    this.definitions = new Definitions(parts.sql, parts.state);
    this.frameLimit = frameLimitFor(parts.open.maxRecordBytes);
    this.acked = parts.position ?? 0n;
    this.handed = this.acked;
  }

  async run(): Promise<void> {
    try {
      const position = await this.snapshotIfNeeded();
      if (this.closed) return;
      await this.stream(position);
    } catch (error) {
      this.failed(toPipelineError(error));
    }
  }

  private say = (text: string | undefined): void => {
    this.waitingFor = text;
  };

  private async snapshotIfNeeded(): Promise<bigint> {
    const { parts } = this;
    const lanes = parts.state.uncopied;
    if (parts.position !== null && lanes.length === 0) return parts.position;
    this.phase = 'snapshot';
    const session = await connect(parts.config, { replication: true, purpose: 'slot' });
    this.replication = session;
    const exported = await this.export(session);
    const position = parts.position ?? exported.consistentPoint;
    if (parts.position === null) {
      parts.state.anchor = { lsn: lsnText(position), xid: 0, tsUs: 0 };
      this.handed = position;
    }
    this.snapshot = new Snapshot({
      ...parts,
      types: this.types,
      writer: this.writer,
      exported,
      position,
      frameLimit: this.frameLimit,
      say: this.say,
    });
    await this.snapshot.run(lanes);
    await failpoint('source.snapshot_handover');
    this.snapshot = null;
    // A temporary slot goes with its session.
    await session.end().catch(() => {});
    this.replication = null;
    return position;
  }

  /** The first start without a slot makes ours; every later snapshot has a slot of its own, for ours
   * must not move. */
  private async export(session: pg.Client): Promise<ExportedSnapshot> {
    const { capture, sql, position } = this.parts;
    const own = position === null && (await readSlot(sql, capture.slot)) === null;
    const name = own ? capture.slot : `headrace_tmp_${randomBytes(6).toString('hex')}`;
    return createSlot(session, sql, name, {
      temporary: !own,
      waitingSeconds: capture.waitingSeconds,
      onWait: this.say,
    });
  }

  private async stream(position: bigint): Promise<void> {
    const { parts } = this;
    for (let attempt = 1; ; attempt++) {
      const slot = await readSlot(parts.sql, parts.capture.slot);
      const free = slot?.activePid === null || attempt >= BUSY_ATTEMPTS || this.closed;
      if (free) return this.startStream(position, slot?.confirmed ?? 0n);
      this.say(`waiting for session ${slot?.activePid} to let go of slot ${parts.capture.slot}`);
      await new Promise((resolve) => setTimeout(resolve, BUSY_WAIT_MS));
    }
  }

  private async startStream(position: bigint, confirmed: bigint): Promise<void> {
    if (this.closed) return;
    const { parts } = this;
    const { state } = parts;
    const anchor = lsnOfText(state.anchor.lsn);
    const from = confirmed > anchor ? confirmed : anchor;
    const requestedStart = from < position ? from : position;
    const client = await connect(parts.config, { replication: true, purpose: 'stream' });
    const wal = new WalStream({
      position,
      requestedStart,
      chunk: parts.chunk,
      state,
      outbox: parts.outbox,
      writer: this.writer,
      errands: {
        compile: (relations, xid) => this.errand(() => this.compile(relations, xid)),
        complete: (relation, message, xid, answer) =>
          this.errand(async () => answer(await completeUpdate(relation, message, xid, parts.sql))),
      },
    });
    this.wal = wal;
    this.acked = position > this.acked ? position : this.acked;
    this.session = new WalSession(client, this.handler(wal), this.frameLimit, SILENCE_MS);
    this.watch = new StreamWatch(parts.sql, parts.capture, state, this.types);
    await this.session.start(parts.capture.slot, requestedStart, await this.watch.publications());
    this.say(undefined);
    this.phase = 'streaming';
    this.timer = setInterval(() => this.onTick(wal), TICK_MS);
    // What was stopped before the stream began is stored too.
    if (parts.state.dirty) wal.seal(true);
    parts.wake();
    if (this.closed) await this.close();
  }

  private handler(wal: WalStream): ConstructorParameters<typeof WalSession>[1] {
    return {
      message: (bytes, start, end) => wal.message(bytes, start, end),
      heard: (end) => {
        wal.heard(end);
        if (end > this.serverEnd) this.serverEnd = end;
      },
      chunkDone: () => this.chunkDone(wal),
      oversized: (head, length) => wal.oversized(head, length, this.parts.open.maxRecordBytes),
      acknowledged: () => (wal.replay.verified ? this.acked : 0n),
      failed: (error) => this.failed(this.streamError(error)),
    };
  }

  /** Decoding looks the publication up in the catalog as it was at each change: once it was gone for
   * a moment, the slot is stuck at that change for ever. */
  private streamError(error: PipelineError): PipelineError {
    const { publication, insertsPublication } = this.parts.capture;
    const named = [publication, insertsPublication].some((name) =>
      error.message.includes(`"${name}"`),
    );
    if (!named || sqlStateOf(error.cause) !== '42704') return error;
    return new PipelineError(
      'SRC_PUBLICATION_MISSING',
      `${error.message} where the log is being read: changes made while it was missing cannot be decoded, and every stream of this source needs a new slot and snapshot`,
      { cause: error.cause },
    );
  }

  private chunkDone(wal: WalStream): void {
    const { outbox, wake } = this.parts;
    if (outbox.isFull()) {
      // Only a transaction that alone is too large is cut (invariants 7 and 9).
      if (wal.inTransaction && !outbox.sealed && this.session?.blocked === false) wal.sealChunk();
      this.session?.pause(PAUSED_BY_BUFFER);
    }
    if (outbox.ready) wake();
  }

  /** `next` took a batch: there is room again, or a large transaction's next piece can be cut. */
  afterTake(handed: bigint | null): void {
    if (handed !== null && handed > this.handed) this.handed = handed;
    this.sealedAt = Date.now();
    const { outbox } = this.parts;
    if (this.wal === null || this.session === null) return;
    if (outbox.isFull()) this.chunkDone(this.wal);
    else this.session.resume(PAUSED_BY_BUFFER);
  }

  acknowledge(position: bigint): void {
    if (position > this.acked) this.acked = position;
  }

  /** Everything committed at the source up to here was handed over. */
  get readThrough(): bigint {
    if (this.wal === null || this.parts.outbox.records > 0) return this.handed;
    return this.wal.through > this.handed ? this.wal.through : this.handed;
  }

  /** Work that a message must wait for. The socket is not read meanwhile. */
  private errand(work: () => Promise<void>): void {
    const { session } = this;
    session?.pause(PAUSED_BY_SCHEMA);
    const done = async (): Promise<void> => {
      await failpoint('source.received');
      await work();
    };
    void done().then(
      () => {
        session?.unblock();
        if (session?.blocked === false) session.resume(PAUSED_BY_SCHEMA);
      },
      (error: unknown) => this.failed(toPipelineError(error)),
    );
  }

  private async compile(relations: readonly Relation[], xid: number): Promise<void> {
    const { state, sql, open } = this.parts;
    await this.definitions.see(xid);
    for (const relation of relations) {
      const { lane, message } = relation;
      if (lane === null) continue;
      try {
        const mark = state.mark(lane.label);
        relation.codec = this.definitions.codecOf(message, mark);
        if (relation.codec !== null) continue;
        const { registerSchema } = open;
        const followed = await followRelation(message, mark, sql, this.types, registerSchema);
        if (followed.mark !== undefined) state.setMark(lane.label, followed.mark);
        relation.codec = followed.codec;
        this.definitions.note(message, state.mark(lane.label), followed.codec);
      } catch (error) {
        const failure = toPipelineError(error);
        if (!stopsStreamOnly(failure)) throw failure;
        this.wal?.stop(lane, failure);
      }
    }
  }

  private onTick(wal: WalStream): void {
    const { outbox, wake } = this.parts;
    void this.watch?.look().then(
      (end) => {
        if (end !== null && end > this.serverEnd) this.serverEnd = end;
      },
      // The side session is opened anew at the next look; the stream itself notices a lost server.
      () => {},
    );
    for (const { lane, error } of this.watch?.due(wal.through) ?? []) {
      if (!wal.inTransaction) wal.stop(lane, error);
    }
    const idle = !wal.inTransaction && outbox.records === 0 && !outbox.sealed;
    if (idle && wal.through > this.handed && Date.now() - this.sealedAt >= IDLE_COMMIT_MS) {
      wal.seal(true);
    }
    if (outbox.ready) wake();
  }

  async close(): Promise<void> {
    this.closed = true;
    if (this.timer !== null) clearInterval(this.timer);
    this.snapshot?.cancel();
    await this.session?.close();
    if (this.replication !== null) await abandonSession(this.parts.sql, this.replication);
    await this.parts.sql.close();
  }
}
