import { randomUUID } from 'node:crypto';
import type { Queryable } from './database.ts';
import { notFound } from './workspaces.ts';

/** Airbyte's operation: `configuration` is its operatorConfiguration. */
export interface Operation {
  readonly id: string;
  readonly workspaceId: string;
  readonly name: string;
  readonly configuration: Record<string, unknown>;
}

const COLUMNS = `id, workspace_id AS "workspaceId", name, configuration`;

export class Operations {
  private readonly database: Queryable;

  constructor(database: Queryable) {
    this.database = database;
  }

  async create(operation: Omit<Operation, 'id'>): Promise<Operation> {
    const id = randomUUID();
    await this.database.query(
      `INSERT INTO headrace.operation (id, workspace_id, name, configuration)
       VALUES ($1, $2, $3, $4::json)`,
      [id, operation.workspaceId, operation.name, JSON.stringify(operation.configuration)],
    );
    return { ...operation, id };
  }

  /** Throws API_NOT_FOUND. */
  async get(id: string): Promise<Operation> {
    const [found] = await this.database.query<Operation>(
      `SELECT ${COLUMNS} FROM headrace.operation WHERE id = $1 AND NOT deprecated`,
      [id],
    );
    if (found === undefined) throw notFound('operation', id);
    return found;
  }
}
