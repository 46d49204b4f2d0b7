import type pg from 'pg';
import { PipelineError } from '../../../core/errors/pipeline-error.ts';
import { CHUNK_ROWS, readInChunks } from '../../capture/chunked-read.ts';
import { columnMissing, columnUnusable } from '../../capture/cursor-columns.ts';
import { JobReader, type JobSource, type ReadProgress } from '../../capture/job-reader.ts';
import { shapeDigest, type ReadShape, type StreamReading } from '../../capture/stream-reading.ts';
import type { SourceReader, SourceReadOptions } from '../../spi/source.ts';
import { streamGone, tablesNamed, type TableFacts } from './catalog.ts';
import { TypeRegistry, type EncodedType } from './column-types.ts';
import { parseConfig, type PostgresSourceConfig } from './config.ts';
import {
  cursorKind,
  fullXid,
  highestValueSql,
  newRowsCondition,
  nextPlace,
  SeenTransactions,
  type CursorPlace,
  type SnapshotFacts,
} from './cursor.ts';
import { classify } from './errors.ts';
import { lsnOfServer } from './position.ts';
import { compileShape } from './relations.ts';
import {
  connect,
  quoteIdentifier,
  quoteLiteral,
  SideSession,
  socketOf,
  TEXT_TYPES,
  type Row,
} from './session.ts';
import { cancelStatement, copyRows, frameLimitFor, fromTable } from './table-copy.ts';
import { orderOf } from './table-order.ts';

/** Reads tables by COPY for a job, each under one snapshot of its own. */
export async function openJobReader(options: SourceReadOptions): Promise<SourceReader> {
  const config = parseConfig(options.config);
  const origin = { connector: 'postgres', database: config.database };
  return new JobReader(options, origin, new PostgresJobSource(config, options));
}

type Reading = StreamReading<CursorPlace>;

/** A table under the snapshot that its rows are read in. */
interface OpenTable {
  readonly client: pg.Client;
  readonly table: TableFacts;
  readonly resolved: readonly EncodedType[];
  readonly order: readonly string[];
  readonly facts: SnapshotFacts;
  readonly shape: ReadShape;
}

interface CopyStatement {
  readonly text: string;
  readonly cells: number;
}

class PostgresJobSource implements JobSource<CursorPlace> {
  private readonly config: PostgresSourceConfig;
  private readonly options: SourceReadOptions;
  private readonly sql: SideSession;
  private readonly types: TypeRegistry;
  private client: pg.Client | null = null;

  constructor(config: PostgresSourceConfig, options: SourceReadOptions) {
    this.config = config;
    this.options = options;
    this.sql = new SideSession(config, 'side');
    this.types = new TypeRegistry(this.sql);
  }

  async read(reading: Reading, told: ReadProgress): Promise<void> {
    const client = await connect(this.config, { purpose: 'read' });
    this.client = client;
    try {
      const open = await this.openTable(client, reading, told);
      told.estimate(open.table.rowsEstimate);
      told.say(`reading ${reading.lane.label}`);
      if (reading.options.syncMode === 'full_refresh') await this.refresh(open, reading);
      else await this.readNew(open, reading);
    } catch (error) {
      throw classify(error, `reading ${reading.lane.label}`);
    } finally {
      this.client = null;
      void client.end().catch(() => {});
    }
  }

  async close(): Promise<void> {
    const { client, sql } = this;
    if (client !== null) {
      socketOf(client).destroy();
      // A statement that sorts does not notice that nobody listens.
      await cancelStatement(client, sql);
    }
    await sql.close();
  }

