import type { Queryable } from './database.ts';

export interface AuditEntry {
  /** Name of the token, or `anonymous` where none is asked for. */
  readonly who: string;
  /** Address that the call came from. */
  readonly address: string;
  /** Method and route: `POST /api/v1/sources/update`. */
  readonly call: string;
  /** Ids in the request and in the answer, by their field: `{"sourceId": "..."}`. */
  readonly objects: Readonly<Record<string, string>>;
  /** Names of the fields that the request carried, never a value (invariant 8). */
  readonly fields: readonly string[];
  readonly status: number;
}

export interface StoredAuditEntry extends AuditEntry {
  readonly id: number;
  /** Epoch milliseconds. */
  readonly at: number;
}

const KEPT_MS = 400 * 24 * 60 * 60 * 1000;

/** What was changed or refused through the API; nothing rewrites it, and it is kept for 400 days. */
export class AuditLog {
  private readonly database: Queryable;

  constructor(database: Queryable) {
    this.database = database;
  }

  async add(entry: AuditEntry): Promise<void> {
    await this.database.query(
      `INSERT INTO headrace.audit (who, address, call, objects, fields, status)
       VALUES ($1, $2, $3, $4::json, $5::json, $6)`,
      [
        entry.who,
        entry.address,
        entry.call,
        JSON.stringify(entry.objects),
        JSON.stringify(entry.fields),
        entry.status,
      ],
    );
  }

  /** Newest first. */
  list(limit: number, offset: number): Promise<StoredAuditEntry[]> {
    return this.database.query<StoredAuditEntry>(
      `SELECT id, at, who, address, call, objects, fields, status FROM headrace.audit
       ORDER BY id DESC LIMIT $1 OFFSET $2`,
      [limit, offset],
    );
  }

  /** Forgets what is older than is kept. */
  async prune(): Promise<void> {
    await this.database.query(
      `DELETE FROM headrace.audit WHERE at < headrace.now_ms() - $1::bigint`,
      [KEPT_MS],
    );
  }
}
