import { PipelineError } from '../../../core/errors/pipeline-error.ts';
import { NULL_CELL, UNCHANGED_CELL } from '../../capture/row-codec.ts';

/** The messages of pgoutput's protocol version 1: their tags, and how their parts are read. */
export const BEGIN = 0x42;
export const COMMIT = 0x43;
export const RELATION = 0x52;
export const INSERT = 0x49;
export const UPDATE = 0x55;
export const DELETE = 0x44;
export const TRUNCATE = 0x54;
export const TYPE = 0x59;
export const ORIGIN = 0x4f;
export const MESSAGE = 0x4d;

export const NEW_TUPLE = 0x4e;
export const KEY_TUPLE = 0x4b;
export const OLD_TUPLE = 0x4f;

const EPOCH_2000_US = 946_684_800_000_000;
const TWO_32 = 4_294_967_296;

export function protocolError(what: string): PipelineError {
  return new PipelineError('SRC_PROTOCOL', `the replication stream holds ${what}`);
}

/** Microseconds since 1970 from the server's, which count from 2000. */
export function timeUs(bytes: Buffer, pos: number): number {
  return bytes.readInt32BE(pos) * TWO_32 + bytes.readUInt32BE(pos + 4) + EPOCH_2000_US;
}

/** Finds a tuple's cells. `pos` begins at its column count; after `read`, `end` is behind it and
 * `unchanged` says how many cells the server left out. */
export class TupleReader {
  end = 0;
  unchanged = 0;

  read(bytes: Buffer, start: number, columns: number, spans: Int32Array): void {
    const count = bytes.readUInt16BE(start);
    if (count !== columns) throw protocolError('a tuple that does not fit its relation');
    let pos = start + 2;
    let unchanged = 0;
    for (let i = 0; i < count * 2; i += 2) {
      const kind = bytes[pos++];
      if (kind === 0x74) {
        const from = pos + 4;
        pos =
          from +
          (((bytes[pos] as number) << 24) |
            ((bytes[pos + 1] as number) << 16) |
            ((bytes[pos + 2] as number) << 8) |
            (bytes[pos + 3] as number));
        spans[i] = from;
        spans[i + 1] = pos;
      } else if (kind === 0x6e) spans[i] = NULL_CELL;
      else if (kind === 0x75) {
        spans[i] = UNCHANGED_CELL;
        unchanged++;
      } else throw protocolError('a cell of an unknown kind');
    }
    this.end = pos;
    this.unchanged = unchanged;
  }
}

export interface RelationColumn {
  readonly name: string;
  /** Part of the replica identity. */
  readonly identity: boolean;
  readonly type: number;
  readonly mod: number;
}

export interface RelationMessage {
  readonly oid: number;
  readonly namespace: string;
  readonly name: string;
  /** d default, n nothing, f full, i index. */
  readonly replicaIdentity: string;
  readonly columns: readonly RelationColumn[];
}

export function readRelation(bytes: Buffer, start: number): RelationMessage {
  let pos = start + 5;
  const text = (): string => {
    const stop = bytes.indexOf(0, pos);
    const value = bytes.toString('utf8', pos, stop);
    pos = stop + 1;
    return value;
  };
  const namespace = text();
  const name = text();
  const replicaIdentity = String.fromCharCode(bytes[pos++] as number);
  const count = bytes.readUInt16BE(pos);
  pos += 2;
  const columns: RelationColumn[] = [];
  for (let i = 0; i < count; i++) {
    const identity = ((bytes[pos++] as number) & 1) === 1;
    const columnName = text();
    columns.push({
      name: columnName,
      identity,
      type: bytes.readUInt32BE(pos),
      mod: bytes.readInt32BE(pos + 4),
    });
    pos += 8;
  }
  return { oid: bytes.readUInt32BE(start + 1), namespace, name, replicaIdentity, columns };
}
