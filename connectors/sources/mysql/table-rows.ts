import { toPipelineError } from '../../../core/errors/pipeline-error.ts';
import type { PipelineError } from '../../../core/errors/pipeline-error.ts';
import { OP_UPDATE } from '../../../schemas/envelope/change-decoder.ts';
import { stopsStreamOnly, type ChangeWriter, type StreamLane } from '../../capture/event-writer.ts';
import type { RowCodec } from '../../capture/row-codec.ts';
import { uncompress } from './binlog-events.ts';
import type { CopiedParts } from './copied-parts.ts';
import { protocolError } from './errors.ts';
import type { Ask } from './key-ranks.ts';
import { RowEvents, type LoggedRows } from './row-events.ts';
import type { RowFormat } from './row-formats.ts';
import { readImages } from './row-images.ts';
import type { KnownTable, Tables } from './tables.ts';
import type { TransactionReplay } from './transaction-replay.ts';
import { uint16At, uint48At } from './wire-integers.ts';

export type AskFirst = (question: (ask: Ask) => Promise<void>) => void;

export interface TableRowsOptions {
  readonly tables: Tables;
  readonly writer: ChangeWriter;
  readonly replay: TransactionReplay;
  /** Makes a new shape of a table ready; the session is held until it is done. */
  readonly compile: (table: KnownTable) => void;
  /** Asks the server something that the events behind must wait for; the session is held until then. */
  readonly ask: AskFirst;
  readonly stop: (lane: StreamLane, error: PipelineError) => void;
}

/** The rows of a transaction that is delivered: what the log says of tables, and of changes in them. */
export class TableRows {
  private readonly options: TableRowsOptions;
  private readonly rows: RowEvents;

  constructor(options: TableRowsOptions) {
    this.options = options;
    this.rows = new RowEvents(options.writer);
  }

  tableMap(bytes: Buffer, body: number, end: number): void {
    const table = this.options.tables.described(bytes, body, end);
    if (table !== null) this.options.compile(table);
  }

  rowEvent(format: RowFormat, bytes: Buffer, body: number, end: number): void {
    const { replay, writer, tables } = this.options;
    const skipped = replay.passesOver(format.op, end - body);
    if (skipped !== null) {
      if (skipped >= 0) writer.seq = skipped;
      return;
    }
    const table = tables.byId(uint48At(bytes, body));
    if (table === undefined) return;
    const { lane } = table;
    if (lane === null || lane.stopped) return;
    const due = tables.due(lane);
    if (due === 'none') return;
    try {
      const parts = due === 'all' ? null : due;
      if (parts !== null && table.codec !== null && parts.asksFor(table.codec)) {
        this.changesOnceAsked(format, table, { lane, parts }, bytes.subarray(body, end));
      } else this.changes(format, table, { lane, parts }, bytes, body, end);
    } catch (error) {
      this.refused(lane, error);
    }
  }

  /** Where only the server knows how keys lie, it is asked about all those of the event first. */
  private changesOnceAsked(
    format: RowFormat,
    table: KnownTable,
    { lane, parts }: { readonly lane: StreamLane; readonly parts: CopiedParts },
    event: Buffer,
  ): void {
    const { writer, ask } = this.options;
    const codec = table.codec as RowCodec;
    const bytes = Buffer.from(event);
    const { seq } = writer;
    const keys: Buffer[] = [];
    const isDue: CopiedParts['isDue'] = (...row) => {
      keys.push(parts.keyOf(...row));
      return false;
    };
    this.changes(format, table, { lane, parts: { isDue } }, bytes, 0, bytes.length);
    writer.seq = seq;
    ask(async (asked) => {
      await parts.learn(codec, asked, keys);
      try {
        this.changes(format, table, { lane, parts }, bytes, 0, bytes.length);
      } catch (error) {
        this.refused(lane, error);
      }
    });
  }

  private changes(
    format: RowFormat,
    { codec, shape }: KnownTable,
    stream: Pick<LoggedRows, 'lane' | 'parts'>,
    bytes: Buffer,
    body: number,
    end: number,
  ): void {
    const { op, extra, compressed, partialJson } = format;
    const { label } = stream.lane;
    if (codec === null || shape === null) throw protocolError(`rows of the unread ${label}`);
    const from = body + 8 + (extra ? uint16At(bytes, body + 8) : 0);
    const images = readImages(bytes, from, shape.columns, op === OP_UPDATE ? 2 : 1, label);
    const logged = { ...stream, codec, shape, op, images, partialJson };
    if (!compressed) return this.rows.rows(logged, bytes, images.rowsAt, end);
    const src = uncompress(bytes, images.rowsAt, end);
    this.rows.rows(logged, src, 0, src.length);
  }

  private refused(lane: StreamLane, error: unknown): void {
    this.options.writer.rollback();
    const failure = toPipelineError(error);
    if (!stopsStreamOnly(failure)) throw failure;
    this.options.stop(lane, failure);
  }
}
