import { HEADER_BYTES, readHeader, type EventHeader } from './binlog-events.ts';
import { protocolError } from './errors.ts';

/** The events inside an opened transaction payload, one by one. */
export class PayloadEvents {
  readonly bytes: Buffer;
  body = 0;
  end = 0;

  constructor(bytes: Buffer) {
    this.bytes = bytes;
  }

  next(header: EventHeader): boolean {
    const start = this.end;
    if (start >= this.bytes.length) return false;
    readHeader(this.bytes, start, header);
    this.body = start + HEADER_BYTES;
    this.end = start + header.size;
    if (this.end > this.bytes.length) throw protocolError('a truncated transaction payload');
    return true;
  }
}
