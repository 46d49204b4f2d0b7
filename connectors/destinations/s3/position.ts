import type { ChangeCursor } from '../../../schemas/envelope/change-decoder.ts';
import type { SourcePosition } from './generation-chain.ts';

/** Where a change stands in its source's log; later ones are greater. */
export interface Position {
  readonly epoch: number;
  readonly lsn: bigint;
  readonly seq: number;
}

export function positionOf({ epoch, lsnHigh, lsnLow, seq }: ChangeCursor): Position {
  return { epoch, lsn: joinHalves(lsnHigh, lsnLow), seq };
}

/** Both halves as one; through a number where that is exact, which costs half as much. */
function joinHalves(high: number, low: number): bigint {
  if (high >= -0x200000 && high < 0x200000) return BigInt(high * 0x100000000 + low);
  return (BigInt(high) << 32n) | BigInt(low);
}

/** Below 0 when `a` is earlier than `b`. */
export function comparePositions(a: Position, b: Position): number {
  if (a.epoch !== b.epoch) return a.epoch - b.epoch;
  if (a.lsn !== b.lsn) return a.lsn < b.lsn ? -1 : 1;
  return a.seq - b.seq;
}

export function laterOf(a: Position | null, b: Position): Position {
  return a === null || comparePositions(a, b) < 0 ? b : a;
}

export function earlierOf(a: Position | null, b: Position): Position {
  return a === null || comparePositions(a, b) > 0 ? b : a;
}

/** As a manifest has it. */
export function positionText({ epoch, lsn, seq }: Position): SourcePosition {
  return { epoch, lsn: String(lsn), seq };
}
