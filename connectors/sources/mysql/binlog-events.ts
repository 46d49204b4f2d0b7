import { crc32, inflateSync, zstdDecompressSync } from 'node:zlib';
import { byteRun } from '../../../schemas/avro/byte-run.ts';
import { PipelineError } from '../../../core/errors/pipeline-error.ts';
import { protocolError } from './errors.ts';
import { lengthAt, lengthBytes } from './packets.ts';
import { uint16At, uint32At } from './wire-integers.ts';

/** Types of events, by the name that the servers' sources give them. */
export const QUERY = 2;
export const ROTATE = 4;
export const INTVAR = 5;
export const RAND = 13;
export const USER_VAR = 14;
export const FORMAT_DESCRIPTION = 15;
export const XID = 16;
export const BEGIN_LOAD_QUERY = 17;
export const EXECUTE_LOAD_QUERY = 18;
export const TABLE_MAP = 19;
export const WRITE_ROWS_V1 = 23;
export const HEARTBEAT = 27;
export const WRITE_ROWS = 30;
export const GTID = 33;
export const ANONYMOUS_GTID = 34;
export const XA_PREPARE = 38;
export const PARTIAL_UPDATE_ROWS = 39;
export const TRANSACTION_PAYLOAD = 40;
export const HEARTBEAT_V2 = 41;
export const GTID_TAGGED = 42;
export const MARIADB_GTID = 162;
export const QUERY_COMPRESSED = 165;
export const WRITE_ROWS_COMPRESSED_V1 = 166;
export const WRITE_ROWS_COMPRESSED = 169;

/** STOP, INCIDENT aside: nothing in them concerns rows. IGNORABLE, ROWS_QUERY, PREVIOUS_GTIDS,
 * TRANSACTION_CONTEXT, VIEW_CHANGE; MariaDB's ANNOTATE_ROWS, BINLOG_CHECKPOINT, GTID_LIST, START_ENCRYPTION. */
const WITHOUT_ROWS = new Set([3, 28, 29, 35, 36, 37, 160, 161, 163, 164]);
const IGNORABLE_FLAG = 0x80;
export const ARTIFICIAL_FLAG = 0x20;
export const HEADER_BYTES = 19;

export interface EventHeader {
  timestamp: number;
  type: number;
  serverId: number;
  size: number;
  /** End of the event in its file; 0 where the server does not know it. */
  logPos: number;
  flags: number;
}

export function emptyHeader(): EventHeader {
  return { timestamp: 0, type: 0, serverId: 0, size: 0, logPos: 0, flags: 0 };
}

/** Where an event ends without its checksum, which is compared. */
export function verifiedEnd(bytes: Buffer, start: number, end: number, checksums: boolean): number {
  if (!checksums) return end;
  const stop = end - 4;
  if (crc32(byteRun(bytes, start, stop)) !== uint32At(bytes, stop)) {
    throw new PipelineError('SRC_CONNECTION_LOST', 'an event of the log has a wrong checksum');
  }
  return stop;
}

export function readHeader(bytes: Buffer, pos: number, into: EventHeader): void {
  into.timestamp = uint32At(bytes, pos);
  into.type = bytes[pos + 4] as number;
  into.serverId = uint32At(bytes, pos + 5);
  into.size = uint32At(bytes, pos + 9);
  into.logPos = uint32At(bytes, pos + 13);
  into.flags = uint16At(bytes, pos + 17);
}

/** An event that we do not know may carry changes: only what is marked as ignorable is passed over. */
export function refuseUnknown(header: EventHeader): void {
  if (WITHOUT_ROWS.has(header.type) || (header.flags & IGNORABLE_FLAG) !== 0) return;
  throw protocolError(`an event of the unknown type ${header.type}`);
}

