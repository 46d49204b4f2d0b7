import type pg from 'pg';
import { PipelineError, toPipelineError } from '../../../core/errors/pipeline-error.ts';
import { OP_READ } from '../../../schemas/envelope/change-decoder.ts';
import { streamLabel } from '../../../schemas/catalog/stream-id.ts';
import type { SourceOpenOptions } from '../../spi/source.ts';
import type { CaptureState, Mark } from './capture-state.ts';
import { streamGone, tablesNamed, type TableFacts } from './catalog.ts';
import type { TypeRegistry } from './column-types.ts';
import type { PostgresSourceConfig } from './config.ts';
import { classify } from './errors.ts';
import { stopsStreamOnly, type EventWriter, type StreamLane } from '../../capture/event-writer.ts';
import type { Outbox } from '../../capture/outbox.ts';
import { lsnText, type ChunkMark, type StreamMark } from './position.ts';
import type { PublishedTable } from './publication.ts';
import { compileShape, initialsOf, nativeOf } from './relations.ts';
import type { RowCodec } from '../../capture/row-codec.ts';
import { connect, quoteIdentifier, quoteLiteral, socketOf, type SideSession } from './session.ts';
import { copiedShape, type KnownShape } from './shape-change.ts';
import type { ExportedSnapshot } from './slot.ts';
import { copyRows, fromTable } from './table-copy.ts';
import { readShapes } from './table-shape.ts';

const READERS = 2;
/** A table is read in pieces of this many blocks, so that several readers share it. */
const PIECE_BLOCKS = 16_384;
/** Share of the longest Kafka transaction after which an unfinished copy commits in between. */
const COMMIT_SHARE = 0.6;

export interface SnapshotPlan {
  readonly config: PostgresSourceConfig;
  readonly open: SourceOpenOptions;
  readonly sql: SideSession;
  readonly types: TypeRegistry;
  readonly state: CaptureState;
  readonly outbox: Outbox<Mark>;
  readonly writer: EventWriter;
  readonly exported: ExportedSnapshot;
  /** The stream's position, which the copies do not move. */
  readonly position: bigint;
  /** Of a transaction that was cut before the restart and comes again after the copies. */
  readonly chunk: ChunkMark | null;
  /** The tables as they were before the snapshot was taken. */
  readonly tables: ReadonlyMap<string, TableFacts>;
  readonly published: ReadonlyMap<string, PublishedTable>;
  readonly frameLimit: number;
  /** Tells `next` that something may be ready. */
  readonly wake: () => void;
  /** Resolves at the next `take`. */
  readonly taken: () => Promise<void>;
  readonly say: (text: string | undefined) => void;
}

/**
 * Copies tables as they were at the slot's start. The rows of a table are one Kafka transaction, which
 * its last batch commits, so that a crash leaves nothing of it; only when that would last too long is
 * it committed in between, and then a later attempt begins by truncating.
 */
export class Snapshot {
  private readonly plan: SnapshotPlan;
  private readers: pg.Client[] = [];
  private transactionStarted = 0;
  /** A position was sealed and not taken yet: nothing may be sealed over it. */
  private committing: Promise<void> | null = null;

  constructor(plan: SnapshotPlan) {
    this.plan = plan;
  }

  async run(lanes: readonly StreamLane[]): Promise<void> {
    const { plan } = this;
    try {
      for (let i = 0; i < READERS; i++) {
        this.readers.push(await connect(plan.config, { purpose: 'snapshot' }));
      }
      await this.importSnapshot();
      plan.writer.beginTransaction(plan.exported.consistentPoint, 0, Date.now() * 1000, true);
      for (const lane of lanes) await this.copyOrStop(lane);
    } finally {
      plan.say(undefined);
      for (const reader of this.readers) void reader.end().catch(() => {});
      this.readers = [];
    }
  }

  /** Gives up; what was not committed is never seen. */
  cancel(): void {
    for (const reader of this.readers) socketOf(reader).destroy();
  }

  private async importSnapshot(): Promise<void> {
    const { snapshot } = this.plan.exported;
    try {
      for (const reader of this.readers) {
        await reader.query('ROLLBACK');
        // PostgreSQL 17 can end a transaction for its age alone; older ones do not know the setting.
        await reader.query(
          `SELECT set_config(name, '0', false) FROM pg_settings WHERE name = 'transaction_timeout'`,
        );
        await reader.query('BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY');
        await reader.query(`SET TRANSACTION SNAPSHOT ${quoteLiteral(snapshot)}`);
      }
    } catch (error) {
      throw classify(error, 'taking over the exported snapshot');
    }
  }

  private async copyOrStop(lane: StreamLane): Promise<void> {
    const { plan } = this;
    try {
      await this.copyTable(lane);
    } catch (error) {
      const failure = toPipelineError(error);
      if (!stopsStreamOnly(failure) && failure.code !== 'SRC_PRIVILEGE') throw failure;
      plan.writer.rollback();
      plan.state.setMark(lane.label, { ...this.markOf(false), partial: true });
      plan.state.stop(lane.label, failure, lsnText(plan.position));
      await this.commit();
      await this.importSnapshot();
    }
  }

  private markOf(done: boolean, table?: TableFacts, shape?: KnownShape): StreamMark {
    const label = table === undefined ? '' : streamLabel(table.stream);
    const published = this.plan.published.get(label)?.entries ?? [];
    const from = lsnText(this.plan.exported.consistentPoint);
    return table === undefined
      ? { from, done }
      : {
          from,
          done,
          key: table.key,
          oid: table.oid,
          published,
          ...(shape === undefined ? {} : { shape }),
        };
  }

