import { PipelineError } from '../../../core/errors/pipeline-error.ts';
import type { StreamMark as CommonMark } from '../../capture/stream-states.ts';
import type { SourceState } from '../../spi/source.ts';
import type { KnownShape } from './shape-change.ts';

/**
 * A place in the server's log is a 64-bit LSN: a bigint here (once per transaction, never per row),
 * sixteen upper-case hex digits in a position, whose text order is log order.
 */
export function lsnText(lsn: bigint): string {
  return lsn.toString(16).toUpperCase().padStart(16, '0');
}

export function lsnOfText(text: string): bigint {
  return BigInt(`0x${text}`);
}

/** `16/B374D848`, as the server writes it. */
export function lsnOfServer(text: string): bigint {
  const slash = text.indexOf('/');
  return (BigInt(`0x${text.slice(0, slash)}`) << 32n) | BigInt(`0x${text.slice(slash + 1)}`);
}

export function lsnForServer(lsn: bigint): string {
  return `${(lsn >> 32n).toString(16)}/${(lsn & 0xffffffffn).toString(16)}`.toUpperCase();
}

/** What is known of one stream, beside what every capture stores. */
export interface StreamMark extends CommonMark {
  /** The table itself: another one under the same name is not this stream's continuation. */
  readonly oid?: number;
  /** Its columns as the topic's events have them, with the catalog's numbers. */
  readonly shape?: KnownShape;
  /** Its entries in the publications when it was copied; one of them must still be there. */
  readonly published?: readonly string[];
}

/** How far a transaction too large for one batch was delivered: its first `skip` row messages, whose
 * rolling hash is `check`. It is replayed from `resume` (invariant 7). */
export interface ChunkMark {
  readonly xid: number;
  readonly resume: string;
  readonly skip: number;
  readonly check: number;
  /** The last ordinal given to an event of the skipped ones. */
  readonly seq: number;
}

/**
 * The last transaction the server sent below the position; xid 0 for the snapshot's point. After a
 * restart the server sends it once more where it still can: a history that does not hold it, or holds
 * another one between it and the position, is not the one we read.
 */
export interface Anchor {
  readonly lsn: string;
  readonly xid: number;
  readonly tsUs: number;
}

export interface PostgresDetails {
  readonly systemId: string;
  readonly timeline: number;
  readonly slot: string;
  readonly publication: string;
  readonly anchor: Anchor;
  /** By stream label, `schema.table`. */
  readonly streams: Readonly<Record<string, StreamMark>>;
  readonly chunk?: ChunkMark;
}

export function detailsOf(state: SourceState): PostgresDetails {
  const details = state.details as unknown as Partial<PostgresDetails>;
  if (
    typeof details.systemId !== 'string' ||
    typeof details.anchor !== 'object' ||
    typeof details.streams !== 'object' ||
    !/^[0-9A-F]{16}$/.test(state.position)
  ) {
    throw new PipelineError(
      'SRC_IDENTITY_CHANGED',
      'the stored position was not written by a Postgres source',
    );
  }
  return details as PostgresDetails;
}
