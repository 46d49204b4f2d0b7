import { toPipelineError, type PipelineError } from '../../../core/errors/pipeline-error.ts';
import { MemoryBudget } from '../../../core/run/memory-budget.ts';
import type { StreamId } from '../../../schemas/catalog/stream-id.ts';
import { StreamLane } from '../../capture/event-writer.ts';
import { Outbox } from '../../capture/outbox.ts';
import { BinlogSession, HELD_BY_SCHEMA } from './binlog-session.ts';
import { BinlogStream } from './binlog-stream.ts';
import type { MysqlSourceConfig } from './config.ts';
import { GtidSet } from './gtid-set.ts';
import { CaptureState, fileName, type Mark } from './position.ts';
import type { SchemaHistory } from './schema-history.ts';
import { connect } from './session.ts';
import type { KnownTable } from './tables.ts';
import { TouchedRows } from './touched-rows.ts';
import { TransactionReplay } from './transaction-replay.ts';

export interface LogWindow {
  readonly config: MysqlSourceConfig;
  /** Of the reader; the window's session has a number of its own. */
  readonly sourceId: string;
  readonly streams: readonly StreamId[];
  readonly mariadb: boolean;
  readonly checksums: boolean;
  readonly history: SchemaHistory;
  readonly base: string;
  readonly from: bigint;
  readonly to: bigint;
  /** Makes a table ready as the log describes it. */
  readonly compile: (table: KnownTable) => Promise<void>;
}

export interface WindowContents {
  readonly rows: TouchedRows;
  readonly gtids: GtidSet;
  /** XA transactions that were prepared there and are still open at its end, by their ids: where. */
  readonly prepared: ReadonlyMap<string, string>;
}

const SILENCE_MS = 15_000;

/** Reads what was logged between two places: the rows of these streams as they were before, and
 * which transactions it were. */
export async function readWindow(window: LogWindow): Promise<WindowContents> {
  const rows = new TouchedRows();
  const lanes = window.streams.map(
    (stream) => new StreamLane(stream, 1, { connector: 'mysql', serverName: '', database: '' }),
  );
  const state = new CaptureState({
    epoch: 1,
    server: '',
    base: window.base,
    gtids: new GtidSet(window.mariadb, ''),
    anchor: null,
    elsewhere: null,
    prepared: new Map(),
    lanes,
    marks: {},
  });
  if (window.from < window.to) await new WindowReader(window, state, rows).read();
  if (lanes.some(({ stopped }) => stopped)) rows.doubt('a table is being changed or replaced');
  return { rows, gtids: state.gtids, prepared: state.prepared };
}

class WindowReader {
  private readonly window: LogWindow;
  private readonly stream: BinlogStream;
  private readonly rows: TouchedRows;
  private session: BinlogSession | null = null;
  private errands = 0;
  private ends: (error: PipelineError | null) => void = () => {};

  constructor(window: LogWindow, state: CaptureState, rows: TouchedRows) {
    this.window = window;
    this.rows = rows;
    this.stream = new BinlogStream({
      mariadb: window.mariadb,
      checksums: window.checksums,
      history: window.history,
      position: window.from,
      replay: new TransactionReplay({
        position: window.from,
        anchor: null,
        chunk: null,
        elsewhere: null,
      }),
      state,
      // Rows are remembered by their keys; nothing is written for a topic.
      outbox: new Outbox<Mark>(new MemoryBudget(0).account()),
      writer: rows,
      compile: (table) => this.compile(table),
      ask: () => rows.doubt('a table is being copied'),
      readPrepared: (_, xid) => {
        rows.doubt('an XA transaction is being committed');
        this.stream.preparedIsOver(xid);
      },
    });
  }

  async read(): Promise<void> {
    const { config, base, from, sourceId } = this.window;
    const connection = await connect(config);
    const { stream } = this;
    this.session = new BinlogSession(
      connection,
      {
        event: (bytes, start, end) => {
          if (stream.through < this.window.to) stream.event(bytes, start, end);
        },
        more: () => stream.more(),
        chunkDone: () => {
          if (stream.through >= this.window.to && this.errands === 0) this.ends(null);
        },
        failed: (error) => this.ends(error),
      },
      SILENCE_MS,
    );
    try {
      await new Promise<void>((resolve, reject) => {
        this.ends = (error) => (error === null ? resolve() : reject(error));
        const file = fileName(base, from);
        this.session
          ?.start(`${sourceId}:window`, file, Number(from & 0xffffffffn))
          .catch((error: unknown) => this.ends(toPipelineError(error)));
      });
    } finally {
      this.session.close();
    }
  }

  private compile(table: KnownTable): void {
    this.errands++;
    this.session?.hold(HELD_BY_SCHEMA);
    void this.makeReady(table);
  }

  /** A table that cannot be made ready is told of when it is copied. */
  private async makeReady(table: KnownTable): Promise<void> {
    try {
      await this.window.compile(table);
    } catch (error) {
      this.rows.doubt(toPipelineError(error).message);
      if (table.lane !== null) table.lane.stopped = true;
    }
    this.errands--;
    if (this.errands === 0) this.session?.release(HELD_BY_SCHEMA);
  }
}
