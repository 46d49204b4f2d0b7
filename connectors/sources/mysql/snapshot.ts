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
import { CopyProgress } from './copy-progress.ts';
import { logIncomplete } from './errors.ts';
import {
  placeText,
  type CaptureState,
  type ChunkMark,
  type Mark,
  type StreamMark,
} from './position.ts';
import { RowQuery } from './row-query.ts';
import { shapeOfTable } from './schema-history.ts';
import { quoteIdentifier, type SideSession } from './session.ts';
import { compileTextShape } from './shapes.ts';
import { forgetNoDays } from './text-rows.ts';
import { KeyText, type RowImage, type RowsBefore } from './touched-rows.ts';

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

/** The copy of one table under way. */
interface Copy {
  readonly codec: RowCodec;
  readonly plans: readonly CellPlan[];
  readonly progress: CopyProgress;
  /** Rows as they were before the view's start, of those that it may show later and that were not met. */
  readonly before: RowsBefore;
  /** What is stored of the table besides. */
  readonly mark: Pick<StreamMark, 'key' | 'ids' | 'shapes'>;
}

/**
 * Copies tables as one consistent view shows them, in the order of their keys: what is committed stays,
 * and a later view goes on behind it. The rows of a table without such an order are one Kafka
 * transaction, of which a crash leaves nothing; only when that would last too long is it committed in
 * between, and then a later attempt begins by truncating.
 */
export class Snapshot {
  private readonly plan: SnapshotPlan;
  private readonly keyText = new KeyText();
  private reader: RowQuery | null = null;
  private view: ConsistentView | null = null;
  /** The tables before the view was started. */
  private tables: ReadonlyMap<string, TableFacts> = new Map();
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
      const streams = lanes.map((lane) => lane.stream);
      this.tables = await tablesNamed(plan.sql, streams);
      const view = await consistentView({
        ...plan,
        streams,
        cancelled: () => this.cancelled,
      });
      this.view = view;
      viewed(view);
      this.position = plan.position ?? view.place;
      this.reader = new RowQuery(view.connection);
      if (this.cancelled) this.reader.destroy();
      // The next transaction begins at the view's place itself: its changes must be newer than the copy.
      plan.writer.beginTransaction(view.place - 1n, 0, Date.now() * 1000, true);
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
    const progress = new CopyProgress(table, codec, ids, plan.state.mark(lane.label));
    this.begin(lane, codec, progress);
    const mark = {
      key: table.key,
      ids,
      ...this.shapesOf(lane, table, progress),
    };
    const before = new Map((this.view as ConsistentView).touched.get(lane.label));
    await this.copyRows(lane, { codec, plans, progress, mark, before });
    await this.refuseChanged(lane, table);
    if (this.committing !== null) await this.committing;
    plan.state.setMark(lane.label, {
      ...this.mark(true),
      ...mark,
      ...progress.doneMark(),
    });
    plan.state.setPhase(lane.label, 'streaming');
    await this.commit();
  }

  /** What the log will not say of the table, from the view's place on. */
  private shapesOf(
    lane: StreamLane,
    table: TableFacts,
    { resumed }: CopyProgress,
  ): Pick<StreamMark, 'shapes'> {
    const { plan, view } = this;
    if (plan.namesColumns) return {};
    const known = resumed ? plan.state.mark(lane.label)?.shapes : undefined;
    if (known !== undefined) return { shapes: known };
    return {
      shapes: [shapeOfTable(table, placeText((view as ConsistentView).place))],
    };
  }

  /** Since its first row was read the view keeps the table from being changed: as it is now, it was then.
   * As it was before the view, it was at the view's place. */
  private async refuseChanged(lane: StreamLane, table: TableFacts): Promise<void> {
    if (this.plan.namesColumns) return;
    const shape = (facts: TableFacts | undefined): string =>
      JSON.stringify([facts?.columns, facts?.key]);
    const after = (await tablesNamed(this.plan.sql, [lane.stream])).get(lane.label);
    const before = this.tables.get(lane.label);
    if (shape(before) === shape(table) && shape(after) === shape(table)) return;
    throw new PipelineError(
      'SRC_CONNECTION_LOST',
      `table ${lane.label} was changed while its copy began; it is copied again`,
    );
  }

  /** What an earlier copy left is emptied first, unless this one goes on from it. */
  private begin(lane: StreamLane, codec: RowCodec, progress: CopyProgress): void {
    const { plan } = this;
    const { resumed, rowsBefore } = progress;
    const before = plan.state.mark(lane.label);
    const left = before === undefined ? plan.state.epoch > 1 : true;
    this.transactionStarted = Date.now();
    if (resumed) {
      plan.say(`copying ${lane.label}, from its row ${rowsBefore + 1}`);
      plan.state.countRow(lane.label, rowsBefore);
      // Where nothing was written since, the truncate that may have begun the copy lies at this place.
      plan.writer.seq = progress.isSamePlace((this.view as ConsistentView).place) ? 1 : 0;
      return;
    }
    plan.say(left ? `copying ${lane.label} once more` : `copying ${lane.label}`);
    if (left) plan.writer.truncate(lane, codec);
  }

  private async copyRows(lane: StreamLane, copy: Copy): Promise<void> {
    const { plan } = this;
    const { codec, plans, progress, before } = copy;
    let rows = 0;
    await (this.reader as RowQuery).run(progress.select, progress.cells, {
      row: (bytes, spans, length) => {
        forgetNoDays(plans, bytes, spans);
        rows++;
        progress.wrote(bytes, spans, length);
        if (before.size > 0 && this.writeBefore(lane, before, codec, bytes, spans, length)) return;
        plan.writer.change(lane, codec, OP_READ, bytes, null, spans, 0, length);
        plan.writer.settle();
      },
      chunkDone: () => {
        plan.state.countRow(lane.label, rows);
        rows = 0;
        plan.writer.tick();
        return this.afterChunk(lane, copy);
      },
    });
    this.writeGone(lane, copy, () => true);
  }

  /** Rows that the view does not show, for they were removed while it was started, belong to the copy
   * all the same: the log tells that they are gone. */
  private writeGone(
    lane: StreamLane,
    { before, progress }: Copy,
    isPassed: (key: string) => boolean,
  ): void {
    for (const [key, image] of before) {
      if (!isPassed(key)) continue;
      before.delete(key);
      if (!progress.isEarlier(key)) this.writeImage(lane, image);
    }
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

  private afterChunk(lane: StreamLane, copy: Copy): Promise<void> | null {
    const { plan } = this;
    const { progress, mark } = copy;
    if (this.committing !== null) return this.committing;
    const late = Date.now() - this.transactionStarted > plan.open.maxTransactionMs * COMMIT_SHARE;
    if (progress.chunkIsFull || (late && progress.canResume)) {
      const { place } = this.view as ConsistentView;
      this.writeGone(lane, copy, (key) => progress.isPassed(key));
      plan.state.setMark(lane.label, {
        ...this.mark(false),
        ...mark,
        ...progress.chunkMark(place),
      });
      return this.commit();
    }
    if (late) {
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
