import { type PipelineError, toPipelineError } from '../../../core/errors/pipeline-error.ts';
import { EventWriter, stopsStreamOnly } from '../../capture/event-writer.ts';
import type { Outbox } from '../../capture/outbox.ts';
import type { SchemaIds, SourceOpenOptions } from '../../spi/source.ts';
import {
  BinlogSession,
  HELD_BY_BUFFER,
  HELD_BY_PREPARED,
  HELD_BY_SCHEMA,
  type BinlogHandler,
} from './binlog-session.ts';
import { BinlogStream } from './binlog-stream.ts';
import { Charsets } from './charsets.ts';
import type { MysqlSourceConfig } from './config.ts';
import { freshStart, type StartPlace } from './continuity.ts';
import { GtidSet } from './gtid-set.ts';
import { fileName, type CaptureState, type ChunkMark, type Mark } from './position.ts';
import { logStatus, type ServerTraits } from './server.ts';
import { connect, type SideSession } from './session.ts';
import { compileLoggedShape } from './shapes.ts';
import { readWindow } from './log-window.ts';
import { SchemaHistory } from './schema-history.ts';
import { Snapshot } from './snapshot.ts';
import type { KnownTable } from './tables.ts';
import { TransactionReplay } from './transaction-replay.ts';

/** An idle position is stored this often. */
const IDLE_COMMIT_MS = 10_000;
const TICK_MS = 1_000;
const SILENCE_MS = 30_000;

export interface CaptureParts extends ServerTraits {
  readonly config: MysqlSourceConfig;
  readonly open: SourceOpenOptions;
  readonly sql: SideSession;
  readonly state: CaptureState;
  readonly outbox: Outbox<Mark>;
  /** Null when there is no stored state: the snapshot's view becomes the position. */
  readonly start: StartPlace | null;
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
  private readonly charsets: Charsets;
  private readonly history: SchemaHistory;
  private readonly failed: (error: PipelineError) => void;
  private stream: BinlogStream | null = null;
  private session: BinlogSession | null = null;
  /** Reads an XA transaction where it was prepared, while the session above is held. */
  private prepared: BinlogSession | null = null;
  private snapshot: Snapshot | null = null;
  private timer: NodeJS.Timeout | null = null;
  private sealedAt = Date.now();
  private closed = false;

  constructor(parts: CaptureParts, failed: (error: PipelineError) => void) {
    this.parts = parts;
    this.failed = failed;
    this.writer = new EventWriter(parts.outbox, parts.open.maxRecordBytes, parts.state.epoch);
    this.charsets = new Charsets(parts.sql);
    this.history = new SchemaHistory({ ...parts, sourceId: parts.open.sourceId });
    this.handed = parts.start?.position ?? 0n;
  }

  async run(): Promise<void> {
    try {
      const start = await this.snapshotIfNeeded();
      if (!this.closed) await this.startStream(start);
    } catch (error) {
      this.failed(toPipelineError(error));
    }
  }

  private say = (text: string | undefined): void => {
    this.waitingFor = text;
  };

  private async snapshotIfNeeded(): Promise<StartPlace> {
    const { parts } = this;
    const { start, state } = parts;
    const lanes = state.uncopied;
    if (start !== null && lanes.length === 0) return start;
    this.phase = 'snapshot';
    this.snapshot = new Snapshot({
      ...parts,
      position: start?.position ?? null,
      say: this.say,
      readWindow: ({ rowless, ...window }) =>
        readWindow({
          ...parts,
          sourceId: parts.open.sourceId,
          history: this.history,
          ...window,
          streams: rowless === true ? [] : lanes.map(({ stream }) => stream),
          compile: async (table) => {
            await this.compileShape(table, undefined);
          },
        }),
    });
    const view = await this.snapshot.run(lanes, (viewed) => {
      if (start !== null) return;
      state.gtids = new GtidSet(parts.mariadb, viewed.gtids);
      for (const [xid, place] of viewed.prepared) state.prepared.set(xid, place);
      this.handed = viewed.place;
    });
    this.snapshot = null;
    return start ?? freshStart(view.place);
  }

  private async startStream(start: StartPlace): Promise<void> {
    const { parts } = this;
    const { state, outbox, open } = parts;
    const anchor = start.anchored ? state.anchor : null;
    const stream = new BinlogStream({
      checksums: parts.checksums,
      mariadb: parts.mariadb,
      position: start.position,
      replay: new TransactionReplay({
        position: start.position,
        anchor,
        chunk: parts.chunk,
        elsewhere: state.elsewhere,
      }),
      state,
      outbox,
      writer: this.writer,
      history: this.history,
      compile: (table) => this.errand(() => this.compile(table)),
      ask: (question) => this.errand(() => question((text) => parts.sql.query(text))),
      readPrepared: (place, xid) => this.readPrepared(stream, place, xid),
    });
    this.stream = stream;
    const connection = await connect(parts.config);
    this.session = new BinlogSession(connection, this.handler(stream), SILENCE_MS);
    const file = fileName(state.base, start.readFrom);
    await this.session.start(open.sourceId, file, Number(start.readFrom & 0xffffffffn));
    this.say(undefined);
    this.phase = 'streaming';
    this.timer = setInterval(() => this.onTick(stream), TICK_MS);
    // What was stopped before the stream began is stored too.
    if (state.dirty) stream.seal(true);
    parts.wake();
    if (this.closed) await this.close();
  }

