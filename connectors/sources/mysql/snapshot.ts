import { PipelineError, toPipelineError } from '../../../core/errors/pipeline-error.ts';
import { EventWriter, stopsStreamOnly, type StreamLane } from '../../capture/event-writer.ts';
import type { Outbox } from '../../capture/outbox.ts';
import type { SourceOpenOptions } from '../../spi/source.ts';
import { tablesNamed, type TableFacts } from './catalog.ts';
import type { MysqlSourceConfig } from './config.ts';
import { consistentView, type ConsistentView, type ViewRequest } from './consistent-view.ts';
import { copyOf, refuseChanged } from './copied-table.ts';
import type { Ask } from './key-ranks.ts';
import {
  placeText,
  type CaptureState,
  type ChunkMark,
  type Mark,
  type StreamMark,
} from './position.ts';
import { RowQuery } from './row-query.ts';
import type { SideSession } from './session.ts';
import type { CopyReader, TableCopy } from './table-copy.ts';

/** Share of the longest Kafka transaction after which an unfinished copy commits in between. */
const COMMIT_SHARE = 0.6;

export interface SnapshotPlan {
  readonly config: MysqlSourceConfig;
  readonly mariadb: boolean;
  /** Whether every transaction of the server has an id (gtid_mode = ON). */
  readonly gtids: boolean;
  /** Whether the log names the columns of tables. */
  readonly namesColumns: boolean;
  readonly readWindow: ViewRequest['readWindow'];
  readonly open: SourceOpenOptions;
  readonly sql: SideSession;
  readonly state: CaptureState;
  readonly outbox: Outbox<Mark>;
  /** The stream's position, which the copies do not move; null when the view's is to become it. */
  readonly position: bigint | null;
  /** How far a transaction behind that position was delivered. */
  readonly chunk: ChunkMark | null;
  readonly wake: () => void;
  /** Resolves at the next `take`. */
  readonly taken: () => Promise<void>;
  readonly say: (text: string | undefined) => void;
}

/**
 * Copies tables as one consistent view shows them, in the order of their keys, by several readers at once:
 * what is committed stays, and a later view goes on behind it. The rows of a table without such an order
 * are one Kafka transaction, of which a crash leaves nothing; only when that would last too long is it
 * committed in between, and then a later attempt begins by truncating. Such tables come last, one after
 * the other.
 */
export class Snapshot {
  private readonly plan: SnapshotPlan;
  private readonly ask: Ask;
  private readers: CopyReader[] = [];
  private view: ConsistentView | null = null;
  /** The tables before the view was started. */
  private tables: ReadonlyMap<string, TableFacts> = new Map();
  /** Streams that nobody has begun with. */
  private waiting: StreamLane[] = [];
  /** Those that are copied in one piece. */
  private readonly alone: StreamLane[] = [];
  private readonly open = new Set<TableCopy>();
  private opening: Promise<void> | null = null;
  private position = 0n;
  private transactionStarted = 0;
  private cancelled = false;
  /** A position is about to be sealed, or was and is not taken yet: nothing may be sealed over it. */
  private committing: Promise<void> | null = null;
  /** The last stream was stopped: readers that are at work on it need not come to an end. */
  private readonly over = Promise.withResolvers<void>();

  constructor(plan: SnapshotPlan) {
    this.plan = plan;
    this.ask = (sql) => plan.sql.query(sql);
  }

  /** Copies the streams; answers with where the view lies. `viewed` is called before any row. */
  async run(
    lanes: readonly StreamLane[],
    viewed: (view: ConsistentView) => void,
  ): Promise<ConsistentView> {
    const { plan } = this;
    try {
      plan.say('waiting for a consistent view');
      const streams = lanes.map((lane) => lane.stream);
      this.tables = await tablesNamed(plan.sql, streams);
      const view = await consistentView({
        ...plan,
        begins: plan.position === null,
        streams,
        cancelled: () => this.cancelled,
      });
      this.view = view;
      viewed(view);
      this.position = plan.position ?? view.place;
      this.readers = view.connections.map((connection) => ({
        rows: new RowQuery(connection),
        writer: this.newWriter(view),
      }));
      if (this.cancelled) this.cancel();
      this.waiting = [...lanes];
      this.transactionStarted = Date.now();
      await Promise.race([this.copyAll(), this.over.promise]);
      return view;
    } finally {
      plan.say(undefined);
      for (const { rows } of this.readers) rows.destroy();
    }
  }

