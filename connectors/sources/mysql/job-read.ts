import type { Connection } from 'mysql2';
import { PipelineError } from '../../../core/errors/pipeline-error.ts';
import { CHUNK_ROWS, readInChunks } from '../../capture/chunked-read.ts';
import { columnMissing } from '../../capture/cursor-columns.ts';
import { JobReader, type JobSource, type ReadProgress } from '../../capture/job-reader.ts';
import { shapeDigest, type ReadShape, type StreamReading } from '../../capture/stream-reading.ts';
import type { SourceReader, SourceReadOptions } from '../../spi/source.ts';
import { streamGone, tablesNamed, type TableFacts } from './catalog.ts';
import type { CellPlan } from './column-types.ts';
import { parseConfig, type MysqlSourceConfig } from './config.ts';
import { seenLimit, TableCursor, type Ask, type CursorPlace } from './cursor.ts';
import { classify } from './errors.ts';
import { KeyOrder } from './key-chunks.ts';
import { RowQuery, type RowHandler } from './row-query.ts';
import { fingerprint, SeenRows } from './seen-rows.ts';
import { connect, outlastStalls, query, SideSession } from './session.ts';
import { compileTextShape } from './shapes.ts';
import { forgetNoDays, fromTable, printedColumns } from './text-rows.ts';

/** Reads tables for a job, each in one transaction that sees one state of it. */
export async function openJobReader(options: SourceReadOptions): Promise<SourceReader> {
  const config = parseConfig(options.config);
  const origin = { connector: 'mysql', database: config.database };
  return new JobReader(options, origin, new MysqlJobSource(config, options));
}

type Reading = StreamReading<CursorPlace>;

/** A table in the transaction that its rows are read in. */
interface OpenTable {
  readonly connection: Connection;
  readonly ask: Ask;
  readonly table: TableFacts;
  readonly plans: readonly CellPlan[];
  /** Null where there is no order to go on in. */
  readonly order: KeyOrder | null;
  readonly shape: ReadShape;
}

/** What an incremental read notes of its rows. */
interface Noted {
  /** SQL: whether the next read looks at the row again. */
  readonly again: string;
  readonly next: SeenRows;
  /** Of the read before; null for a first one, whose rows are all new. */
  readonly met: SeenRows | null;
}

class MysqlJobSource implements JobSource<CursorPlace> {
  private readonly config: MysqlSourceConfig;
  private readonly options: SourceReadOptions;
  private running: Connection | null = null;
  private closed = false;

  constructor(config: MysqlSourceConfig, options: SourceReadOptions) {
    this.config = config;
    this.options = options;
  }

  async read(reading: Reading, told: ReadProgress): Promise<void> {
    const connection = await connect(this.config);
    this.running = connection;
    try {
      if (this.closed) throw new PipelineError('SRC_CONNECTION_LOST', 'the read was ended');
      const open = await this.openTable(connection, reading, told);
      told.estimate(open.table.rowsEstimate);
      told.say(`reading ${reading.lane.label}`);
      if (reading.options.syncMode === 'full_refresh') await this.refresh(open, reading);
      else await this.readNew(open, reading);
    } catch (error) {
      throw classify(error, `reading ${reading.lane.label}`);
    } finally {
      this.running = null;
      connection.destroy();
    }
  }

  async close(): Promise<void> {
    this.closed = true;
    const { running } = this;
    if (running === null) return;
    running.destroy();
    // A statement that sorts does not notice that nobody listens.
    const sql = new SideSession(this.config);
    await sql.query(`KILL ${running.threadId}`).catch(() => {});
    await sql.close();
  }

  /** The first statement on the table holds its shape still, and only then is it looked at. */
  private async openTable(
    connection: Connection,
    { lane, options }: Reading,
    told: ReadProgress,
  ): Promise<OpenTable> {
    const ask: Ask = (sql) => query(connection, sql);
    await outlastStalls(connection);
    await ask('SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ');
    await ask('START TRANSACTION READ ONLY');
    told.say(`waiting for a lock on ${lane.label}`);
    await ask(`SELECT 1 FROM ${fromTable(lane)} LIMIT 0`);
    const found = (await tablesNamed({ query: ask }, [lane.stream])).get(lane.label);
    if (found === undefined) throw streamGone(lane.label);
    const key = options.key.length > 0 ? options.key : found.key;
    const missing = key.find((name) => found.columns.every((column) => column.name !== name));
    if (missing !== undefined) throw columnMissing(lane.label, missing);
    const keyed = { ...found, key };
    const { codec, plans } = await compileTextShape(keyed, this.options.registerSchema);
    const digest = shapeDigest(found.columns, key, found.key, found.keyParts);
    // The log's place may not be asked for; later readings have a higher epoch, this one rises.
    const shape = { codec, lsn: BigInt(Date.now()), digest };
    return { connection, ask, table: found, plans, order: KeyOrder.of(found), shape };
  }

