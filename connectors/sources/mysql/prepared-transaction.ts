import * as binlog from './binlog-events.ts';
import { protocolError } from './errors.ts';
import { PayloadEvents } from './payload-events.ts';
import { rowFormatOf } from './row-formats.ts';
import type { TableRows } from './table-rows.ts';

/**
 * An XA transaction's rows, which the log has where it was prepared. They are read when it is known that
 * they are committed, by a session of their own, from that place up to the end of the group.
 */
export class PreparedTransaction {
  private readonly rows: TableRows;
  private readonly done: () => void;
  private checksums: boolean;
  private payload: PayloadEvents | null = null;
  private readonly header: binlog.EventHeader = binlog.emptyHeader();

  constructor(rows: TableRows, checksums: boolean, done: () => void) {
    this.rows = rows;
    this.checksums = checksums;
    this.done = done;
  }

  event(bytes: Buffer, start: number, end: number): void {
    binlog.readHeader(bytes, start, this.header);
    if (this.header.type === binlog.FORMAT_DESCRIPTION) this.checksums = bytes[end - 5] === 1;
    const stop = binlog.verifiedEnd(bytes, start, end, this.checksums);
    this.dispatch(bytes, start + binlog.HEADER_BYTES, stop);
  }

  /** The next event of an opened transaction payload. */
  more(): boolean {
    const { payload } = this;
    if (payload === null) return false;
    if (payload.next(this.header)) this.dispatch(payload.bytes, payload.body, payload.end);
    else this.payload = null;
    return this.payload !== null;
  }

  private dispatch(bytes: Buffer, body: number, end: number): void {
    const { type } = this.header;
    const rows = rowFormatOf(type);
    if (rows !== undefined) this.rows.rowEvent(rows, bytes, body, end);
    else if (type === binlog.TABLE_MAP) this.rows.tableMap(bytes, body, end);
    else if (type === binlog.XA_PREPARE) this.done();
    else if (type === binlog.TRANSACTION_PAYLOAD) {
      this.payload = new PayloadEvents(binlog.openPayload(bytes, body, end));
    } else if (type === binlog.XID) {
      throw protocolError('another transaction where an XA transaction was prepared');
    }
  }
}
