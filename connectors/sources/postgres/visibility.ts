import { setTimeout as delay } from 'node:timers/promises';

/**
 * A transaction is sent as soon as it is in the log, which is a moment before others can see it: a
 * synchronous standby, or a busy machine, make it a long one. What is read from tables and catalogs for
 * an event is read under a snapshot in which the event's transaction is over.
 */

const VISIBLE_AGAIN_MS = 5;

/** SQL: whether the transaction is over in the statement's snapshot. `parameter` is the number of the
 * one that holds the lower half of its id, whose upper half follows from the snapshot's. */
export function isOver(parameter: number): string {
  const behind = `((next - $${parameter}::int8 + 6442450944) % 4294967296 - 2147483648)`;
  return `(SELECT pg_visible_in_snapshot((next - ${behind})::text::xid8, snapshot)
    FROM (SELECT pg_current_snapshot() AS snapshot,
      pg_snapshot_xmax(pg_current_snapshot())::text::int8 AS next) AS s)`;
}

/** Asks until the answer is not undefined. */
export async function askedUntil<T>(ask: () => Promise<T | undefined>): Promise<T> {
  for (;;) {
    const answer = await ask();
    if (answer !== undefined) return answer;
    await delay(VISIBLE_AGAIN_MS);
  }
}

/** The transactions that are over in a snapshot as the server prints it: `xmin:xmax:xid,xid`, the last being
 * those still running. What `isOver` asks the server, for a snapshot that serves several. */
export class SeenTransactions {
  private readonly next: bigint;
  private readonly running: ReadonlySet<bigint>;

  constructor(text: string) {
    const [, next = '0', running = ''] = text.split(':');
    this.next = BigInt(next);
    this.running = new Set(running === '' ? [] : running.split(',').map(BigInt));
  }

  /** `xid` is the lower half of an id within two billion of the newest. */
  sees(xid: number): boolean {
    const behind = BigInt.asIntN(32, this.next - BigInt(xid));
    return behind > 0n && !this.running.has(this.next - behind);
  }
}
