import type { Database, Queryable } from './database.ts';
import { readEvents, type StoredEvent } from './events.ts';
import type { Channel, NotificationSettings } from './notification-settings.ts';
import type { Sealer } from './sealer.ts';

/** A message and where it goes. */
export interface NewNotification {
  readonly target: Channel;
  readonly message: object;
}

export interface Notification extends NewNotification {
  readonly id: number;
  readonly failedAttempts: number;
}

/** Messages that may wait at once; beyond, the oldest are given up: a receiver that is away for a day
 * must not fill the store, nor be flooded when it comes back. */
const MOST_WAITING = 500;

/** Alerts on their way from the facts to their receivers. */
export class Notifications {
  private readonly database: Database;
  private readonly sealer: Sealer;

  constructor(database: Database, sealer: Sealer) {
    this.database = database;
    this.sealer = sealer;
  }

  async settings(workspaceId: string): Promise<NotificationSettings> {
    const [row] = await this.database.query<{ notifications: Record<string, unknown> }>(
      `SELECT notifications FROM headrace.workspace WHERE id = $1`,
      [workspaceId],
    );
    return this.sealer.open(row?.notifications ?? {}) as NotificationSettings;
  }

  async saveSettings(workspaceId: string, settings: NotificationSettings): Promise<void> {
    await this.database.query(
      `UPDATE headrace.workspace SET notifications = $2::json WHERE id = $1`,
      [workspaceId, this.sealer.seal(settings as Record<string, unknown>)],
    );
  }

  /** Facts that nobody was told of yet, oldest first. */
  events(limit: number): Promise<StoredEvent[]> {
    return readEvents(this.database, limit);
  }

  /** An event becomes its messages, once. */
  async settle(eventId: number, messages: readonly NewNotification[]): Promise<void> {
    await this.database.transaction(async (tx) => {
      const taken = await tx.query(`DELETE FROM headrace.event WHERE id = $1 RETURNING id`, [
        eventId,
      ]);
      if (taken.length > 0) await this.enqueue(tx, messages);
    });
  }

  /** A condition begins to hold: told of once, until it is cleared. */
  async raise(subject: string, kind: string, messages: readonly NewNotification[]): Promise<void> {
    await this.database.transaction(async (tx) => {
      const raised = await tx.query(
        `INSERT INTO headrace.standing_alert (subject, kind) VALUES ($1, $2)
         ON CONFLICT DO NOTHING RETURNING subject`,
        [subject, kind],
      );
      if (raised.length > 0) await this.enqueue(tx, messages);
    });
  }

  async clear(subject: string, kind: string, messages: readonly NewNotification[]): Promise<void> {
    await this.database.transaction(async (tx) => {
      const cleared = await tx.query(
        `DELETE FROM headrace.standing_alert WHERE subject = $1 AND kind = $2 RETURNING subject`,
        [subject, kind],
      );
      if (cleared.length > 0) await this.enqueue(tx, messages);
    });
  }

  async standing(): Promise<{ readonly subject: string; readonly kind: string }[]> {
    return this.database.query(`SELECT subject, kind FROM headrace.standing_alert`);
  }

  /** Messages to be sent now, oldest first. */
  async due(limit: number): Promise<Notification[]> {
    const rows = await this.database.query<Notification & { target: Record<string, unknown> }>(
      `SELECT id, target, message, failed_attempts AS "failedAttempts" FROM headrace.notification
       WHERE due_at <= headrace.now_ms() ORDER BY id LIMIT $1`,
      [limit],
    );
    return rows.map((row) => ({
      ...row,
      target: this.sealer.open(row.target) as never as Channel,
    }));
  }

  /** Delivered, or given up. */
  async done(id: number): Promise<void> {
    await this.database.query(`DELETE FROM headrace.notification WHERE id = $1`, [id]);
  }

  async failed(id: number, retryInMs: number): Promise<void> {
    await this.database.query(
      `UPDATE headrace.notification SET failed_attempts = failed_attempts + 1,
         due_at = headrace.now_ms() + $2::bigint WHERE id = $1`,
      [id, retryInMs],
    );
  }

  private async enqueue(tx: Queryable, messages: readonly NewNotification[]): Promise<void> {
    for (const { target, message } of messages) {
      await tx.query(
        `INSERT INTO headrace.notification (target, message) VALUES ($1::json, $2::json)`,
        [this.sealer.seal({ ...target }), JSON.stringify(message)],
      );
    }
    await tx.query(
      `DELETE FROM headrace.notification WHERE id <= (
         SELECT max(id) FROM (SELECT id FROM headrace.notification ORDER BY id DESC
           OFFSET ${MOST_WAITING}) AS beyond)`,
    );
  }
}
