import type { PipelineError } from '../../../core/errors/pipeline-error.ts';
import type { ChangeWriter, StreamLane } from '../../capture/event-writer.ts';
import type { Outbox } from '../../capture/outbox.ts';
import * as binlog from './binlog-events.ts';
import { logIncomplete, protocolError } from './errors.ts';
import { gtidText } from './gtid-set.ts';
import { PayloadEvents } from './payload-events.ts';
import { placeOfText, placeText, type CaptureState, type Mark } from './position.ts';
import { PreparedTransaction } from './prepared-transaction.ts';
import { rowFormatOf, type RowFormat } from './row-formats.ts';
import type { SchemaHistory } from './schema-history.ts';
import { StatementEffects } from './statement-effects.ts';
import { LogPlace } from './log-place.ts';
import { xaDecision } from './statements.ts';
import { TableRows, type AskFirst } from './table-rows.ts';
import { Tables, type KnownTable } from './tables.ts';
import type { TransactionReplay } from './transaction-replay.ts';

export interface BinlogStreamOptions {
  readonly mariadb: boolean;
  /** Whether events end with a checksum before the log's own description says so. */
  readonly checksums: boolean;
  readonly position: bigint;
  readonly replay: TransactionReplay;
  readonly state: CaptureState;
  readonly outbox: Outbox<Mark>;
  readonly writer: ChangeWriter;
  readonly history: SchemaHistory;
  /** Makes a new shape of a table ready; the session is held until it is done. */
  readonly compile: (table: KnownTable) => void;
  readonly ask: AskFirst;
  /** Reads the rows of the XA transaction that was prepared at a place, then calls `preparedIsOver`;
   * the session is held until then. */
  readonly readPrepared: (place: bigint, xid: string) => void;
}

/**
 * Turns the events of the log into change events. Transactions arrive whole and in commit order; each
 * is sealed at its end, or in between when it alone is larger than what may be buffered.
 */
export class BinlogStream {
  /** Everything committed up to here was seen. */
  through: bigint;
  inTransaction = false;
  private readonly options: BinlogStreamOptions;
  private readonly rows: TableRows;
  private readonly tables: Tables;
  private readonly statements: StatementEffects;
  private readonly place = new LogPlace();
  private readonly header: binlog.EventHeader;
  private payload: PayloadEvents | null = null;
  private checksums: boolean;
  private gtid: binlog.GtidMark | null = null;
  private start = 0n;
  private committedAtMs = 0;
  /** Statements of the running transaction follow: a BEGIN was seen, or is implied. */
  private begun = false;
  /** It may be rolled back after it was logged (XA). */
  private undecided = false;

  constructor(options: BinlogStreamOptions) {
    this.options = options;
    this.through = options.position;
    this.checksums = options.checksums;
    this.tables = new Tables(options.state, options.mariadb);
    const { writer, replay, compile, ask } = options;
    const stop = (lane: StreamLane, error: PipelineError): void => this.stop(lane, error);
    this.rows = new TableRows({ tables: this.tables, writer, replay, compile, ask, stop });
    this.statements = new StatementEffects(options.state, options.writer, this.tables, stop);
    this.header = binlog.emptyHeader();
  }

  event(bytes: Buffer, start: number, end: number): void {
    const { header } = this;
    if (end - start < binlog.HEADER_BYTES) throw protocolError('a truncated event');
    binlog.readHeader(bytes, start, header);
    if (header.type === binlog.FORMAT_DESCRIPTION) this.checksums = bytes[end - 5] === 1;
    const stop = binlog.verifiedEnd(bytes, start, end, this.checksums);
    const body = start + binlog.HEADER_BYTES;
    if (this.place.moved(header, bytes, body, stop)) this.newFile();
    this.dispatch(bytes, body, stop);
    if (!this.inTransaction && this.place.known) this.reached(this.place.end);
  }

  private reached(place: bigint): void {
    if (place > this.through) this.through = place;
  }

