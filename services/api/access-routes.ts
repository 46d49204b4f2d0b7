import type { FastifyInstance } from 'fastify';
import Type from 'typebox';
import { PipelineError } from '../../core/errors/pipeline-error.ts';
import { ROLES, type AccessToken } from '../../core/store/access-tokens.ts';
import { addCall, type ApiContext } from './api-context.ts';
import { Uuid } from './request-body.ts';

const PAGE_SIZE = 100;

const TokenCreate = Type.Object({
  name: Type.String({ pattern: '^[A-Za-z0-9][A-Za-z0-9 ._@-]{0,62}$' }),
  role: Type.Enum([...ROLES]),
});

const Page = Type.Object({
  pagination: Type.Optional(
    Type.Object({
      pageSize: Type.Optional(Type.Integer({ minimum: 1, maximum: 1000 })),
      rowOffset: Type.Optional(Type.Integer({ minimum: 0, maximum: 1_000_000_000 })),
    }),
  ),
});

/** Named tokens, and what was done with them. Airbyte has no such calls. */
export function addAccessRoutes(
  app: FastifyInstance,
  { store }: ApiContext,
  apiToken: string | null,
): void {
  addCall(app, 'tokens/create', TokenCreate, async ({ name, role }) => {
    if (apiToken === null || name === 'admin') {
      const why =
        apiToken === null
          ? 'HEADRACE_API_TOKEN is not set: nobody is asked for a token'
          : 'name is taken';
      throw new PipelineError('API_INVALID_REQUEST', why);
    }
    const { token, ...made } = await store.tokens.create(name, role);
    return { ...read(made), token };
  });
  addCall(app, 'tokens/list', Type.Object({}), async () => ({
    tokens: (await store.tokens.list()).map(read),
  }));
  addCall(app, 'tokens/revoke', Type.Object({ tokenId: Uuid }), async ({ tokenId }) => {
    await store.tokens.revoke(tokenId);
    return undefined;
  });
  addCall(app, 'audit/list', Page, async ({ pagination }) => ({
    entries: await store.audit.list(pagination?.pageSize ?? PAGE_SIZE, pagination?.rowOffset ?? 0),
  }));
}

function read({ id, createdAt, ...token }: AccessToken): object {
  return { tokenId: id, ...token, createdAt: Math.floor(createdAt / 1000) };
}
