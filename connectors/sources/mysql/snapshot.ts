import { PipelineError, toPipelineError } from '../../../core/errors/pipeline-error.ts';
import { OP_READ } from '../../../schemas/envelope/change-decoder.ts';
import { stopsStreamOnly, type EventWriter, type StreamLane } from '../../capture/event-writer.ts';
import type { Outbox } from '../../capture/outbox.ts';
import type { RowCodec } from '../../capture/row-codec.ts';
import type { SourceOpenOptions } from '../../spi/source.ts';
import { isTransactional, streamGone, tablesNamed, type TableFacts } from './catalog.ts';
import type { CellPlan } from './column-types.ts';
import type { MysqlSourceConfig } from './config.ts';
import { consistentView, type ConsistentView, type ViewRequest } from './consistent-view.ts';
import { logIncomplete } from './errors.ts';
import {
  placeText,
  type CaptureState,
  type ChunkMark,
  type Mark,
  type StreamMark,
} from './position.ts';
import { RowQuery } from './row-query.ts';
import { quoteIdentifier, type SideSession } from './session.ts';
import { compileTextShape } from './shapes.ts';
import { forgetNoDays, fromTable, printedColumns } from './text-rows.ts';
import { KeyText, type RowImage, type RowsBefore } from './touched-rows.ts';

/** Share of the longest Kafka transaction after which an unfinished copy commits in between. */
const COMMIT_SHARE = 0.6;

export interface SnapshotPlan {
  readonly config: MysqlSourceConfig;
  readonly mariadb: boolean;
  /** Whether every transaction of the server has an id (gtid_mode = ON). */
  readonly gtids: boolean;
  readonly readWindow: ViewRequest['readWindow'];
  readonly open: SourceOpenOptions;
  readonly sql: SideSession;
  readonly state: CaptureState;
  readonly outbox: Outbox<Mark>;
  readonly writer: EventWriter;
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
 * Copies tables as one consistent view shows them. The rows of a table are one Kafka transaction, which
 * its last batch commits, so that a crash leaves nothing of it; only when that would last too long is
 * it committed in between, and then a later attempt begins by truncating.
 */
export class Snapshot {
  private readonly plan: SnapshotPlan;
  private readonly keyText = new KeyText();
  private reader: RowQuery | null = null;
  private view: ConsistentView | null = null;
  private position = 0n;
  private transactionStarted = 0;
  private cancelled = false;
  /** A position was sealed and not taken yet: nothing may be sealed over it. */
  private committing: Promise<void> | null = null;

  constructor(plan: SnapshotPlan) {
    this.plan = plan;
  }

  /** Copies the streams; answers with where the view lies. `viewed` is called before any row. */
  async run(
    lanes: readonly StreamLane[],
    viewed: (view: ConsistentView) => void,
  ): Promise<ConsistentView> {
    const { plan } = this;
    try {
      plan.say('waiting for a consistent view');
      const view = await consistentView({
        ...plan,
        streams: lanes.map((lane) => lane.stream),
        cancelled: () => this.cancelled,
      });
      this.view = view;
      viewed(view);
      this.position = plan.position ?? view.place;
      this.reader = new RowQuery(view.connection);
      if (this.cancelled) this.reader.destroy();
      plan.writer.beginTransaction(view.place, 0, Date.now() * 1000, true);
      for (const lane of lanes) {
        this.refuseBrokenSession();
        await this.copyOrStop(lane);
      }
      return view;
    } finally {
      plan.say(undefined);
      this.reader?.destroy();
    }
  }

  /** A row that could not be read took the session along: the other tables need a view of their own. */
  private refuseBrokenSession(): void {
    if (this.reader?.usable === true) return;
    throw new PipelineError('SRC_CONNECTION_LOST', 'the other tables are copied in a new session');
  }

  /** Gives up; what was not committed is never seen. */
  cancel(): void {
    this.cancelled = true;
    this.reader?.destroy();
  }

  private async copyOrStop(lane: StreamLane): Promise<void> {
    try {
      await this.copyTable(lane);
    } catch (error) {
      const failure = toPipelineError(error);
      if (!stopsStreamOnly(failure) && failure.code !== 'SRC_PRIVILEGE') throw failure;
      await this.giveUp(lane, failure);
    }
  }

