import { randomUUID } from 'node:crypto';
import type { Database, Queryable } from './database.ts';
import { cancelOpenJob } from './job-changes.ts';
import { queryMany } from './many-rows.ts';
import type { Sealer } from './sealer.ts';
import { notFound } from './workspaces.ts';

export type ActorKind = 'source' | 'destination';

export interface Actor {
  readonly id: string;
  readonly workspaceId: string;
  readonly kind: ActorKind;
  readonly name: string;
  readonly definitionId: string;
  readonly connector: string;
  /** As the client gave it, secrets in clear. */
  readonly configuration: Record<string, unknown>;
  /** Epoch milliseconds. */
  readonly createdAt: number;
}

export type NewActor = Omit<Actor, 'id' | 'createdAt'>;

const COLUMNS = `id, workspace_id AS "workspaceId", kind, name,
  definition_id AS "definitionId", connector, configuration,
  created_at AS "createdAt"`;

export class Actors {
  private readonly database: Database;
  private readonly sealer: Sealer;

  constructor(database: Database, sealer: Sealer) {
    this.database = database;
    this.sealer = sealer;
  }

  async create(actor: NewActor): Promise<Actor> {
    const id = randomUUID();
    const createdAt = await this.database.transaction(async (tx) => {
      // Two sources of one name created at once must not get one capture name.
      await tx.query(`LOCK TABLE headrace.actor IN SHARE ROW EXCLUSIVE MODE`);
      const captureName = await freeCaptureName(tx, actor);
      const [row] = await tx.query<{ at: number }>(
        `INSERT INTO headrace.actor
           (id, workspace_id, kind, name, capture_name, definition_id, connector, configuration)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8::json)
         RETURNING created_at AS at`,
        [
          id,
          actor.workspaceId,
          actor.kind,
          actor.name,
          captureName,
          actor.definitionId,
          actor.connector,
          this.sealer.seal(actor.configuration),
        ],
      );
      return row?.at ?? 0;
    });
    return { ...actor, id, createdAt };
  }

  /** Also a deleted one: its connections still name it. Throws API_NOT_FOUND. */
  async get(kind: ActorKind, id: string): Promise<Actor> {
    const [found] = await this.select(`kind = $1 AND id = $2`, [kind, id]);
    if (found === undefined) throw notFound(kind, id);
    return found;
  }

  /** Not a deleted one. Throws API_NOT_FOUND. */
  async getLive(kind: ActorKind, id: string): Promise<Actor> {
    const [found] = await this.select(`kind = $1 AND id = $2 AND NOT deprecated`, [kind, id]);
    if (found === undefined) throw notFound(kind, id);
    return found;
  }

  list(kind: ActorKind, workspaceId: string): Promise<Actor[]> {
    return this.select(`kind = $1 AND workspace_id = $2 AND NOT deprecated`, [kind, workspaceId]);
  }

  async update(
    id: string,
    change: { name: string; configuration: Record<string, unknown> },
  ): Promise<void> {
    await this.database.query(
      `UPDATE headrace.actor SET name = $2, configuration = $3::json, revision = revision + 1
       WHERE id = $1`,
      [id, change.name, this.sealer.seal(change.configuration)],
    );
  }

  /** Deprecates it with all its connections. */
  async remove(kind: ActorKind, id: string): Promise<void> {
    await this.database.transaction(async (tx) => {
      const connections = await tx.query<{ id: string }>(
        `SELECT id FROM headrace.connection
         WHERE ${kind}_id = $1 AND status <> 'deprecated' ORDER BY id`,
        [id],
      );
      for (const connection of connections) await deprecateConnection(tx, connection.id);
      await tx.query(`UPDATE headrace.actor SET deprecated = true WHERE id = $1`, [id]);
    });
  }

  private async select(where: string, params: readonly unknown[]): Promise<Actor[]> {
    const rows = await queryMany<Actor>(
      this.database,
      `SELECT ${COLUMNS} FROM headrace.actor WHERE ${where} ORDER BY created_at, id`,
      params,
    );
    return rows.map((row) => ({ ...row, configuration: this.sealer.open(row.configuration) }));
  }
}

/** `prod`, then `prod-2`, `prod-3`: never one that any source, deleted ones included, has had. */
async function freeCaptureName(tx: Queryable, { kind, name }: NewActor): Promise<string> {
  const rows = await tx.query<{ taken: string }>(
    `SELECT capture_name AS taken FROM headrace.actor WHERE kind = $1`,
    [kind],
  );
  const taken = new Set(rows.map((row) => row.taken));
  for (let i = 1; ; i++) {
    const candidate = i === 1 ? name : `${name}-${i}`;
    if (!taken.has(candidate)) return candidate;
  }
}

/**
 * Soft delete. When no connection of its source is left, what the source holds for us on its server
 * is to be let go: a slot nobody reads fills that server's disk. The request is stored here and
 * carried out by the scheduler. The source begins a new life: a later connection captures it anew,
 * into topics of its own, so that rows deleted in between do not come back from the old ones.
 */
export async function deprecateConnection(tx: Queryable, id: string): Promise<void> {
  const [source] = await tx.query<{ id: string }>(
    `SELECT s.id FROM headrace.actor s JOIN headrace.connection c ON c.source_id = s.id
     WHERE c.id = $1 FOR UPDATE OF s`,
    [id],
  );
  await tx.query(
    `UPDATE headrace.connection SET status = 'deprecated', version = version + 1 WHERE id = $1`,
    [id],
  );
  await cancelOpenJob(tx, id);
  if (source === undefined) return;
  const [left] = await tx.query(
    `SELECT id FROM headrace.connection WHERE source_id = $1 AND status <> 'deprecated' LIMIT 1`,
    [source.id],
  );
  if (left !== undefined) return;
  await tx.query(
    `INSERT INTO headrace.cleanup (id, actor_id, capture_id)
     SELECT $1, id, ${captureIdSql('actor')} FROM headrace.actor WHERE id = $2`,
    [randomUUID(), source.id],
  );
  await tx.query(`UPDATE headrace.actor SET life = life + 1 WHERE id = $1`, [source.id]);
}

/** What workers know a source by: its id in its first life, `<id>-2` in its second. */
export function captureIdSql(table: string): string {
  return `${table}.id::text || ${lifeSuffixSql(table)}`;
}

export function captureNameSql(table: string): string {
  return `${table}.capture_name || ${lifeSuffixSql(table)}`;
}

function lifeSuffixSql(table: string): string {
  return `CASE WHEN ${table}.life = 1 THEN '' ELSE '-' || ${table}.life END`;
}