export interface GtidMark {
  /** `uuid[:tag]` (MySQL), `domain` (MariaDB), or '' for a transaction without one. */
  readonly source: string;
  /** Number in its source; for MariaDB `server` tells the rest of `domain-server-seq`. */
  readonly number: bigint;
  readonly server: number;
  readonly commitUs: number;
  /** The group is one statement without a COMMIT behind it (MariaDB says so). */
  readonly standalone: boolean;
  readonly prepared: boolean;
}

function uuidText(bytes: Uint8Array): string {
  const hex = Buffer.from(bytes).toString('hex');
  return [
    hex.slice(0, 8),
    hex.slice(8, 12),
    hex.slice(12, 16),
    hex.slice(16, 20),
    hex.slice(20),
  ].join('-');
}

const lastUuid = Buffer.alloc(16);
let lastUuidText = uuidText(lastUuid);

/** Most transactions come from where the one before came from: its text is made once. */
function uuidAt(bytes: Buffer, pos: number): string {
  if (lastUuid.compare(bytes, pos, pos + 16) !== 0) {
    bytes.copy(lastUuid, 0, pos, pos + 16);
    lastUuidText = uuidText(lastUuid);
  }
  return lastUuidText;
}

const COMMIT_TIME_AT = 42;
const COMMIT_TIME_BYTES = 7;
/** Of the 55 bits of microseconds those above the lower 32. */
const HIGH_MASK = 0x7fffff;
const ORIGINAL_FOLLOWS = 0x80;

/** When the transaction was committed where it came from: on a replica the server's own commit time
 * stands before it. Seconds of the header where neither is logged. */
function commitTime(bytes: Buffer, pos: number, end: number, header: EventHeader): number {
  let at = pos + COMMIT_TIME_AT;
  if (at + COMMIT_TIME_BYTES > end) return header.timestamp * 1e6;
  if (((bytes[at + 6] as number) & ORIGINAL_FOLLOWS) !== 0 && at + 2 * COMMIT_TIME_BYTES <= end) {
    at += COMMIT_TIME_BYTES;
  }
  const high = bytes.readUIntLE(at + 4, 3) & HIGH_MASK;
  return high * 0x100000000 + bytes.readUInt32LE(at);
}

export function readGtid(bytes: Buffer, pos: number, end: number, header: EventHeader): GtidMark {
  const commitUs = commitTime(bytes, pos, end, header);
  const anonymous = header.type === ANONYMOUS_GTID;
  return {
    source: anonymous ? '' : uuidAt(bytes, pos + 1),
    number: anonymous ? 0n : bytes.readBigInt64LE(pos + 17),
    server: header.serverId,
    commitUs,
    standalone: false,
    prepared: false,
  };
}

export function readMariadbGtid(bytes: Buffer, pos: number, header: EventHeader): GtidMark {
  const flags = bytes[pos + 12] as number;
  return {
    source: String(bytes.readUInt32LE(pos + 8)),
    number: bytes.readBigUInt64LE(pos),
    server: header.serverId,
    commitUs: header.timestamp * 1e6,
    standalone: (flags & 1) !== 0,
    prepared: (flags & 64) !== 0,
  };
}

/** Integers of the tagged event: as many more bytes as the first one has trailing ones. */
class VarInts {
  pos: number;
  private readonly bytes: Buffer;

  constructor(bytes: Buffer, pos: number) {
    this.bytes = bytes;
    this.pos = pos;
  }

  next(): bigint {
    const first = this.bytes[this.pos++] as number;
    let more = 0;
    while (((first >> more) & 1) === 1) more++;
    let value = BigInt(first) >> BigInt(more + 1);
    let shift = BigInt(Math.max(0, 7 - more));
    for (let i = 0; i < more; i++) {
      value |= BigInt(this.bytes[this.pos++] as number) << shift;
      shift += 8n;
    }
    return value;
  }

  text(): string {
    const length = Number(this.next());
    this.pos += length;
    return this.bytes.toString('utf8', this.pos - length, this.pos);
  }
}

