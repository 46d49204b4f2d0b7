import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { ConnectionDocument } from '../../../core/store/connection-document.ts';
import { openStore, type Store } from '../../../core/store/store.ts';
import { DEFAULT_WORKSPACE_ID } from '../../../core/store/workspaces.ts';

/** An embedded store on a throw-away folder. */
export async function embeddedStore(
  options: { secretKey?: string } = {},
): Promise<{ store: Store; home: string } & AsyncDisposable> {
  const home = mkdtempSync(join(tmpdir(), 'headrace-store-'));
  const store = await openStore({ home, storeUrl: null, secretKey: options.secretKey ?? null });
  return {
    store,
    home,
    async [Symbol.asyncDispose]() {
      await store.close();
      rmSync(home, { recursive: true, force: true });
    },
  };
}

export function documentOf(overrides: Partial<ConnectionDocument> = {}): ConnectionDocument {
  return {
    name: 'shop to lake',
    namespaceDefinition: 'source',
    operationIds: [],
    syncCatalog: {
      streams: [
        {
          stream: { name: 'orders', namespace: 'public', sourceDefinedPrimaryKey: [['id']] },
          config: { syncMode: 'incremental', destinationSyncMode: 'append_dedup' },
        },
      ],
    },
    scheduleType: 'continuous',
    breakingChange: false,
    ...overrides,
  };
}

/** A source, a destination and an active connection between them. */
export async function seedConnection(
  store: Store,
  document: ConnectionDocument = documentOf(),
): Promise<{ sourceId: string; destinationId: string; connectionId: string }> {
  const actor = { workspaceId: DEFAULT_WORKSPACE_ID, definitionId: DEFAULT_WORKSPACE_ID };
  const source = await store.actors.create({
    ...actor,
    kind: 'source',
    name: 'shop',
    connector: 'fake',
    configuration: { host: 'db', password: 'hunter2' },
  });
  const destination = await store.actors.create({
    ...actor,
    kind: 'destination',
    name: 'lake',
    connector: 'fake',
    configuration: { schema: 'out' },
  });
  const connection = await store.connections.create({
    workspaceId: DEFAULT_WORKSPACE_ID,
    sourceId: source.id,
    destinationId: destination.id,
    status: 'active',
    document,
  });
  return { sourceId: source.id, destinationId: destination.id, connectionId: connection.id };
}
