import type { Queryable } from './database.ts';
import type { Sealer } from './sealer.ts';

/** A source to be let go: `captureId` is what its workers knew it by. */
export interface Cleanup {
  readonly id: string;
  readonly captureId: string;
  readonly connector: string;
  /** As it is now: a corrected password lets a clean-up that failed go through. */
  readonly configuration: Record<string, unknown>;
  readonly failedAttempts: number;
}

/** Requests that outlive the process which took them: written with the delete, removed when done. */
export class Cleanups {
  private readonly database: Queryable;
  private readonly sealer: Sealer;

  constructor(database: Queryable, sealer: Sealer) {
    this.database = database;
    this.sealer = sealer;
  }

  async due(): Promise<Cleanup[]> {
    const rows = await this.database.query<Cleanup>(
      `SELECT k.id, k.capture_id AS "captureId", a.connector, a.configuration,
         k.failed_attempts AS "failedAttempts"
       FROM headrace.cleanup k JOIN headrace.actor a ON a.id = k.actor_id
       WHERE k.due_at <= headrace.now_ms() ORDER BY k.due_at, k.id`,
    );
    return rows.map((row) => ({ ...row, configuration: this.sealer.open(row.configuration) }));
  }

  /** Holds back sources that have never run for this long, or until `done` or `failed`. */
  async claim(id: string, forMs: number): Promise<void> {
    await this.database.query(
      `UPDATE headrace.cleanup SET claimed_until = headrace.now_ms() + $2::bigint WHERE id = $1`,
      [id, forMs],
    );
  }

  async done(id: string): Promise<void> {
    await this.database.query(`DELETE FROM headrace.cleanup WHERE id = $1`, [id]);
  }

  async failed(id: string, retryInMs: number, error: string): Promise<void> {
    await this.database.query(
      `UPDATE headrace.cleanup SET failed_attempts = failed_attempts + 1, last_error = $3,
         claimed_until = 0,
         due_at = headrace.now_ms() + $2::bigint WHERE id = $1`,
      [id, retryInMs, error],
    );
  }

  /** Why a source waits before it is captured anew: the last error, '' before the first try, null
   * when nothing is pending. */
  async pendingFor(sourceId: string): Promise<string | null> {
    const [row] = await this.database.query<{ error: string }>(
      `SELECT coalesce(last_error, '') AS error FROM headrace.cleanup WHERE actor_id = $1 LIMIT 1`,
      [sourceId],
    );
    return row?.error ?? null;
  }
}
