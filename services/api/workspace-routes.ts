import type { FastifyInstance } from 'fastify';
import Type from 'typebox';
import type { Store } from '../../core/store/store.ts';
import type { Workspace } from '../../core/store/workspaces.ts';
import { addCall, workspaceId, type ApiContext } from './api-context.ts';
import {
  maskNotifications,
  notificationFields,
  updateNotifications,
} from './notification-requests.ts';
import { WorkspaceRef } from './request-body.ts';

/** A patch: what is left out stays as it is. */
const WorkspaceUpdate = Type.Object({ workspaceId: WorkspaceRef, ...notificationFields });

export function addWorkspaceRoutes(app: FastifyInstance, { store }: ApiContext): void {
  addCall(app, 'workspaces/list', Type.Object({}), async () => ({
    workspaces: await Promise.all(
      (await store.workspaces.list()).map((workspace) => read(store, workspace)),
    ),
  }));
  addCall(app, 'workspaces/update', WorkspaceUpdate, async (body) => {
    const id = await workspaceId(store, body.workspaceId);
    await updateNotifications(store, id, body);
    return read(store, await store.workspaces.get(id));
  });
  addCall(app, 'workspaces/get', Type.Object({ workspaceId: WorkspaceRef }), async (body) =>
    read(store, await store.workspaces.get(await workspaceId(store, body.workspaceId))),
  );
  addCall(app, 'workspaces/get_by_slug', Type.Object({ slug: WorkspaceRef }), async (body) =>
    read(store, await store.workspaces.get(await workspaceId(store, body.slug))),
  );
}

async function read(store: Store, workspace: Workspace): Promise<object> {
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
    ...maskNotifications(await store.notifications.settings(workspace.id)),
  };
}