  private async refresh(open: OpenTable, reading: Reading): Promise<void> {
    const resumed = reading.begin(open.shape, { anew: true });
    await this.readTable(open, reading, resumed?.after ?? null);
    await reading.end();
  }

  private async readNew(open: OpenTable, reading: Reading): Promise<void> {
    const { lane, options, before, isAnew } = reading;
    const cursor = new TableCursor(open.table, options.cursor ?? '', lane.label);
    const stored = isAnew ? undefined : before.cursor;
    const place = stored?.column === cursor.column ? stored : undefined;
    const resumed = reading.begin(open.shape, { anew: place === undefined });
    const limit = seenLimit(this.options.streams.length);
    const overlap = { seconds: this.config.cursorOverlapSeconds, rows: Math.floor(limit / 2) };
    if (place !== undefined) {
      const floor = await cursor.nextFloor(open.ask, place.floor, overlap);
      const next = new SeenRows(limit);
      const met = new SeenRows(limit, place.seen);
      const where = cursor.from(place.floor);
      await this.readWhere(open, reading, where, { again: cursor.from(floor), next, met });
      return reading.end({ column: cursor.column, floor, seen: next.toText() });
    }
    // What comes after an interruption is read in a later transaction; the next read looks from where
    // the first one would have had it look.
    const first = resumed?.cursor;
    const floor =
      first === undefined ? await cursor.nextFloor(open.ask, null, overlap) : first.floor;
    const next = new SeenRows(limit, first?.seen);
    const placeNow = (): CursorPlace => ({ column: cursor.column, floor, seen: next.toText() });
    const noted = { again: cursor.from(floor), next, met: null, placeNow };
    await this.readTable(open, reading, resumed?.after ?? null, noted);
    await reading.end(placeNow());
  }

  /** The whole table, in the order of its key where it has one to go on in. */
  private async readTable(
    open: OpenTable,
    reading: Reading,
    resumeAfter: readonly string[] | null,
    noted?: Noted & { placeNow(): CursorPlace },
  ): Promise<void> {
    const { order, connection } = open;
    if (order === null) return this.readWhere(open, reading, '1', noted);
    const more = noted === undefined ? [] : [noted.again];
    const cells = order.cells.length + more.length;
    const rows = new RowQuery(connection);
    await readInChunks(
      resumeAfter,
      (after, count) => {
        const sql = order.select({ after, limit: CHUNK_ROWS }, more);
        const met = (bytes: Buffer, spans: Int32Array): void =>
          count(() => order.keyOf(bytes, spans));
        return rows.run(sql, cells, handlerOf(open, reading, noted, met));
      },
      (last) => reading.afterChunk(last, noted?.placeNow()),
    );
  }

  /** In one statement, which leaves no place to go on at. */
  private readWhere(
    open: OpenTable,
    reading: Reading,
    where: string,
    noted?: Noted,
  ): Promise<void> {
    const { table, connection } = open;
    const cells = printedColumns(table);
    if (noted !== undefined) cells.push(noted.again);
    const sql = `SELECT ${cells.join(', ')} FROM ${fromTable(table)} WHERE ${where}`;
    return new RowQuery(connection).run(sql, cells.length, handlerOf(open, reading, noted));
  }
}

function handlerOf(
  { table, plans }: OpenTable,
  reading: Reading,
  noted?: Noted,
  placed?: (bytes: Buffer, spans: Int32Array) => void,
): RowHandler {
  const columns = table.columns.length;
  return {
    row: (bytes, spans, length, start) => {
      placed?.(bytes, spans);
      if (noted !== undefined && isMet(noted, bytes, spans, start, columns)) return;
      forgetNoDays(plans, bytes, spans);
      reading.row(bytes, spans, length);
    },
    chunkDone: () => reading.afterPiece(placed !== undefined),
  };
}

/** Notes a row whose last cell says that the next read meets it again; tells whether the one before did. */
function isMet(
  { met, next }: Noted,
  bytes: Buffer,
  spans: Int32Array,
  start: number,
  columns: number,
): boolean {
  const isAgain = bytes[spans.at(-2) as number] === 0x31;
  if (!isAgain && met === null) return false;
  const print = fingerprint(bytes.subarray(start, spans[columns * 2 - 1]));
  if (isAgain) next.add(print);
  return met !== null && met.take(print);
}
