import { randomUUID } from 'node:crypto';
import { deprecateConnection } from './actors.ts';
import type { ConnectionDocument, ConnectionStatus } from './connection-document.ts';
import type { Database } from './database.ts';
import { recordEvent } from './events.ts';
import { cancelOpenJob } from './job-changes.ts';
import { queryMany } from './many-rows.ts';
import { notFound } from './workspaces.ts';

export interface Connection {
  readonly id: string;
  readonly workspaceId: string;
  readonly sourceId: string;
  readonly destinationId: string;
  readonly status: ConnectionStatus;
  readonly document: ConnectionDocument;
  /** Epoch milliseconds. */
  readonly createdAt: number;
}

export type NewConnection = Omit<Connection, 'id' | 'createdAt'>;

const COLUMNS = `id, workspace_id AS "workspaceId", source_id AS "sourceId",
  destination_id AS "destinationId", status, document, created_at AS "createdAt"`;

const SCHEDULE_CHANGED = `(document->'scheduleType')::text || (document->'scheduleData')::text
  IS DISTINCT FROM ($2::json->'scheduleType')::text || ($2::json->'scheduleData')::text`;

export interface ScheduledConnection extends Connection {
  readonly lastJobAt: number | null;
  readonly scheduledAt: number;
}

export class Connections {
  private readonly database: Database;

  constructor(database: Database) {
    this.database = database;
  }

  async create(connection: NewConnection): Promise<Connection> {
    const id = randomUUID();
    const rows = await this.database.query<Connection>(
      `INSERT INTO headrace.connection
         (id, workspace_id, source_id, destination_id, status, document)
       VALUES ($1, $2, $3, $4, $5, $6::json) RETURNING ${COLUMNS}`,
      [
        id,
        connection.workspaceId,
        connection.sourceId,
        connection.destinationId,
        connection.status,
        JSON.stringify(connection.document),
      ],
    );
    return rows[0] as Connection;
  }

  /** Deprecated ones too. Throws API_NOT_FOUND. */
  async get(id: string): Promise<Connection> {
    const [found] = await this.database.query<Connection>(
      `SELECT ${COLUMNS} FROM headrace.connection WHERE id = $1`,
      [id],
    );
    if (found === undefined) throw notFound('connection', id);
    return found;
  }

  /** Without deprecated ones. */
  list(workspaceId: string): Promise<Connection[]> {
    return queryMany<Connection>(
      this.database,
      `SELECT ${COLUMNS} FROM headrace.connection
       WHERE workspace_id = $1 AND status <> 'deprecated' ORDER BY created_at, id`,
      [workspaceId],
    );
  }

  /** Those of `list`, in its order. A version stands for a connection's status and document. */
  versions(workspaceId: string): Promise<{ id: string; version: number }[]> {
    return queryMany(
      this.database,
      `SELECT id, version FROM headrace.connection
       WHERE workspace_id = $1 AND status <> 'deprecated' ORDER BY created_at, id`,
      [workspaceId],
    );
  }

  /** Without those that are not there; `version` is read with them. */
  async among(ids: readonly string[]): Promise<(Connection & { readonly version: number })[]> {
    if (ids.length === 0) return [];
    return queryMany(
      this.database,
      `SELECT ${COLUMNS}, version FROM headrace.connection WHERE id = ANY($1::uuid[])`,
      [ids],
    );
  }

  listAll(workspaceId: string): Promise<Connection[]> {
    return queryMany<Connection>(
      this.database,
      `SELECT ${COLUMNS} FROM headrace.connection WHERE workspace_id = $1 ORDER BY created_at, id`,
      [workspaceId],
    );
  }

  /** Active ones that wait for a clock. `lastJobAt`: when the newest job was made, or the run that it
   * was made for when that is later (another clock was behind); null before the first. */
  scheduled(): Promise<ScheduledConnection[]> {
    return this.database.query<ScheduledConnection>(
      `SELECT ${COLUMNS}, scheduled_at AS "scheduledAt",
         (SELECT max(greatest(j.created_at, coalesce(j.slot, 0)))
          FROM headrace.job j WHERE j.connection_id = connection.id) AS "lastJobAt"
       FROM headrace.connection
       WHERE status = 'active' AND document->>'scheduleType' IN ('basic', 'cron') ORDER BY id`,
    );
  }

  /** Replaces document and status; a status of `deprecated` is a delete. */
  async update(
    id: string,
    change: { status: ConnectionStatus; document: ConnectionDocument },
  ): Promise<void> {
    await this.database.transaction(async (tx) => {
      await tx.query(
        `UPDATE headrace.connection SET document = $2::json, status = $3, version = version + 1,
           scheduled_at = CASE WHEN ${SCHEDULE_CHANGED} THEN headrace.now_ms() ELSE scheduled_at END
         WHERE id = $1`,
        [id, JSON.stringify(change.document), change.status],
      );
      if (change.status === 'inactive') await cancelOpenJob(tx, id);
      if (change.status === 'deprecated') await deprecateConnection(tx, id);
    });
  }

  /** Makes an active connection inactive, with the reason in its document and an event; false when it
   * was not active. Its source's slot stays: the reason says so. */
  async switchOff(id: string, statusReason: string): Promise<boolean> {
    return this.database.transaction(async (tx) => {
      const [found] = await tx.query<{ document: ConnectionDocument }>(
        `SELECT document FROM headrace.connection WHERE id = $1 AND status = 'active' FOR UPDATE`,
        [id],
      );
      if (found === undefined) return false;
      await tx.query(
        `UPDATE headrace.connection SET document = $2::json, status = 'inactive',
           version = version + 1 WHERE id = $1`,
        [id, JSON.stringify({ ...found.document, statusReason })],
      );
      await cancelOpenJob(tx, id);
      await recordEvent(tx, { kind: 'disabled', connectionId: id, details: { statusReason } });
      return true;
    });
  }

  /** Told of once for a row of failures; `details` is of plain values. */
  async warn(id: string, details: Readonly<Record<string, unknown>>): Promise<void> {
    await recordEvent(this.database, { kind: 'disable_warning', connectionId: id, details });
  }

  async remove(id: string): Promise<void> {
    const { status } = await this.get(id);
    if (status === 'deprecated') return;
    await this.database.transaction((tx) => deprecateConnection(tx, id));
  }
}