  /** The next event of an opened transaction payload. */
  more(): boolean {
    const { payload } = this;
    if (payload === null) return false;
    if (!payload.next(this.header)) {
      this.payload = null;
      if (!this.inTransaction) this.reached(this.place.end);
      return false;
    }
    this.dispatch(payload.bytes, payload.body, payload.end);
    return true;
  }

  private dispatch(bytes: Buffer, body: number, end: number): void {
    const { header } = this;
    const { type } = header;
    if (type === binlog.TABLE_MAP) return this.tableMap(bytes, body, end);
    const rows = rowFormatOf(type);
    if (rows === undefined) this.control(type, bytes, body, end);
    else this.rowEvent(rows, bytes, body, end);
  }

  private control(type: number, bytes: Buffer, body: number, end: number): void {
    const { header } = this;
    switch (type) {
      case binlog.GTID:
      case binlog.ANONYMOUS_GTID:
        return this.begin(binlog.readGtid(bytes, body, end, header));
      case binlog.GTID_TAGGED:
        return this.begin(binlog.readTaggedGtid(bytes, body, header));
      case binlog.MARIADB_GTID:
        return this.begin(binlog.readMariadbGtid(bytes, body, header));
      case binlog.XID:
        return this.commit();
      case binlog.QUERY:
      case binlog.QUERY_COMPRESSED:
      case binlog.EXECUTE_LOAD_QUERY:
        return this.statement(binlog.readQuery(bytes, body, end, type));
      case binlog.XA_PREPARE:
        return this.prepared(binlog.readXaPrepare(bytes, body));
      case binlog.TRANSACTION_PAYLOAD:
        this.payload = new PayloadEvents(binlog.openPayload(bytes, body, end));
        return;
      case binlog.ROTATE:
      case binlog.FORMAT_DESCRIPTION:
      case binlog.HEARTBEAT:
      case binlog.HEARTBEAT_V2:
      case binlog.INTVAR:
      case binlog.RAND:
      case binlog.USER_VAR:
      case binlog.BEGIN_LOAD_QUERY:
        return;
      default:
        binlog.refuseUnknown(header);
    }
  }

  /** A crash of the server may have left the beginning of a transaction at the end of a file. */
  private newFile(): void {
    if (!this.inTransaction) return;
    this.options.replay.abandon();
    this.options.outbox.discardUnsealed();
    this.inTransaction = false;
    this.payload = null;
  }

  private begin(gtid: binlog.GtidMark): void {
    const { writer, mariadb, replay } = this.options;
    this.inTransaction = true;
    this.gtid = gtid;
    this.begun = mariadb && !gtid.standalone;
    this.undecided = gtid.prepared;
    this.start = this.place.start;
    replay.begins(this.start, gtid, replay.comparesIds ? gtidText(gtid, mariadb) : '');
    if (replay.delivered) return;
    this.committedAtMs = Math.floor(gtid.commitUs / 1000);
    writer.beginTransaction(this.start, Number(gtid.number), gtid.commitUs);
    this.tables.forgetPassedSnapshots(this.start);
  }

  private statement(event: binlog.QueryEvent): void {
    const { text } = event;
    if (text === 'BEGIN') {
      this.begun = true;
      return;
    }
    const decision = xaDecision(text);
    if (decision !== null) return this.decided(decision.xid, decision.commits);
    if (text === 'COMMIT') this.commit();
    else if (text === 'ROLLBACK') {
      this.options.outbox.discardUnsealed();
      this.commit();
    } else if (/^XA\s+START/i.test(text)) {
      this.begun = true;
      this.undecided = true;
    } else if (!this.options.replay.delivered) {
      this.statements.apply(event, this.begun, this.options.replay.skipping);
      if (!this.begun && this.options.history.ran(event, this.place.end)) {
        this.tables.forgetDescriptions();
      }
      if (!this.begun) this.commit();
    } else if (!this.begun) this.commit();
  }

