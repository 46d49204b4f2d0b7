import type { FastifyInstance, FastifyReply, FastifyRequest, HTTPMethods } from 'fastify';
import Type, { type Static, type TSchema } from 'typebox';
import { roomFor } from './api-context.ts';
import { bodyReader, Text } from './request-body.ts';

export interface PublicCall<B, Q> {
  /** What stands for `:id` in the path; empty where there is none. */
  readonly id: string;
  /** What stands for `:definitionId`, likewise. */
  readonly definitionId: string;
  readonly body: B;
  readonly query: Q;
  readonly request: FastifyRequest;
}

const Nothing = Type.Object({});

/** Page bounds, of every list. */
export const PAGE_QUERY = {
  limit: Type.Optional(Type.String({ pattern: String.raw`^\d{1,9}$` })),
  offset: Type.Optional(Type.String({ pattern: String.raw`^\d{1,9}$` })),
};

/** Workspaces as a repeated parameter or separated by commas. */
export const WORKSPACE_QUERY = {
  workspaceIds: Type.Optional(Type.Union([Text, Type.Array(Text)])),
};

/** A route of the public API: validated by its shapes, which the OpenAPI document shows. Undefined
 * answers 204. */
export function addPublicRoute<
  B extends TSchema = typeof Nothing,
  Q extends TSchema = typeof Nothing,
>(
  scope: FastifyInstance,
  route: `${'GET' | 'POST' | 'PATCH' | 'PUT' | 'DELETE'} /${string}`,
  shapes: { readonly body?: B; readonly query?: Q },
  answer: (call: PublicCall<Static<B>, Static<Q>>) => Promise<object | undefined>,
): void {
  const [method = '', url = ''] = route.split(' ');
  const readBody = bodyReader(shapes.body ?? Nothing);
  const readQuery = bodyReader(shapes.query ?? Nothing);
  scope.route<{ Params: { id?: string; definitionId?: string } }>({
    method: method as HTTPMethods,
    url,
    config: shapes,
    ...(shapes.body === undefined ? {} : roomFor(shapes.body)),
    async handler(request, reply): Promise<FastifyReply> {
      const result = await answer({
        id: request.params.id ?? '',
        definitionId: request.params.definitionId ?? '',
        body: readBody(shapes.body === undefined ? {} : request.body) as Static<B>,
        query: readQuery({ ...(request.query as object) }) as Static<Q>,
        request,
      });
      return result === undefined ? reply.code(204).send() : reply.send(result);
    },
  });
}