  /** The next transaction begins at the view's place itself: its changes must be newer than the copy. */
  private newWriter(view: ConsistentView): EventWriter {
    const { outbox, open, state } = this.plan;
    const writer = new EventWriter(outbox, open.maxRecordBytes, state.epoch);
    writer.beginTransaction(view.place - 1n, 0, Date.now() * 1000, true);
    return writer;
  }

  /** Gives up; what was not committed is never seen. */
  cancel(): void {
    this.cancelled = true;
    for (const { rows } of this.readers) rows.destroy();
  }

  private async copyAll(): Promise<void> {
    await Promise.all(this.readers.map((reader) => this.copyShared(reader)));
    for (const lane of this.alone) {
      const reader = this.readers[0] as CopyReader;
      await this.orStop(reader, lane, async () => {
        const copy = await this.openTable(reader, lane);
        this.open.add(copy);
        await this.copyPieces(reader, copy);
      });
    }
  }

  /** All readers are at one table until it is taken; then the first that is free begins the next. */
  private async copyShared(reader: CopyReader): Promise<void> {
    for (;;) {
      for (const copy of this.open) {
        await this.orStop(reader, copy.lane, () => this.copyPieces(reader, copy));
      }
      if (this.opening !== null) {
        await this.opening;
        continue;
      }
      const lane = this.waiting.shift();
      if (lane === undefined) return;
      this.opening = this.orStop(reader, lane, () => this.openShared(reader, lane));
      try {
        await this.opening;
      } finally {
        this.opening = null;
      }
    }
  }

  private async openShared(reader: CopyReader, lane: StreamLane): Promise<void> {
    const copy = await this.openTable(reader, lane);
    if (!copy.progress.isOrdered) {
      this.alone.push(lane);
      return;
    }
    this.open.add(copy);
    if (copy.progress.isDone) await this.finish(copy);
  }

  private async copyPieces(reader: CopyReader, copy: TableCopy): Promise<void> {
    const isShared = this.readers.length > 1;
    for (;;) {
      const piece = await copy.nextPiece(reader, isShared);
      if (piece === null) return;
      await copy.read(reader, piece, () => this.afterChunk(copy));
      if (copy.progress.isDone) return this.finish(copy);
    }
  }

  private async finish(copy: TableCopy): Promise<void> {
    if (copy.lane.stopped) return;
    await refuseChanged(this.plan, this.tables, copy);
    copy.isWhole = true;
    this.plan.state.setPhase(copy.lane.label, 'streaming');
    await this.commit();
  }

  /** A failure that concerns one stream only takes the session along: the others need a view of their
   * own. What was written of the table is in the open Kafka transaction, which ends as a partial copy. */
  private async orStop(
    reader: CopyReader,
    lane: StreamLane,
    work: () => Promise<void>,
  ): Promise<void> {
    const { plan } = this;
    try {
      return await work();
    } catch (error) {
      const failure = toPipelineError(error);
      if (!stopsStreamOnly(failure) && failure.code !== 'SRC_PRIVILEGE') throw failure;
      this.stop(reader, lane, failure);
      await this.commit();
    }
    if (reader.rows.usable) return;
    if (plan.state.uncopied.length === 0) return this.over.resolve();
    throw new PipelineError('SRC_CONNECTION_LOST', 'the other tables are copied in a new session');
  }

  private stop({ writer }: CopyReader, lane: StreamLane, failure: PipelineError): void {
    const { state } = this.plan;
    writer.rollback();
    for (const copy of this.open) if (copy.lane === lane) this.open.delete(copy);
    state.setMark(lane.label, { ...this.mark(false), partial: true });
    state.stop(lane.label, failure, placeText(this.position));
  }

  private mark(done: boolean): StreamMark {
    return { from: placeText((this.view as ConsistentView).place), done };
  }

