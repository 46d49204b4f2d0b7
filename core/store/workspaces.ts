import { randomUUID } from 'node:crypto';
import { PipelineError } from '../errors/pipeline-error.ts';
import type { Queryable } from './database.ts';

/** The one workspace of an installation; Airbyte's own first id, so that scripts keep working. */
export const DEFAULT_WORKSPACE_ID = '5ae6b09b-fdec-41af-aaf7-7d94cfc33ef6';

export interface Workspace {
  readonly id: string;
  readonly name: string;
  readonly slug: string;
  readonly customerId: string;
  readonly document: Record<string, unknown>;
}

const COLUMNS = `id, name, slug, customer_id AS "customerId", document`;

export class Workspaces {
  private readonly database: Queryable;

  constructor(database: Queryable) {
    this.database = database;
  }

  async ensureDefault(): Promise<void> {
    await this.database.query(
      `INSERT INTO headrace.workspace (id, name, slug, customer_id, document)
       VALUES ($1, 'Default Workspace', 'default', $1, $2::json) ON CONFLICT DO NOTHING`,
      [DEFAULT_WORKSPACE_ID, JSON.stringify({ initialSetupComplete: true })],
    );
  }

  list(): Promise<Workspace[]> {
    return this.database.query<Workspace>(
      `SELECT ${COLUMNS} FROM headrace.workspace WHERE NOT deprecated ORDER BY created_at`,
    );
  }

  /** By id; throws API_NOT_FOUND. */
  async get(id: string): Promise<Workspace> {
    const [found] = await this.database.query<Workspace>(
      `SELECT ${COLUMNS} FROM headrace.workspace WHERE id = $1 AND NOT deprecated`,
      [id],
    );
    if (found === undefined) throw notFound('workspace', id);
    return found;
  }

  async create(name: string, document: Record<string, unknown>): Promise<Workspace> {
    const id = randomUUID();
    await this.database.query(
      `INSERT INTO headrace.workspace (id, name, slug, customer_id, document)
       VALUES ($1, $2, $3, $1, $4::json)`,
      [id, name, slugOf(name, id), JSON.stringify(document)],
    );
    return this.get(id);
  }

  /** Fields that are not given stay as they are. */
  async update(id: string, change: { name?: string; document?: object }): Promise<void> {
    const { name, document } = await this.get(id);
    await this.database.query(
      `UPDATE headrace.workspace SET name = $2, document = $3::json WHERE id = $1`,
      [id, change.name ?? name, JSON.stringify({ ...document, ...change.document })],
    );
  }

  /** The workspace alone: sources and destinations are removed before. */
  async remove(id: string): Promise<void> {
    await this.database.query(`UPDATE headrace.workspace SET deprecated = true WHERE id = $1`, [
      id,
    ]);
  }
}

/** Readable, and never one that another workspace has. */
function slugOf(name: string, id: string): string {
  const words = name.toLowerCase().replaceAll(/[^a-z0-9]+/g, '-');
  return `${words.replaceAll(/^-|-$/g, '').slice(0, 40)}-${id.slice(0, 8)}`;
}

/** Airbyte's wording, which its clients match. */
export function notFound(kind: string, id: string | number): PipelineError {
  return new PipelineError('API_NOT_FOUND', `Could not find configuration for ${kind}: ${id}.`, {
    details: { id },
  });
}