  /** Holds the table's shape still, and takes the snapshot only then: rows that a rewrite put there
   * would not be seen by an older one. */
  private async openTable(
    client: pg.Client,
    { lane, options }: Reading,
    told: ReadProgress,
  ): Promise<OpenTable> {
    // PostgreSQL 17 can end a transaction for its age alone; older ones do not know the setting.
    await client.query(
      `SELECT set_config(name, '0', false) FROM pg_settings WHERE name = 'transaction_timeout'`,
    );
    await client.query('BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY');
    const { namespace, name } = lane.stream;
    told.say(`waiting for a lock on ${lane.label}`);
    await client.query(
      `LOCK TABLE ${quoteIdentifier(namespace)}.${quoteIdentifier(name)} IN ACCESS SHARE MODE`,
    );
    // On this very session: another one would queue behind whoever waits for our lock to go.
    const asked: Pick<SideSession, 'query'> = {
      query: (text, values) => query(client, text, values),
    };
    const table = (await tablesNamed(asked, [lane.stream])).get(lane.label);
    if (table === undefined) throw streamGone(lane.label);
    const { facts, lsn } = await snapshotFacts(client);
    const resolved = await this.types.resolve(table.columns);
    const key = options.key.length > 0 ? options.key : table.key;
    for (const column of key) this.columnOf(table, column, lane.label);
    const codec = await compileShape(
      { stream: lane.stream, key, columns: table.columns, resolved, initials: new Map() },
      this.options.registerSchema,
    );
    const order = await orderOf(asked, table);
    const shape = { codec, lsn, digest: shapeDigest(table.columns, key, order) };
    return { client, table, resolved, order, facts, shape };
  }

  private async refresh(open: OpenTable, reading: Reading): Promise<void> {
    const resumed = reading.begin(open.shape, { anew: true });
    await this.copyTable(open, reading, resumed?.after ?? null);
    await reading.end();
  }

  private async readNew(open: OpenTable, reading: Reading): Promise<void> {
    const { table, client, resolved, facts } = open;
    const column = reading.options.cursor ?? '';
    const index = this.columnOf(table, column, reading.lane.label);
    const kind = cursorKind((resolved[index] as EncodedType).type);
    if (kind === null) {
      throw columnUnusable(reading.lane.label, column, 'its type has no order in time');
    }
    const place = reading.isAnew ? undefined : reading.before.cursor;
    const goesOn = place !== undefined && place.column === column;
    if (goesOn && facts.xmax < place.xmin) throw wentBack(reading.lane.label);
    const resumed = reading.begin(open.shape, { anew: !goesOn });
    const sql = highestValueSql(fromTable(table), column, kind, facts);
    const value = ((await query(client, sql))[0]?.['value'] as string | null | undefined) ?? null;
    const seen = new SeenTransactions(facts.xmin);
    if (goesOn) {
      const statement = copyOf(table, true, ` WHERE ${newRowsCondition(place, kind, facts)}`);
      await this.copyNew(open, reading, statement, { seen, read: new Set(place.seen) });
      return reading.end(nextPlace(place, column, facts, value, seen.xids));
    }
    // What comes after an interruption is read under a later snapshot, of which the next read cannot
    // tell what was seen where: it looks from the first one on.
    const first = resumed?.cursor ?? nextPlace(undefined, column, facts, value, []);
    await this.copyTable(open, reading, resumed?.after ?? null, {
      seen: resumed === null ? seen : new SeenTransactions(Infinity),
      place: () => ({ ...first, seen: [...first.seen, ...seen.xids] }),
    });
    await reading.end({ ...first, seen: [...first.seen, ...seen.xids] });
  }

  /** The whole table, in the order of its key where it has one to go on in. */
  private async copyTable(
    open: OpenTable,
    reading: Reading,
    resumeAfter: readonly string[] | null,
    cursor?: { readonly seen: SeenTransactions; place(): CursorPlace },
  ): Promise<void> {
    const { table, order } = open;
    const canResume = order.length > 0;
    const keyCells = order.map((name) => table.columns.findIndex((each) => each.name === name));
    await readInChunks(
      resumeAfter,
      (after, count) => {
        const rest = canResume ? chunkClause(order, after) : '';
        return this.copy(open, reading, copyOf(table, cursor !== undefined, rest), canResume, {
          row: (bytes, spans, length) => {
            if (cursor !== undefined) cursor.seen.add(xidOf(bytes, spans, open));
            reading.row(bytes, spans, length);
            if (canResume) count(() => cellsOf(bytes, spans, keyCells));
          },
        });
      },
      (last) => reading.afterChunk(last, cursor?.place()),
    );
  }