/** Fields by number: 0 flags, 1 uuid, 2 gno (zigzag), 3 tag, 4 and 5 logical clock, 6 commit time,
 * 7 commit time where it came from, when that is another one. */
export function readTaggedGtid(bytes: Buffer, pos: number, header: EventHeader): GtidMark {
  const ints = new VarInts(bytes, pos);
  for (let i = 0; i < 3; i++) ints.next();
  const uuid = new Uint8Array(16);
  let [number, tag, commitUs] = [0n, '', header.timestamp * 1e6];
  for (let last = -1n; last < 7n;) {
    const field = ints.next();
    if (field <= last || field > 7n) break;
    last = field;
    if (field === 1n) for (let i = 0; i < 16; i++) uuid[i] = Number(ints.next());
    else if (field === 3n) tag = ints.text();
    else {
      const value = ints.next();
      if (field === 2n) number = (value >> 1n) ^ -(value & 1n);
      if (field >= 6n) commitUs = Number(value);
    }
  }
  const source = tag === '' ? uuidText(uuid) : `${uuidText(uuid)}:${tag}`;
  return { source, number, server: header.serverId, commitUs, standalone: false, prepared: false };
}

/** The end of an XA transaction's rows. */
export interface XaPrepare {
  readonly xid: string;
  /** It is committed with this, and no second group decides over it. */
  readonly onePhase: boolean;
}

export function xidOf(global: string, branch: string, format: string): string {
  return `${global.toLowerCase()}.${branch.toLowerCase()}.${format}`;
}

export function readXaPrepare(bytes: Buffer, pos: number): XaPrepare {
  const format = String(bytes.readInt32LE(pos + 1));
  const data = pos + 13;
  const middle = data + bytes.readInt32LE(pos + 5);
  const end = middle + bytes.readInt32LE(pos + 9);
  const xid = xidOf(
    bytes.toString('hex', data, middle),
    bytes.toString('hex', middle, end),
    format,
  );
  return { xid, onePhase: bytes[pos] !== 0 };
}

export interface QueryEvent {
  readonly database: string;
  readonly text: string;
}

export function readQuery(bytes: Buffer, pos: number, end: number, type: number): QueryEvent {
  const databaseLength = bytes[pos + 8] as number;
  const statusLength = bytes.readUInt16LE(pos + 11);
  const statusAt = pos + (type === EXECUTE_LOAD_QUERY ? 26 : 13);
  const databaseAt = statusAt + statusLength;
  const textAt = databaseAt + databaseLength + 1;
  const text =
    type === QUERY_COMPRESSED
      ? uncompress(bytes, textAt, end).toString('utf8')
      : bytes.toString('utf8', textAt, end);
  return { database: bytes.toString('utf8', databaseAt, databaseAt + databaseLength), text };
}

/** MariaDB's: flag and width of the length, the length in big-endian, zlib. */
export function uncompress(bytes: Buffer, pos: number, end: number): Buffer {
  const head = bytes[pos] as number;
  const width = head & 7;
  if ((head & 0x80) === 0 || (head & 0x70) !== 0) throw protocolError('an unknown compression');
  return inflateSync(bytes.subarray(pos + 1 + width, end), {
    maxOutputLength: Math.max(1, bytes.readUIntBE(pos + 1, width)),
  });
}

/** MySQL's whole transaction as one event: the events inside, without checksums. */
export function openPayload(bytes: Buffer, pos: number, end: number): Buffer {
  let compression = 255;
  for (;;) {
    const field = lengthAt(bytes, pos);
    pos += lengthBytes;
    if (field === 0) break;
    const length = lengthAt(bytes, pos);
    pos += lengthBytes;
    if (field === 2) compression = lengthAt(bytes, pos);
    pos += length;
  }
  const payload = bytes.subarray(pos, end);
  if (compression === 0) return zstdDecompressSync(payload);
  if (compression === 255) return Buffer.from(payload);
  throw protocolError(`a transaction in the unknown compression ${compression}`);
}
