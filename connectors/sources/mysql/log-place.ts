import {
  ARTIFICIAL_FLAG,
  FORMAT_DESCRIPTION,
  HEARTBEAT,
  HEARTBEAT_V2,
  ROTATE,
  type EventHeader,
} from './binlog-events.ts';
import { fileNumber, placeOf } from './position.ts';

/** Where in the log the event at hand lies. */
export class LogPlace {
  known = false;
  private file = 0;
  /** Of the event's end. Kept as numbers: most events are asked for no place. */
  private offset = 0;
  private size = 0;

  /** The event's first byte. */
  get start(): bigint {
    return placeOf(this.file, this.offset - this.size);
  }

  /** The byte behind it. */
  get end(): bigint {
    return placeOf(this.file, this.offset);
  }

  /** Takes an event's header; true when it begins another file. */
  moved(header: EventHeader, bytes: Buffer, body: number, end: number): boolean {
    const { type } = header;
    if (type === ROTATE) {
      const file = fileNumber(bytes.toString('utf8', body + 8, end));
      const begins = file !== this.file && this.file !== 0;
      this.file = file;
      this.offset = bytes.readUInt32LE(body);
      this.known = false;
      return begins;
    }
    if (type === HEARTBEAT || type === HEARTBEAT_V2) {
      if (type === HEARTBEAT && header.logPos >= this.offset) this.offset = header.logPos;
      this.known = true;
      return false;
    }
    // The description that opens a dump in the middle of a file is no event of that place.
    const artificial = (header.flags & ARTIFICIAL_FLAG) !== 0 || header.logPos === 0;
    if (type === FORMAT_DESCRIPTION && (artificial || this.offset > header.logPos)) return false;
    this.offset = header.logPos === 0 ? this.offset + header.size : header.logPos;
    this.size = header.size;
    this.known = true;
    return false;
  }
}
