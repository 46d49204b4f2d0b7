import type { FastifyInstance } from 'fastify';
import Type from 'typebox';
import type { Actor, ActorKind } from '../../core/store/actors.ts';
import { ActorCalls } from './actor-routes.ts';
import type { ApiContext } from './api-context.ts';
import { maskSecrets } from './connector-config.ts';
import { page, uuid, workspacesOf } from './public-page.ts';
import { addPublicRoute, PAGE_QUERY, WORKSPACE_QUERY } from './public-route.ts';
import { InvalidRequest, Json, Text, Uuid, WorkspaceRef } from './request-body.ts';

const Create = Type.Object({
  name: Text,
  workspaceId: WorkspaceRef,
  definitionId: Type.Optional(Uuid),
  configuration: Json,
});
const Change = Type.Object({ name: Type.Optional(Text), configuration: Type.Optional(Json) });
const List = Type.Object({ ...PAGE_QUERY, ...WORKSPACE_QUERY });

export function addPublicActors(scope: FastifyInstance, context: ApiContext): void {
  addKind(scope, context, 'source');
  addKind(scope, context, 'destination');
}

function addKind(scope: FastifyInstance, context: ApiContext, kind: ActorKind): void {
  const calls = new ActorCalls(kind, context);
  const { actors } = context.store;
  const read = (actor: Actor): Promise<object> => publicRead(calls, kind, actor);
  addPublicRoute(scope, `GET /${kind}s`, { query: List }, async ({ query, request }) => {
    const ids = await workspacesOf(context.store, query);
    const found = (await Promise.all(ids.map((id) => actors.list(kind, id)))).flat();
    return page(request, await Promise.all(found.map(read)));
  });
  addPublicRoute(scope, `POST /${kind}s`, { body: Create }, async ({ body }) => {
    const { configuration, definitionId, ...given } = body;
    const type = configuration[`${kind}Type`];
    const definition = definitionId ?? (typeof type === 'string' ? type : undefined);
    if (definition === undefined) {
      throw new InvalidRequest([{ propertyPath: 'definitionId', message: 'is required' }]);
    }
    return read(
      await calls.create(definition, { ...given, connectionConfiguration: configuration }),
    );
  });
  addPublicRoute(scope, `GET /${kind}s/:id`, {}, async ({ id }) =>
    read(await calls.live(uuid(id))),
  );
  for (const method of ['PATCH', 'PUT'] as const) {
    addPublicRoute(scope, `${method} /${kind}s/:id`, { body: Change }, async ({ id, body }) => {
      const stored = await calls.live(uuid(id));
      await calls.update(stored.id, {
        name: body.name ?? stored.name,
        connectionConfiguration: body.configuration ?? stored.configuration,
      });
      return read(await calls.live(stored.id));
    });
  }
  addPublicRoute(scope, `DELETE /${kind}s/:id`, {}, async ({ id }) => {
    await actors.remove(kind, (await calls.live(uuid(id))).id);
    return undefined;
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
