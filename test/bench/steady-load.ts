import { performance } from 'node:perf_hooks';
import { setTimeout as delay } from 'node:timers/promises';
import type pg from 'pg';
import type { LocalServer } from '../../deploy/local/local-server.ts';
import { connectTo } from '../support/rig.ts';

/** One row of the load: `n` counts up within a lane, in the order of its commits. */
export const EVENT_COLUMNS = 'lane int, n bigint, payload text, primary key (lane, n)';

/** A writer that keeps a rate, and when each of its transactions was answered. */
export class LoadLane {
  readonly lane: number;
  readonly rowsPerTransaction: number;
  /** By transaction, milliseconds of performance.now(). */
  readonly committedAt: number[] = [];

  constructor(lane: number, rowsPerTransaction: number) {
    this.lane = lane;
    this.rowsPerTransaction = rowsPerTransaction;
  }

  get written(): number {
    return this.committedAt.length * this.rowsPerTransaction;
  }

  /** `tableOf` names the table of a transaction. One that is late is followed at once by the next. */
  async write(
    server: LocalServer,
    transactionsPerSecond: number,
    seconds: number,
    tableOf: (transaction: number) => string,
  ): Promise<void> {
    const client = await connectTo(server);
    const started = performance.now();
    const total = Math.round(transactionsPerSecond * seconds);
    const before = this.committedAt.length;
    for (let t = before; t < before + total; t++) {
      const due = started + ((t - before) * 1000) / transactionsPerSecond;
      const early = due - performance.now();
      if (early > 1) await delay(early);
      const table = tableOf(t);
      const first = t * this.rowsPerTransaction;
      await client.query({
        name: `load-${table}`,
        text: `insert into ${table} select $1::int, i, repeat('x', 100) from generate_series($2::bigint, $3::bigint) i`,
        values: [this.lane, first, first + this.rowsPerTransaction - 1],
      });
      this.committedAt[t] = performance.now();
    }
    await client.end();
  }
}

/** Looks every few milliseconds how far a lane has come in the target. */
export class LaneWatch {
  private readonly lane: LoadLane;
  /** Milliseconds from commit to seen, by transaction. */
  readonly delays: number[] = [];

  constructor(lane: LoadLane) {
    this.lane = lane;
  }

  get seen(): number {
    return this.delays.length;
  }

  async look(target: pg.Client, table: string): Promise<void> {
    const { rows } = await target.query<{ n: string | null }>({
      name: `watch-${table}`,
      text: `select max(n) n from ${table} where lane = $1`,
      values: [this.lane.lane],
    });
    const whole = Math.floor((Number(rows[0]?.n ?? -1) + 1) / this.lane.rowsPerTransaction);
    const now = performance.now();
    for (let t = this.delays.length; t < whole; t++) {
      // Seen before its writer heard of the commit: no time at all.
      this.delays[t] = Math.max(0, now - (this.lane.committedAt[t] ?? now));
    }
  }
}