  private copyNew(
    open: OpenTable,
    reading: Reading,
    statement: CopyStatement,
    { seen, read }: { readonly seen: SeenTransactions; readonly read: ReadonlySet<number> },
  ): Promise<void> {
    return this.copy(open, reading, statement, false, {
      row: (bytes, spans, length) => {
        const xid = xidOf(bytes, spans, open);
        seen.add(xid);
        if (!read.has(xid)) reading.row(bytes, spans, length);
      },
    });
  }

  private copy(
    { client }: OpenTable,
    reading: Reading,
    statement: CopyStatement,
    canResume: boolean,
    { row }: { row(bytes: Buffer, spans: Int32Array, length: number): void },
  ): Promise<void> {
    const { maxRecordBytes } = this.options;
    return copyRows(client, statement.text, {
      label: reading.lane.label,
      cells: statement.cells,
      frameLimit: frameLimitFor(maxRecordBytes),
      maxRecordBytes,
      sql: this.sql,
      row,
      chunkDone: () => reading.afterPiece(canResume),
    });
  }

  private columnOf(table: TableFacts, column: string, label: string): number {
    const index = table.columns.findIndex(({ name }) => name === column);
    if (index === -1) throw columnMissing(label, column);
    return index;
  }
}

/** What the read will see. Taking it begins the snapshot. */
async function snapshotFacts(client: pg.Client): Promise<{ facts: SnapshotFacts; lsn: bigint }> {
  const [row] = await query(
    client,
    `SELECT txid_snapshot_xmin(s) AS xmin, txid_snapshot_xmax(s) AS xmax,
       current_setting('server_version_num') AS version,
       coalesce(CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn()
         ELSE pg_current_wal_lsn() END, '0/0') AS lsn
     FROM txid_current_snapshot() AS s`,
  );
  const facts = {
    xmin: Number(row?.['xmin']),
    xmax: Number(row?.['xmax']),
    at: Date.now(),
    serverVersion: Number(row?.['version']),
  };
  return { facts, lsn: lsnOfServer(String(row?.['lsn'])) };
}

async function query(
  client: pg.Client,
  text: string,
  values: readonly unknown[] = [],
): Promise<Row[]> {
  return (await client.query<Row>({ text, values: [...values], types: TEXT_TYPES })).rows;
}

/** With `withXid`, a row's last cell is the transaction that wrote it. */
function copyOf(table: TableFacts, withXid: boolean, rest: string): CopyStatement {
  const columns = table.columns.map(({ name }) => quoteIdentifier(name));
  const cells = withXid ? [...columns, 'xmin'] : columns;
  const text = `COPY (SELECT ${cells.join(', ')} FROM ${fromTable(table)}${rest}) TO STDOUT`;
  return { text, cells: cells.length };
}

function chunkClause(order: readonly string[], after: readonly string[] | null): string {
  const names = order.map(quoteIdentifier).join(', ');
  const where = after === null ? '' : ` WHERE (${names}) > (${after.map(quoteLiteral).join(', ')})`;
  return `${where} ORDER BY ${names} LIMIT ${CHUNK_ROWS}`;
}

function cellsOf(bytes: Buffer, spans: Int32Array, cells: readonly number[]): string[] {
  return cells.map((cell) => bytes.toString('utf8', spans[cell * 2], spans[cell * 2 + 1]));
}

function xidOf(bytes: Buffer, spans: Int32Array, { table, facts }: OpenTable): number {
  const at = table.columns.length * 2;
  let xid = 0;
  for (let i = spans[at] as number; i < (spans[at + 1] as number); i++) {
    xid = xid * 10 + (bytes[i] as number) - 0x30;
  }
  return fullXid(xid, facts);
}

function wentBack(label: string): PipelineError {
  return new PipelineError(
    'SRC_IDENTITY_CHANGED',
    `table ${label}: the server's transaction ids lie before those of the last read: it is another one, or was restored`,
    { details: { stream: label } },
  );
}