  private handler(stream: BinlogStream): BinlogHandler {
    return {
      event: (bytes, start, end) => stream.event(bytes, start, end),
      more: () => {
        if (!stream.more()) return false;
        this.limitBuffer(stream);
        return true;
      },
      chunkDone: () => this.chunkDone(stream),
      failed: this.failed,
    };
  }

  private chunkDone(stream: BinlogStream): void {
    this.writer.tick();
    this.limitBuffer(stream);
    if (this.parts.outbox.ready) this.parts.wake();
  }

  private limitBuffer(stream: BinlogStream): void {
    const { outbox } = this.parts;
    if (!outbox.isFull()) return;
    // Only a transaction that alone is too large is cut (invariants 7 and 9).
    const between = this.schemaErrands === 0;
    if (stream.inTransaction && !outbox.sealed && between) stream.sealChunk();
    this.reading?.hold(HELD_BY_BUFFER);
  }

  /** `next` took a batch: there is room again, or a large transaction's next piece can be cut. */
  afterTake(handed: bigint | null): void {
    if (handed !== null && handed > this.handed) this.handed = handed;
    this.sealedAt = Date.now();
    const { outbox, wake } = this.parts;
    if (this.stream === null) return;
    if (!outbox.isFull()) {
      this.session?.release(HELD_BY_BUFFER);
      this.prepared?.release(HELD_BY_BUFFER);
    } else {
      this.limitBuffer(this.stream);
      if (outbox.ready) wake();
    }
  }

  /** Everything committed at the source up to here was handed over. */
  get readThrough(): bigint {
    if (this.stream === null || this.parts.outbox.records > 0) return this.handed;
    return this.stream.through > this.handed ? this.stream.through : this.handed;
  }

  private get reading(): BinlogSession | null {
    return this.prepared ?? this.session;
  }

  private schemaErrands = 0;

  /** Work that the events behind it must wait for. The socket is not read meanwhile. */
  private errand(work: () => Promise<void>): void {
    const { reading } = this;
    this.schemaErrands++;
    reading?.hold(HELD_BY_SCHEMA);
    void work().then(
      () => {
        this.schemaErrands--;
        if (this.schemaErrands === 0) reading?.release(HELD_BY_SCHEMA);
      },
      (error: unknown) => this.failed(toPipelineError(error)),
    );
  }

  private readPrepared(stream: BinlogStream, place: bigint, xid: string): void {
    this.session?.hold(HELD_BY_PREPARED);
    void this.openPrepared(stream, place, xid).catch((error: unknown) =>
      this.failed(toPipelineError(error)),
    );
  }

  private async openPrepared(stream: BinlogStream, place: bigint, xid: string): Promise<void> {
    const { config, state, open } = this.parts;
    const reader = stream.preparedTransaction(
      (table) => this.errand(() => this.compile(table)),
      () => this.preparedRead(stream, xid),
    );
    const connection = await connect(config);
    const session = new BinlogSession(
      connection,
      {
        event: (bytes, start, end) => reader.event(bytes, start, end),
        more: () => reader.more(),
        chunkDone: () => this.chunkDone(stream),
        failed: this.failed,
      },
      SILENCE_MS,
    );
    this.prepared = session;
    if (this.closed) return session.close();
    // Under a number of its own: the server ends the older one of two sessions with the same.
    const file = fileName(state.base, place);
    await session.start(`${open.sourceId}:prepared`, file, Number(place & 0xffffffffn));
  }

  private preparedRead(stream: BinlogStream, xid: string): void {
    this.prepared?.close();
    this.prepared = null;
    stream.preparedIsOver(xid);
    this.chunkDone(stream);
    this.session?.release(HELD_BY_PREPARED);
  }

  private compileShape(
    table: KnownTable,
    storedKey: readonly string[] | undefined,
  ): Promise<SchemaIds> {
    const { charsets, history, parts } = this;
    const { sql, open } = parts;
    const register = open.registerSchema;
    return compileLoggedShape(table, storedKey, { sql, charsets, history, register });
  }

  private async compile(table: KnownTable): Promise<void> {
    const { state } = this.parts;
    const { lane } = table;
    if (lane === null) return;
    const mark = state.mark(lane.label);
    try {
      const ids = await this.compileShape(table, mark?.key);
      const now = state.mark(lane.label);
      if (now !== undefined) state.setMark(lane.label, { ...now, ids });
    } catch (error) {
      const failure = toPipelineError(error);
      if (!stopsStreamOnly(failure)) throw failure;
      this.stream?.stop(lane, failure);
    }
  }

  private onTick(stream: BinlogStream): void {
    const { outbox, wake, sql } = this.parts;
    void logStatus((text) => sql.query(text)).then(
      ({ place }) => {
        if (place > this.serverEnd) this.serverEnd = place;
      },
      // The side session is opened anew at the next look; the stream itself notices a lost server.
      () => {},
    );
    const idle = !stream.inTransaction && outbox.records === 0 && !outbox.sealed;
    if (idle && stream.through > this.handed && Date.now() - this.sealedAt >= IDLE_COMMIT_MS) {
      stream.seal(true);
    }
    if (outbox.ready) wake();
  }

  async close(): Promise<void> {
    this.closed = true;
    if (this.timer !== null) clearInterval(this.timer);
    this.snapshot?.cancel();
    this.session?.close();
    this.prepared?.close();
    await this.parts.sql.close();
  }
}