  private commit(): void {
    if (!this.inTransaction) return;
    const { replay, state } = this.options;
    this.inTransaction = false;
    const gtid = this.gtid as binlog.GtidMark;
    state.passed(this.start, gtid);
    if (replay.delivered) return;
    replay.ends();
    state.gtids.add(gtid);
    this.reached(this.place.end);
    // A stream that was stopped on the way is told even when nothing else is.
    this.seal(state.dirty);
  }

  /** Ends what is whole at the newest position. */
  seal(urgent: boolean): void {
    const { outbox, replay } = this.options;
    const chunk = replay.pending;
    outbox.seal({ position: this.through, committedAtMs: this.committedAtMs, chunk }, urgent);
  }

  /** Cuts the running transaction; a restart passes over what was delivered of it. */
  sealChunk(): void {
    const { outbox, replay, writer, mariadb } = this.options;
    const chunk = replay.chunk(
      gtidText(this.gtid as binlog.GtidMark, mariadb),
      this.start,
      writer.seq,
    );
    outbox.seal({ position: this.through, committedAtMs: this.committedAtMs, chunk }, false);
  }

  /** Rows that may still be rolled back are passed over: they are read again once they are committed. */
  private get passing(): boolean {
    return this.options.replay.delivered || this.undecided;
  }

  private tableMap(bytes: Buffer, body: number, end: number): void {
    if (!this.passing) this.rows.tableMap(bytes, body, end);
  }

  private rowEvent(format: RowFormat, bytes: Buffer, body: number, end: number): void {
    if (!this.inTransaction) throw protocolError('rows outside of a transaction');
    if (!this.passing) this.rows.rowEvent(format, bytes, body, end);
  }

  private prepared({ xid, onePhase }: binlog.XaPrepare): void {
    const { replay, state } = this.options;
    if (onePhase && !replay.delivered) return this.options.readPrepared(this.start, xid);
    // After a failover it is found again in the new server's log.
    if (!onePhase && (!replay.delivered || state.prepared.has(xid))) {
      state.prepared.set(xid, placeText(this.start));
    }
    this.commit();
  }

  private decided(xid: string, commits: boolean): void {
    const { replay, state } = this.options;
    const place = state.prepared.get(xid);
    if (!commits || replay.delivered) return this.preparedIsOver(xid);
    if (place !== undefined && place !== '') {
      return this.options.readPrepared(placeOfText(place), xid);
    }
    for (const lane of state.lanes) {
      if (lane.stopped || this.tables.due(lane) === 'none') continue;
      this.stop(
        lane,
        logIncomplete(
          lane.label,
          'an XA transaction was committed that had been prepared before the copy, so that its rows are not known; to have copies wait for such ones, run: GRANT XA_RECOVER_ADMIN ON *.* TO <the user>',
        ),
      );
    }
    this.preparedIsOver(xid);
  }

  /** Reads a prepared transaction's rows as those of the transaction at hand; `done` is called at their
   * end. */
  preparedTransaction(compile: (table: KnownTable) => void, done: () => void): PreparedTransaction {
    const { state, writer, replay, mariadb, ask } = this.options;
    // Ids of tables begin again with each start of the server: what they mean there is not what they
    // mean here.
    const tables = new Tables(state, mariadb);
    tables.forgetPassedSnapshots(this.start);
    const stop = (lane: StreamLane, error: PipelineError): void => this.stop(lane, error);
    const rows = new TableRows({ tables, writer, replay, compile, ask, stop });
    return new PreparedTransaction(rows, this.checksums, done);
  }

  /** It is rolled back, or all its rows were read. */
  preparedIsOver(xid: string): void {
    this.options.state.prepared.delete(xid);
    this.commit();
  }

  /** Stops one stream; the fact travels with the next batch, if need be with one of its own. */
  stop(lane: StreamLane, error: PipelineError): void {
    this.options.state.stop(lane.label, error, placeText(this.through));
    if (!this.inTransaction) this.seal(true);
  }
}
