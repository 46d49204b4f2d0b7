import type { FastifyInstance } from 'fastify';
import Type from 'typebox';
import type { Actor, ActorKind } from '../../core/store/actors.ts';
import { ActorCalls } from './actor-routes.ts';
import { type ApiContext, workspaceId } from './api-context.ts';
import { maskSecrets } from './connector-config.ts';
import { page, uuid } from './public-page.ts';
import { bodyReader, InvalidRequest, Json, Text, Uuid, WorkspaceRef } from './request-body.ts';
import { DEFAULT_WORKSPACE_ID } from '../../core/store/workspaces.ts';

const readCreate = bodyReader(
  Type.Object({
    name: Text,
    workspaceId: WorkspaceRef,
    definitionId: Type.Optional(Uuid),
    configuration: Json,
  }),
);
const readPatch = bodyReader(
  Type.Object({ name: Type.Optional(Text), configuration: Type.Optional(Json) }),
);

export function addPublicActors(scope: FastifyInstance, context: ApiContext): void {
  addKind(scope, context, 'source');
  addKind(scope, context, 'destination');
}

function addKind(scope: FastifyInstance, context: ApiContext, kind: ActorKind): void {
  const calls = new ActorCalls(kind, context);
  const { actors } = context.store;
  const read = (actor: Actor): Promise<object> => publicRead(calls, kind, actor);
  scope.get(`/${kind}s`, async (request) => {
    const { workspaceIds } = request.query as { workspaceIds?: string | string[] };
    const asked = [workspaceIds ?? DEFAULT_WORKSPACE_ID].flat().flatMap((ids) => ids.split(','));
    const ids = await Promise.all(asked.map((id) => workspaceId(context.store, id)));
    const found = (await Promise.all(ids.map((id) => actors.list(kind, id)))).flat();
    return page(request, await Promise.all(found.map(read)));
  });
  scope.post(`/${kind}s`, async ({ body }) => {
    const { configuration, definitionId, ...given } = readCreate(body);
    const type = configuration[`${kind}Type`];
    const definition = definitionId ?? (typeof type === 'string' ? type : undefined);
    if (definition === undefined) {
      throw new InvalidRequest([{ propertyPath: 'definitionId', message: 'is required' }]);
    }
    return read(
      await calls.create(definition, { ...given, connectionConfiguration: configuration }),
    );
  });
  const path = `/${kind}s/:id`;
  scope.get<{ Params: { id: string } }>(path, async ({ params }) =>
    read(await calls.live(uuid(params.id))),
  );
  const change = async (id: string, body: unknown): Promise<object> => {
    const stored = await calls.live(uuid(id));
    const { name, configuration } = readPatch(body);
    await calls.update(stored.id, {
      name: name ?? stored.name,
      connectionConfiguration: configuration ?? stored.configuration,
    });
    return read(await calls.live(stored.id));
  };
  for (const method of ['PATCH', 'PUT'] as const) {
    scope.route<{ Params: { id: string } }>({
      method,
      url: path,
      handler: ({ params, body }) => change(params.id, body),
    });
  }
  scope.delete<{ Params: { id: string } }>(path, async ({ params }, reply) => {
    await calls.live(uuid(params.id));
    await actors.remove(kind, params.id);
    return reply.code(204).send();
  });
}

/** The configuration as given, with the type that the SDK tells classes apart by. */
async function publicRead(calls: ActorCalls, kind: ActorKind, actor: Actor): Promise<object> {
  const { spec } = await calls.shelf.load(actor.connector);
  return {
    [`${kind}Id`]: actor.id,
    name: actor.name,
    [`${kind}Type`]: spec.name,
    definitionId: actor.definitionId,
    workspaceId: actor.workspaceId,
    configuration: {
      [`${kind}Type`]: spec.name,
      ...maskSecrets(spec, actor.configuration),
    },
    createdAt: Math.floor(actor.createdAt / 1000),
  };
}