  private async copyTable(lane: StreamLane): Promise<void> {
    const { plan } = this;
    const table = await this.lockTable(lane);
    const { columns, key } = table;
    const resolved = await plan.types.resolve(columns);
    const shape = await this.shapeOf(lane, table, resolved.map(nativeOf));
    const codec = await compileShape(
      { stream: lane.stream, key, columns, resolved, initials: initialsOf(shape) },
      plan.open.registerSchema,
    );
    plan.state.setPhase(lane.label, 'snapshot', table.rowsEstimate);
    const before = plan.state.mark(lane.label);
    const again = before?.partial === true || (before === undefined && plan.state.epoch > 1);
    plan.say(
      again ? `copying ${lane.label} from its beginning once more` : `copying ${lane.label}`,
    );
    if (again) plan.writer.truncate(lane, codec);
    this.transactionStarted = Date.now();
    await this.copyPieces(lane, codec, table);
    plan.state.setMark(lane.label, this.markOf(true, table, shape));
    plan.state.setPhase(lane.label, 'streaming');
    await this.commit();
  }

  /** Events of the time between the snapshot's point and the lock may lack a column that was added. */
  private async shapeOf(
    lane: StreamLane,
    table: TableFacts,
    natives: readonly string[],
  ): Promise<KnownShape> {
    const shape = (await readShapes(this.plan.sql, [table.oid])).get(table.oid);
    if (shape === undefined) throw streamGone(lane.label);
    const before = this.plan.tables.get(lane.label)?.columns ?? [];
    const names = new Set(before.map(({ name }) => name));
    return copiedShape(shape, natives, (name) => !names.has(name));
  }

  /** Holds the table's shape still while it is copied. A rewrite since the snapshot was taken makes an
   * older snapshot see an empty table, so the copy starts anew under a newer one. */
  private async lockTable(lane: StreamLane): Promise<TableFacts> {
    const { plan } = this;
    const { namespace, name } = lane.stream;
    plan.say(`waiting for a lock on ${lane.label}`);
    try {
      await this.reader(0).query(
        `LOCK TABLE ${quoteIdentifier(namespace)}.${quoteIdentifier(name)} IN ACCESS SHARE MODE`,
      );
    } catch (error) {
      throw classify(error, `reading ${lane.label}`);
    }
    const table = (await tablesNamed(plan.sql, [lane.stream])).get(lane.label);
    if (table === undefined) throw streamGone(lane.label);
    if (table.files !== plan.tables.get(lane.label)?.files) {
      throw new PipelineError(
        'SRC_CONNECTION_LOST',
        `table ${lane.label} was rewritten while its snapshot was prepared; it is taken again`,
      );
    }
    return table;
  }

  private reader(index: number): pg.Client {
    return this.readers[index] as pg.Client;
  }

  private async copyPieces(lane: StreamLane, codec: RowCodec, table: TableFacts): Promise<void> {
    const pieces = piecesOf(table);
    const work = async (reader: pg.Client): Promise<void> => {
      for (let piece = pieces.shift(); piece !== undefined; piece = pieces.shift()) {
        try {
          await this.copyPiece(reader, lane, codec, piece);
        } catch (error) {
          pieces.length = 0;
          throw error;
        }
      }
    };
    const results = await Promise.allSettled(this.readers.map(work));
    for (const result of results) if (result.status === 'rejected') throw result.reason;
  }

  private copyPiece(
    reader: pg.Client,
    lane: StreamLane,
    codec: RowCodec,
    statement: string,
  ): Promise<void> {
    const { plan } = this;
    let rows = 0;
    return copyRows(reader, statement, {
      label: lane.label,
      cells: codec.columns,
      frameLimit: plan.frameLimit,
      maxRecordBytes: plan.open.maxRecordBytes,
      sql: plan.sql,
      row: (bytes, spans, length) => {
        plan.writer.change(lane, codec, OP_READ, bytes, null, spans, 0, length);
        plan.writer.settle();
        rows++;
      },
      chunkDone: () => {
        plan.state.countRow(lane.label, rows);
        rows = 0;
        plan.writer.tick();
        return this.afterChunk(lane);
      },
    });
  }

  private afterChunk(lane: StreamLane): Promise<void> | null {
    const { plan } = this;
    if (this.committing !== null) return this.committing;
    if (Date.now() - this.transactionStarted > plan.open.maxTransactionMs * COMMIT_SHARE) {
      plan.state.setMark(lane.label, { ...this.markOf(false), partial: true });
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
    plan.outbox.seal({ position: plan.position, committedAtMs: 0, chunk: plan.chunk }, true);
    this.committing = plan.taken();
    plan.wake();
    await this.committing;
    this.committing = null;
    this.transactionStarted = Date.now();
  }
}

/** COPY statements that together read the table once. Ranges of row ids need no key and no sort. */
export function piecesOf(table: TableFacts): string[] {
  const from = fromTable(table);
  const columns = table.columns.map((column) => quoteIdentifier(column.name)).join(', ');
  const copy = (where: string): string => `COPY (SELECT ${columns} FROM ${from}${where}) TO STDOUT`;
  const count = Math.max(1, Math.ceil(table.blocks / PIECE_BLOCKS));
  if (table.partitioned || count === 1) return [copy('')];
  return Array.from({ length: count }, (_, index) => {
    const start = index * PIECE_BLOCKS;
    const low = `ctid >= '(${start},0)'`;
    const high = index === count - 1 ? '' : ` AND ctid < '(${start + PIECE_BLOCKS},0)'`;
    return copy(` WHERE ${low}${high}`);
  });
}
