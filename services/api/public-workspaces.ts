import type { FastifyInstance } from 'fastify';
import Type from 'typebox';
import type { ConnectorSpec } from '../../connectors/spi/connector.ts';
import type { Workspace } from '../../core/store/workspaces.ts';
import { workspaceId, type ApiContext } from './api-context.ts';
import { specOf } from './definition-routes.ts';
import { page } from './public-page.ts';
import { addPublicRoute, PAGE_QUERY, WORKSPACE_QUERY } from './public-route.ts';
import { removeWorkspace } from './workspace-routes.ts';

const List = Type.Object({ ...PAGE_QUERY, ...WORKSPACE_QUERY });
const Name = Type.String({ minLength: 1, maxLength: 200 });

export function addPublicWorkspaces(scope: FastifyInstance, context: ApiContext): void {
  const { store } = context;
  const { workspaces } = store;
  addPublicRoute(scope, 'GET /workspaces', { query: List }, async ({ request }) =>
    page(request, (await workspaces.list()).map(read)),
  );
  addPublicRoute(
    scope,
    'POST /workspaces',
    { body: Type.Object({ name: Name }) },
    async ({ body }) => read(await workspaces.create(body.name, {})),
  );
  addPublicRoute(scope, 'GET /workspaces/:id', {}, async ({ id }) =>
    read(await workspaces.get(await workspaceId(store, id))),
  );
  const Change = Type.Object({ name: Type.Optional(Name) });
  addPublicRoute(scope, 'PATCH /workspaces/:id', { body: Change }, async (call) => {
    const id = await workspaceId(store, call.id);
    await workspaces.update(id, call.body);
    return read(await workspaces.get(id));
  });
  addPublicRoute(scope, 'DELETE /workspaces/:id', {}, async ({ id }) => {
    await removeWorkspace(store, await workspaceId(store, id));
    return undefined;
  });
  addDefinitions(scope, context);
}

/** The same definitions in every workspace. */
function addDefinitions(scope: FastifyInstance, { store, connectors }: ApiContext): void {
  for (const kind of ['sources', 'destinations'] as const) {
    const shelf = connectors[kind];
    const path = `GET /workspaces/:id/definitions/${kind}` as const;
    addPublicRoute(scope, path, { query: Type.Object(PAGE_QUERY) }, async ({ id, request }) => {
      await workspaceId(store, id);
      const loaded = await Promise.all(shelf.names.map((name) => shelf.load(name)));
      return page(
        request,
        loaded.map(({ spec }) => definitionRead(spec)),
      );
    });
    addPublicRoute(scope, `${path}/:definitionId`, {}, async ({ id, definitionId }) => {
      await workspaceId(store, id);
      return definitionRead(await specOf(shelf, definitionId));
    });
  }
}

function definitionRead(spec: ConnectorSpec): object {
  return {
    id: spec.definitionId,
    name: spec.title,
    dockerRepository: spec.dockerRepository,
    dockerImageTag: '0.1.0',
    documentationUrl: spec.documentationUrl,
  };
}

function read({ id, name }: Workspace): object {
  return { workspaceId: id, name, dataResidency: 'auto', notifications: {} };
}
