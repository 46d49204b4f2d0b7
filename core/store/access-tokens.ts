import { createHash, randomBytes, randomUUID } from 'node:crypto';
import { PipelineError } from '../errors/pipeline-error.ts';
import type { Queryable } from './database.ts';
import { notFound } from './workspaces.ts';

/** Each may do what the ones before it may. */
export const ROLES = ['viewer', 'operator', 'admin'] as const;
export type Role = (typeof ROLES)[number];

export interface AccessToken {
  readonly id: string;
  readonly name: string;
  readonly role: Role;
  /** Epoch milliseconds. */
  readonly createdAt: number;
}

const COLUMNS = `id, name, role, created_at AS "createdAt"`;
const TOKEN_BYTES = 32;

/** Named tokens beside HEADRACE_API_TOKEN. A token is shown once, when it is made; what is stored is
 * its SHA-256, which is enough for 32 random bytes. */
export class AccessTokens {
  private readonly database: Queryable;

  constructor(database: Queryable) {
    this.database = database;
  }

  /** Throws API_INVALID_REQUEST for a name that a valid token has. */
  async create(name: string, role: Role): Promise<AccessToken & { readonly token: string }> {
    const token = `hr_${randomBytes(TOKEN_BYTES).toString('base64url')}`;
    const [row] = await this.database.query<AccessToken>(
      `INSERT INTO headrace.access_token (id, name, role, digest) VALUES ($1, $2, $3, $4)
       ON CONFLICT (name) WHERE revoked_at IS NULL DO NOTHING RETURNING ${COLUMNS}`,
      [randomUUID(), name, role, digestOf(token)],
    );
    if (row !== undefined) return { ...row, token };
    throw new PipelineError('API_INVALID_REQUEST', 'name is the name of another valid token');
  }

  /** Without revoked ones. */
  list(): Promise<AccessToken[]> {
    return this.database.query<AccessToken>(
      `SELECT ${COLUMNS} FROM headrace.access_token WHERE revoked_at IS NULL ORDER BY created_at, id`,
    );
  }

  /** Its next call is refused. Throws API_NOT_FOUND. */
  async revoke(id: string): Promise<void> {
    const revoked = await this.database.query(
      `UPDATE headrace.access_token SET revoked_at = headrace.now_ms()
       WHERE id = $1 AND revoked_at IS NULL RETURNING id`,
      [id],
    );
    if (revoked.length === 0) throw notFound('token', id);
  }

  /** The valid token with this text; looked up by its digest, which tells nothing by its time. */
  async find(token: string): Promise<AccessToken | null> {
    const [found] = await this.database.query<AccessToken>(
      `SELECT ${COLUMNS} FROM headrace.access_token WHERE digest = $1 AND revoked_at IS NULL`,
      [digestOf(token)],
    );
    return found ?? null;
  }
}

function digestOf(token: string): string {
  return createHash('sha256').update(token).digest('hex');
}
