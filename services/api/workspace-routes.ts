import type { FastifyInstance } from 'fastify';
import Type from 'typebox';
import type { Workspace } from '../../core/store/workspaces.ts';
import { addCall, workspaceId, type ApiContext } from './api-context.ts';
import { WorkspaceRef } from './request-body.ts';

export function addWorkspaceRoutes(app: FastifyInstance, { store }: ApiContext): void {
  addCall(app, 'workspaces/list', Type.Object({}), async () => ({
    workspaces: (await store.workspaces.list()).map(read),
  }));
  addCall(app, 'workspaces/get', Type.Object({ workspaceId: WorkspaceRef }), async (body) =>
    read(await store.workspaces.get(await workspaceId(store, body.workspaceId))),
  );
  addCall(app, 'workspaces/get_by_slug', Type.Object({ slug: WorkspaceRef }), async (body) =>
    read(await store.workspaces.get(await workspaceId(store, body.slug))),
  );
}

function read(workspace: Workspace): object {
  return {
    workspaceId: workspace.id,
    customerId: workspace.customerId,
    name: workspace.name,
    slug: workspace.slug,
    initialSetupComplete: true,
    displaySetupWizard: false,
    notifications: [],
    defaultGeography: 'auto',
    ...workspace.document,
  };
}