  /** What was written of the table is in the open Kafka transaction, which ends as a partial copy. */
  private async giveUp(lane: StreamLane, failure: PipelineError): Promise<void> {
    const { plan } = this;
    plan.writer.rollback();
    const { from } = this.mark(false);
    plan.state.setMark(lane.label, { from, done: false, partial: true });
    plan.state.stop(lane.label, failure, placeText(this.position));
    await this.commit();
  }

  private mark(done: boolean): StreamMark {
    return { from: placeText((this.view as ConsistentView).place), done };
  }

  private async copyTable(lane: StreamLane): Promise<void> {
    const { plan } = this;
    const table = (await tablesNamed(plan.sql, [lane.stream])).get(lane.label);
    if (table === undefined) throw streamGone(lane.label);
    if (!isTransactional(table)) {
      throw logIncomplete(
        lane.label,
        `engine ${table.engine} has no transactions; run: ALTER TABLE ${quoteIdentifier(lane.stream.namespace)}.${quoteIdentifier(lane.stream.name)} ENGINE = InnoDB`,
      );
    }
    const { codec, ids, plans } = await compileTextShape(table, plan.open.registerSchema);
    plan.state.setPhase(lane.label, 'snapshot', table.rowsEstimate);
    const before = plan.state.mark(lane.label);
    const again = before?.partial === true || (before === undefined && plan.state.epoch > 1);
    plan.say(again ? `copying ${lane.label} once more` : `copying ${lane.label}`);
    if (again) plan.writer.truncate(lane, codec);
    this.transactionStarted = Date.now();
    await this.copyRows(lane, table, codec, plans);
    if (this.committing !== null) await this.committing;
    plan.state.setMark(lane.label, { ...this.mark(true), key: table.key, ids });
    plan.state.setPhase(lane.label, 'streaming');
    await this.commit();
  }

  private async copyRows(
    lane: StreamLane,
    table: TableFacts,
    codec: RowCodec,
    plans: readonly CellPlan[],
  ): Promise<void> {
    const { plan } = this;
    let rows = 0;
    const select = `SELECT ${printedColumns(table).join(', ')} FROM ${fromTable(table)}`;
    const before = new Map(this.view?.touched.get(lane.label));
    await (this.reader as RowQuery).run(select, table.columns.length, {
      row: (bytes, spans, length) => {
        forgetNoDays(plans, bytes, spans);
        rows++;
        if (before.size > 0 && this.writeBefore(lane, before, codec, bytes, spans, length)) return;
        plan.writer.change(lane, codec, OP_READ, bytes, null, spans, 0, length);
        plan.writer.settle();
      },
      chunkDone: () => {
        plan.state.countRow(lane.label, rows);
        rows = 0;
        plan.writer.tick();
        return this.afterChunk(lane);
      },
    });
    for (const image of before.values()) this.writeImage(lane, image);
  }

  /** A row that was changed while the view was started is written as it was before, so that the log's
   * changes follow on it; answers whether this is one. */
  private writeBefore(
    lane: StreamLane,
    before: RowsBefore,
    codec: RowCodec,
    bytes: Buffer,
    spans: Int32Array,
    length: number,
  ): boolean {
    const key = this.keyText.of(codec, bytes, spans, length);
    const image = before.get(key);
    if (image === undefined) return false;
    before.delete(key);
    this.writeImage(lane, image);
    return true;
  }

  private writeImage(lane: StreamLane, image: RowImage | null): void {
    if (image === null) return;
    const { codec, bytes, spans } = image;
    this.plan.writer.change(lane, codec, OP_READ, bytes, null, spans, 0, bytes.length);
    this.plan.writer.settle();
  }

  private afterChunk(lane: StreamLane): Promise<void> | null {
    const { plan } = this;
    if (this.committing !== null) return this.committing;
    if (Date.now() - this.transactionStarted > plan.open.maxTransactionMs * COMMIT_SHARE) {
      plan.state.setMark(lane.label, { ...this.mark(false), partial: true });
      plan.say(`copying ${lane.label}; a restart would begin it once more`);
      return this.commit();
    }
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
    const { plan } = this;
    const { chunk } = plan;
    plan.outbox.seal({ position: this.position, committedAtMs: 0, chunk }, true);
    this.committing = plan.taken();
    plan.wake();
    await this.committing;
    this.committing = null;
    this.transactionStarted = Date.now();
  }
}