  private async openTable(reader: CopyReader, lane: StreamLane): Promise<TableCopy> {
    const copy = await copyOf(this.plan, this.view as ConsistentView, lane);
    await copy.begin(this.ask);
    if (copy.progress.isOrdered || this.alone.includes(lane)) this.begin(reader, copy);
    return copy;
  }

  /** What an earlier copy left is emptied first, unless this one goes on from it. */
  private begin({ writer }: CopyReader, copy: TableCopy): void {
    const { plan } = this;
    const { lane, progress, parts } = copy;
    const { resumed, rowsBefore } = progress;
    const before = plan.state.mark(lane.label);
    const left = before === undefined ? plan.state.epoch > 1 : true;
    plan.state.setPhase(lane.label, 'snapshot', parts.table.rowsEstimate);
    if (resumed) {
      plan.say(`copying ${lane.label}, from its row ${rowsBefore + 1}`);
      plan.state.countRow(lane.label, rowsBefore);
      // Where nothing was written since, the truncate that may have begun the copy lies at this place.
      copy.seq = progress.isSamePlace ? 1 : 0;
      return;
    }
    plan.say(left ? `copying ${lane.label} once more` : `copying ${lane.label}`);
    if (!left) return;
    writer.truncate(lane, parts.codec);
    copy.seq = 1;
  }

  private afterChunk({ lane, progress }: TableCopy): Promise<void> | null {
    const { plan } = this;
    if (this.committing !== null) return this.committing;
    const late = Date.now() - this.transactionStarted > plan.open.maxTransactionMs * COMMIT_SHARE;
    if (late && !progress.isOrdered) {
      plan.say(`copying ${lane.label}; a restart would begin it once more`);
    }
    if (late || progress.chunkIsFull) return this.commit();
    plan.outbox.seal('unfinished', false);
    plan.wake();
    return plan.outbox.isFull() ? this.drained() : null;
  }

  private async drained(): Promise<void> {
    const { outbox } = this.plan;
    while (outbox.isFull()) await this.plan.taken();
  }

  /** Ends the Kafka transaction with the position, and waits until `next` has handed it over. */
  private async commit(): Promise<void> {
    while (this.committing !== null) await this.committing;
    this.committing = this.commitAll();
    try {
      await this.committing;
    } finally {
      this.committing = null;
    }
  }

  /** What all readers have written by now is sealed, together with how far they are. */
  private async commitAll(): Promise<void> {
    const { plan } = this;
    await this.writeGone();
    for (const copy of this.open) this.setMark(copy);
    const { chunk } = plan;
    plan.outbox.seal({ position: this.position, committedAtMs: 0, chunk }, true);
    const taken = plan.taken();
    plan.wake();
    await taken;
    this.transactionStarted = Date.now();
  }

  /** Of all tables under way. Other readers may write while the server is asked, each once: then they wait
   * for the commit. */
  private async writeGone(): Promise<void> {
    const written = (): string => [...this.open].map(({ progress }) => progress.rowsDone).join();
    for (;;) {
      const before = written();
      const gone: [TableCopy, readonly string[]][] = [];
      for (const copy of this.open) gone.push([copy, await copy.gone(this.ask)]);
      if (before !== written()) continue;
      for (const [copy, keys] of gone) this.writeGoneOf(copy, keys);
      return;
    }
  }

  private writeGoneOf(copy: TableCopy, keys: readonly string[]): void {
    const reader = this.readers[0] as CopyReader;
    try {
      copy.writeGone(reader.writer, keys);
    } catch (error) {
      const failure = toPipelineError(error);
      if (!stopsStreamOnly(failure)) throw failure;
      this.stop(reader, copy.lane, failure);
    }
  }

  private setMark(copy: TableCopy): void {
    const { plan } = this;
    const { lane, progress, parts } = copy;
    if (copy.isWhole) {
      plan.state.setMark(lane.label, { ...this.mark(true), ...parts.mark, ...progress.doneMark() });
      this.open.delete(copy);
    } else if (progress.isOrdered) {
      const chunk = progress.chunkMark();
      if (chunk === null) return;
      plan.state.setMark(lane.label, { ...this.mark(false), ...parts.mark, ...chunk });
    } else plan.state.setMark(lane.label, { ...this.mark(false), partial: true });
  }
}
