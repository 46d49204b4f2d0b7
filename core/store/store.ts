import { join } from 'node:path';
import { AccessTokens } from './access-tokens.ts';
import { Actors } from './actors.ts';
import { AuditLog } from './audit-log.ts';
import { Cleanups } from './cleanups.ts';
import { Connections } from './connections.ts';
import type { Database } from './database.ts';
import { Jobs } from './jobs.ts';
import { migrate } from './migrate.ts';
import { Monitoring } from './monitoring.ts';
import { Notifications } from './notifications.ts';
import { Operations } from './operations.ts';
import { SchemaChanges } from './schema-changes.ts';
import { reseal } from './reseal.ts';
import { Sealer } from './sealer.ts';
import { Replays } from './replays.ts';
import { WorkerStore } from './worker-store.ts';
import { Workspaces } from './workspaces.ts';

/** The control plane's memory. `work` is the part that workers use. */
export interface Store {
  readonly workspaces: Workspaces;
  readonly actors: Actors;
  readonly connections: Connections;
  readonly jobs: Jobs;
  readonly replays: Replays;
  readonly schemaChanges: SchemaChanges;
  readonly cleanups: Cleanups;
  readonly tokens: AccessTokens;
  readonly audit: AuditLog;
  readonly notifications: Notifications;
  readonly operations: Operations;
  readonly monitoring: Monitoring;
  readonly work: WorkerStore;
  /** Rejects with CFG_STORE_UNAVAILABLE while the database does not answer. */
  ping(): Promise<void>;
  /** After a change of the key: see `reseal`. */
  reseal(): Promise<number>;
  close(): Promise<void>;
}

export interface StoreSettings {
  readonly home: string;
  /** Null: embedded, under `home`/store, for one process only. */
  readonly storeUrl: string | null;
  readonly secretKey: string | null;
  /** The key before it, while something may still be sealed with that. */
  readonly secretKeyPrevious?: string | null;
}

/** Opens the store and brings its tables to this version. Throws CFG_STORE_LOCKED when another
 * process has the embedded one, CFG_STORE_UNAVAILABLE or CFG_STORE_REFUSED from a server. */
export async function openStore(settings: StoreSettings): Promise<Store> {
  const database = await openDatabase(settings);
  try {
    await migrate(database);
    const store = assemble(database, new Sealer(settings.secretKey, settings.secretKeyPrevious));
    await store.workspaces.ensureDefault();
    return store;
  } catch (error) {
    await database.close();
    throw error;
  }
}

/** A driver is loaded only when it is used: the embedded one alone takes a second. */
async function openDatabase({ home, storeUrl }: StoreSettings): Promise<Database> {
  if (storeUrl !== null) {
    const { openPostgresDatabase } = await import('./postgres-database.ts');
    return openPostgresDatabase(storeUrl);
  }
  const { openEmbeddedDatabase } = await import('./embedded-database.ts');
  return openEmbeddedDatabase(join(home, 'store'));
}

function assemble(database: Database, sealer: Sealer): Store {
  return {
    workspaces: new Workspaces(database),
    actors: new Actors(database, sealer),
    connections: new Connections(database),
    jobs: new Jobs(database),
    replays: new Replays(database),
    schemaChanges: new SchemaChanges(database),
    cleanups: new Cleanups(database, sealer),
    tokens: new AccessTokens(database),
    audit: new AuditLog(database),
    notifications: new Notifications(database, sealer),
    operations: new Operations(database, sealer),
    monitoring: new Monitoring(database, sealer),
    work: new WorkerStore(database, sealer),
    async ping() {
      await database.query(`SELECT 1`);
    },
    reseal: () => reseal(database, sealer),
    close: () => database.close(),
  };
}
