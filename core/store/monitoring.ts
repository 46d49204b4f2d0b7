import { captureIdSql } from './actors.ts';
import type { Queryable } from './database.ts';
import { SUBJECT, SUBJECT_TABLES, type Subject } from './events.ts';
import type { Sealer } from './sealer.ts';
import type { ConnectionReport, SourceReport } from './work.ts';

/** A connection as the alerts service looks at it. */
export interface MonitoredConnection {
  readonly subject: Subject;
  readonly source: SourceReport | null;
  readonly sourceAgeMs: number | null;
  /** Of what its open or last job reads. */
  readonly read: SourceReport | null;
  readonly delivery: ConnectionReport | null;
  readonly deliveryAgeMs: number | null;
  /** Start of the last sync that succeeded, epoch milliseconds; null when none has. */
  readonly lastSuccessAt: number | null;
  readonly createdAt: number;
}

/** A source that holds something on its server: one that a connection, active or not, belongs to. */
export interface MonitoredSource {
  readonly captureId: string;
  readonly connector: string;
  readonly configuration: Record<string, unknown>;
  /** Connections of the source, one for the message and the others to know of. */
  readonly subjects: readonly Subject[];
  readonly isRead: boolean;
  /** A service has reported on it: what it holds on its server is its own. */
  readonly hasRun: boolean;
}

/** What the alerts service watches, each in one statement however many connections there are. */
export class Monitoring {
  private readonly database: Queryable;
  private readonly sealer: Sealer;

  constructor(database: Queryable, sealer: Sealer) {
    this.database = database;
    this.sealer = sealer;
  }

  activeConnections(): Promise<MonitoredConnection[]> {
    return this.database.query<MonitoredConnection>(
      `SELECT ${SUBJECT} AS subject, c.created_at AS "createdAt",
         sr.report AS source, headrace.now_ms() - sr.reported_at AS "sourceAgeMs",
         jr.report AS read, cr.report AS delivery, headrace.now_ms() - cr.reported_at AS "deliveryAgeMs",
         (SELECT max(created_at) FROM headrace.job j
          WHERE j.connection_id = c.id AND j.status = 'succeeded') AS "lastSuccessAt"
       FROM ${SUBJECT_TABLES}
         LEFT JOIN headrace.report sr ON sr.unit = 'source:' || ${captureIdSql('s')}
         LEFT JOIN headrace.report jr ON jr.unit = 'sync:' || c.id::text
         LEFT JOIN headrace.report cr ON cr.unit = 'connection:' || c.id::text
       WHERE c.status = 'active' ORDER BY c.id`,
    );
  }

  async sources(): Promise<MonitoredSource[]> {
    const rows = await this.database.query<MonitoredSource>(
      `SELECT ${captureIdSql('s')} AS "captureId", s.connector, s.configuration,
         json_agg(${SUBJECT} ORDER BY c.status, c.id) AS subjects,
         bool_or(c.status = 'active') AS "isRead",
         EXISTS (SELECT 1 FROM headrace.report
           WHERE unit = 'source:' || ${captureIdSql('s')}) AS "hasRun"
       FROM ${SUBJECT_TABLES}
       WHERE c.status <> 'deprecated'
       GROUP BY s.id ORDER BY s.id`,
    );
    return rows.map((row) => ({ ...row, configuration: this.sealer.open(row.configuration) }));
  }

  async saveRetainedLog(captureId: string, bytes: number): Promise<void> {
    await this.database.query(
      `INSERT INTO headrace.retained_log (capture_id, bytes, asked_at)
       VALUES ($1, $2, headrace.now_ms())
       ON CONFLICT (capture_id) DO UPDATE
         SET bytes = excluded.bytes, asked_at = excluded.asked_at`,
      [captureId, bytes],
    );
  }

  /** Null when the source was never asked, or keeps nothing for us by name. */
  async retainedLog(captureId: string): Promise<{ bytes: number; ageMs: number } | null> {
    const [row] = await this.database.query<{ bytes: number; ageMs: number }>(
      `SELECT bytes, headrace.now_ms() - asked_at AS "ageMs"
       FROM headrace.retained_log WHERE capture_id = $1`,
      [captureId],
    );
    return row ?? null;
  }
}
