import { randomUUID } from 'node:crypto';
import type { Queryable } from './database.ts';
import type { Sealer } from './sealer.ts';
import { notFound } from './workspaces.ts';

export type OperatorType = 'normalization' | 'dbt' | 'webhook';

/** Airbyte's operatorConfiguration; the part that the type names is set. */
export interface OperatorConfiguration {
  readonly operatorType: OperatorType;
  readonly normalization?: { readonly option?: string };
  readonly dbt?: {
    readonly gitRepoUrl: string;
    readonly gitRepoBranch?: string;
    readonly dockerImage?: string;
    readonly dbtArguments?: string;
  };
  readonly webhook?: { readonly executionUrl: string; readonly executionBody?: string };
}

export interface Operation {
  readonly id: string;
  readonly workspaceId: string;
  readonly name: string;
  readonly configuration: OperatorConfiguration;
}

const COLUMNS = `id, workspace_id AS "workspaceId", name, configuration`;

/** What connections do beside moving rows: normalization while they do, the others after a sync. */
export class Operations {
  private readonly database: Queryable;
  private readonly sealer: Sealer;

  constructor(database: Queryable, sealer: Sealer) {
    this.database = database;
    this.sealer = sealer;
  }

  async create(operation: Omit<Operation, 'id'>): Promise<Operation> {
    const id = randomUUID();
    const { workspaceId, name, configuration } = operation;
    await this.database.query(
      `INSERT INTO headrace.operation (id, workspace_id, name, operator_type, configuration)
       VALUES ($1, $2, $3, $4, $5::json)`,
      [id, workspaceId, name, configuration.operatorType, this.seal(configuration)],
    );
    return { ...operation, id };
  }

  /** Throws API_NOT_FOUND. */
  async get(id: string): Promise<Operation> {
    const [found] = await this.among([id]);
    if (found === undefined) throw notFound('operation', id);
    return found;
  }

  /** In the order of the ids; deleted ones are left out. */
  async among(ids: readonly string[]): Promise<Operation[]> {
    const rows = await this.database.query<Operation>(
      `SELECT ${COLUMNS} FROM headrace.operation WHERE id = ANY($1::uuid[]) AND NOT deprecated`,
      [ids],
    );
    return ids.flatMap((id) => {
      const row = rows.find((each) => each.id === id);
      if (row === undefined) return [];
      const opened: unknown = this.sealer.open(row.configuration as never);
      return [{ ...row, configuration: opened as OperatorConfiguration }];
    });
  }

  async update(
    id: string,
    change: { readonly name: string; readonly configuration: OperatorConfiguration },
  ): Promise<void> {
    await this.database.query(
      `UPDATE headrace.operation SET name = $2, operator_type = $3, configuration = $4::json
       WHERE id = $1`,
      [id, change.name, change.configuration.operatorType, this.seal(change.configuration)],
    );
  }

  /** Connections that name it go on without it. */
  async remove(id: string): Promise<void> {
    await this.database.query(`UPDATE headrace.operation SET deprecated = true WHERE id = $1`, [
      id,
    ]);
  }

  private seal(configuration: OperatorConfiguration): string {
    return this.sealer.seal({ ...configuration });
  }
}

/** True when an operation of the connection in `table` asks for basic tables. */
export function normalizesSql(table: string): string {
  return `EXISTS (SELECT 1 FROM headrace.operation o
    WHERE NOT o.deprecated AND o.operator_type = 'normalization' AND o.id::text IN (
      SELECT json_array_elements_text(${table}.document->'operationIds')))`;
}

/** A destination's configuration for a connection that has an operation of type normalization: it
 * goes before what the destination says itself. Destinations without such tables pass it over. */
export function withNormalization(configuration: Record<string, unknown>): Record<string, unknown> {
  const { Normalization: _, disable_type_dedupe: __, ...rest } = configuration;
  return { ...rest, normalization: { option: 'basic' } };
}
