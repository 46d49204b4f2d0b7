import { randomUUID } from 'node:crypto';
import type { Queryable } from './database.ts';
import { endReplay } from './replays.ts';
import type { Sealer } from './sealer.ts';
import { readWantedWork } from './wanted-work.ts';
import type {
  ConnectionReport,
  NamedStream,
  Report,
  ReportedError,
  SourceReport,
  Work,
  WorkerCommand,
  WorkStore,
} from './work.ts';

/** A report and its age by the database's clock, in milliseconds. */
export interface TimedReport<R extends Report> {
  readonly report: R;
  readonly ageMs: number;
}

/** The workers' part of the store (WorkStore), and the control plane's other end of it. */
export class WorkerStore implements WorkStore {
  private readonly database: Queryable;
  private readonly sealer: Sealer;

  constructor(database: Queryable, sealer: Sealer) {
    this.database = database;
    this.sealer = sealer;
  }

  listWork(): Promise<Work> {
    return readWantedWork(this.database, this.sealer);
  }

  /** Every active connection, whether it is delivered now or rests until its next job. */
  async listActive(): Promise<Work> {
    return readWantedWork(this.database, this.sealer, { withResting: true });
  }

  async acquireLease(unit: string, owner: string, ttlMs: number): Promise<boolean> {
    const rows = await this.database.query(
      `INSERT INTO headrace.lease AS held (unit, owner, expires_at)
       VALUES ($1, $2, headrace.now_ms() + $3::bigint)
       ON CONFLICT (unit) DO UPDATE SET owner = excluded.owner, expires_at = excluded.expires_at
         WHERE held.owner = excluded.owner OR held.expires_at < headrace.now_ms()
       RETURNING unit`,
      [unit, owner, ttlMs],
    );
    return rows.length > 0;
  }

  async releaseLease(unit: string, owner: string): Promise<void> {
    await this.database.query(`DELETE FROM headrace.lease WHERE unit = $1 AND owner = $2`, [
      unit,
      owner,
    ]);
  }

  async saveReport(unit: string, owner: string, report: Report): Promise<void> {
    await this.database.query(
      `INSERT INTO headrace.report (unit, report, reported_at)
       SELECT $1::text, $3::json, headrace.now_ms() WHERE NOT EXISTS (
         SELECT 1 FROM headrace.lease
         WHERE unit = $1::text AND owner <> $2 AND expires_at >= headrace.now_ms()
       )
       ON CONFLICT (unit) DO UPDATE
         SET report = excluded.report, reported_at = excluded.reported_at`,
      [unit, owner, JSON.stringify(report)],
    );
  }

  async takeCommands(unit: string): Promise<WorkerCommand[]> {
    const rows = await this.database.query<WorkerCommand & { seq: number }>(
      `DELETE FROM headrace.command WHERE unit = $1 RETURNING id, unit, kind, streams, seq`,
      [unit],
    );
    return rows
      .toSorted((a, b) => a.seq - b.seq)
      .map(({ id, kind, streams }) => ({ id, unit, kind, streams }));
  }

  endReplay(
    connectionId: string,
    stream: NamedStream & { readonly replay: string },
  ): Promise<void> {
    return endReplay(this.database, connectionId, stream);
  }

  /** Leaves one order for whoever runs the unit; the same order that still waits is not repeated. */
  async sendCommand(
    unit: string,
    kind: WorkerCommand['kind'],
    streams: readonly NamedStream[],
  ): Promise<void> {
    await this.database.query(
      `INSERT INTO headrace.command (id, unit, kind, streams)
       SELECT $1::uuid, $2::text, $3::text, $4::json WHERE NOT EXISTS (
         SELECT 1 FROM headrace.command
         WHERE unit = $2 AND kind = $3 AND streams::text = $4::json::text
       )`,
      [randomUUID(), unit, kind, JSON.stringify(streams)],
    );
  }

  /** Null when nothing was ever reported. */
  sourceReport(captureId: string): Promise<TimedReport<SourceReport> | null> {
    return this.report<SourceReport>(`source:${captureId}`);
  }

  /** What a connection's jobs read. */
  readReport(connectionId: string): Promise<TimedReport<SourceReport> | null> {
    return this.report<SourceReport>(`sync:${connectionId}`);
  }

  connectionReport(connectionId: string): Promise<TimedReport<ConnectionReport> | null> {
    return this.report<ConnectionReport>(`connection:${connectionId}`);
  }

  /**
   * What a process that is gone would have said of all that it worked on: its last reports with what
   * it died of. Its leases are held for it a while longer, or its successor's first report would be
   * there before a scheduler has read this one. Answers the units.
   */
  async lastWord(
    owner: string,
    died: (kind: Report['kind']) => ReportedError,
    heldForMs: number,
  ): Promise<string[]> {
    const units = await this.database.query<{ unit: string; report: Report }>(
      `SELECT unit, report FROM headrace.lease JOIN headrace.report USING (unit)
       WHERE owner = $1 ORDER BY unit`,
      [owner],
    );
    for (const { unit, report } of units) {
      if (!(await this.acquireLease(unit, owner, heldForMs))) continue;
      const error = died(report.kind);
      await this.saveReport(unit, owner, { ...report, phase: 'failed', error });
    }
    return units.map(({ unit }) => unit);
  }

  /** The unit by which workers know a connection's source now. */
  async captureIdOf(sourceId: string): Promise<string> {
    const [row] = await this.database.query<{ life: number }>(
      `SELECT life FROM headrace.actor WHERE id = $1`,
      [sourceId],
    );
    return row === undefined || row.life === 1 ? sourceId : `${sourceId}-${row.life}`;
  }

  private async report<R extends Report>(unit: string): Promise<TimedReport<R> | null> {
    const [row] = await this.database.query<{ report: R; ageMs: number }>(
      `SELECT report, headrace.now_ms() - reported_at AS "ageMs"
       FROM headrace.report WHERE unit = $1`,
      [unit],
    );
    return row ?? null;
  }
}
