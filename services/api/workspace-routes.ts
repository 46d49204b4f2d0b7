import type { FastifyInstance } from 'fastify';
import Type from 'typebox';
import type { Store } from '../../core/store/store.ts';
import { PipelineError } from '../../core/errors/pipeline-error.ts';
import { DEFAULT_WORKSPACE_ID, type Workspace } from '../../core/store/workspaces.ts';
import { addCall, workspaceId, type ApiContext } from './api-context.ts';
import {
  maskNotifications,
  notificationFields,
  updateNotifications,
} from './notification-requests.ts';
import { ConnectionId } from './connection-requests.ts';
import { Text, WorkspaceRef } from './request-body.ts';

const Maybe = Type.Optional;

/** What the first pages of a new installation ask; stored and read back. */
const preferences = {
  email: Maybe(Text),
  initialSetupComplete: Maybe(Type.Boolean()),
  displaySetupWizard: Maybe(Type.Boolean()),
  anonymousDataCollection: Maybe(Type.Boolean()),
  news: Maybe(Type.Boolean()),
  securityUpdates: Maybe(Type.Boolean()),
  feedbackDone: Maybe(Type.Boolean()),
  defaultGeography: Maybe(Type.Enum(['auto', 'us', 'eu'])),
};

const Name = Type.String({ minLength: 1, maxLength: 200 });
const WorkspaceId = Type.Object({ workspaceId: WorkspaceRef });
const WorkspaceCreate = Type.Object({ name: Name, ...preferences, ...notificationFields });
/** A patch: what is left out stays as it is. */
const WorkspaceUpdate = Type.Object({
  workspaceId: WorkspaceRef,
  ...preferences,
  ...notificationFields,
});

export function addWorkspaceRoutes(app: FastifyInstance, { store }: ApiContext): void {
  addCall(app, 'workspaces/list', Type.Object({}), async () => ({
    workspaces: await Promise.all(
      (await store.workspaces.list()).map((workspace) => read(store, workspace)),
    ),
  }));
  addCall(app, 'workspaces/update', WorkspaceUpdate, async (body) => {
    const id = await workspaceId(store, body.workspaceId);
    await store.workspaces.update(id, { document: preferencesIn(body) });
    await updateNotifications(store, id, body);
    return read(store, await store.workspaces.get(id));
  });
  addCall(app, 'workspaces/create', WorkspaceCreate, async (body) => {
    const workspace = await store.workspaces.create(body.name, preferencesIn(body));
    await updateNotifications(store, workspace.id, body);
    return read(store, workspace);
  });
  const Rename = Type.Object({ workspaceId: WorkspaceRef, name: Name });
  addCall(app, 'workspaces/update_name', Rename, async (body) => {
    const id = await workspaceId(store, body.workspaceId);
    await store.workspaces.update(id, { name: body.name });
    return read(store, await store.workspaces.get(id));
  });
  addCall(app, 'workspaces/tag_feedback_status_as_done', WorkspaceId, async (body) => {
    const id = await workspaceId(store, body.workspaceId);
    await store.workspaces.update(id, { document: { feedbackDone: true } });
    return undefined;
  });
  addCall(app, 'workspaces/delete', WorkspaceId, async (body) => {
    await removeWorkspace(store, await workspaceId(store, body.workspaceId));
    return undefined;
  });
  addCall(app, 'workspaces/get_by_connection_id', ConnectionId, async ({ connectionId }) => {
    const connection = await store.connections.get(connectionId);
    return read(store, await store.workspaces.get(connection.workspaceId));
  });
  addCall(app, 'workspaces/get', WorkspaceId, async (body) =>
    read(store, await store.workspaces.get(await workspaceId(store, body.workspaceId))),
  );
  addCall(app, 'workspaces/get_by_slug', Type.Object({ slug: WorkspaceRef }), async (body) =>
    read(store, await store.workspaces.get(await workspaceId(store, body.slug))),
  );
}

function preferencesIn(body: object): Record<string, unknown> {
  return Object.fromEntries(Object.entries(body).filter(([name]) => name in preferences));
}

/** With everything in it. The first one stays: calls that name no workspace mean it. */
export async function removeWorkspace(store: Store, id: string): Promise<void> {
  if (id === DEFAULT_WORKSPACE_ID) {
    throw new PipelineError(
      'API_INVALID_REQUEST',
      'workspaceId is the default workspace, which stays',
    );
  }
  for (const kind of ['source', 'destination'] as const) {
    for (const actor of await store.actors.list(kind, id))
      await store.actors.remove(kind, actor.id);
  }
  await store.workspaces.remove(id);
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
