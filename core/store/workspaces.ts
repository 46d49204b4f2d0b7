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
      `SELECT ${COLUMNS} FROM headrace.workspace ORDER BY created_at`,
    );
  }

  /** By id; throws API_NOT_FOUND. */
  async get(id: string): Promise<Workspace> {
    const [found] = await this.database.query<Workspace>(
      `SELECT ${COLUMNS} FROM headrace.workspace WHERE id = $1`,
      [id],
    );
    if (found === undefined) throw notFound('workspace', id);
    return found;
  }
}

/** Airbyte's wording, which its clients match. */
export function notFound(kind: string, id: string | number): PipelineError {
  return new PipelineError('API_NOT_FOUND', `Could not find configuration for ${kind}: ${id}.`, {
    details: { id },
  });
}
