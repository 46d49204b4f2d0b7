import type { LocalServer } from '../../deploy/local/local-server.ts';
import {
  createConnection,
  createDestination,
  createSource,
  parquetConfig,
  postgresConfig,
  query,
  type Rig,
} from '../support/rig.ts';
import type { canaries } from './exposed-secrets.ts';
import type { TorturedSource } from './tortured-source.ts';
import { STREAMS } from './workload.ts';

export interface Connections {
  readonly mirror: string;
  readonly history: string;
  readonly lake: string;
}

export type Secrets = ReturnType<typeof canaries>;

export interface Connected {
  readonly connections: Connections;
  /** Of one object of each kind, for questions to the API. */
  readonly ids: Readonly<Record<string, unknown>> & { readonly sourceId: string };
}

/** One source, and each kind of copy of it. */
export async function connect(
  rig: Rig,
  source: TorturedSource,
  secrets: Secrets,
): Promise<Connected> {
  for (const schema of ['mirror', 'history']) await query(rig.target, `create schema ${schema}`);
  // The Postgres servers trust everyone; MySQL's root has no password.
  const password = source.kind === 'sourcePostgres' ? { password: secrets.source } : {};
  const sourceId = await createSource(rig, { ...source.config, ...password }, source.kind);
  const postgres = (schema: string): Promise<string> =>
    createDestination(rig, 'postgres', {
      ...postgresConfig(rig.target),
      password: secrets.target,
      schema,
    });
  const lake = await createDestination(rig, 's3', {
    ...parquetConfig(rig.minio as LocalServer),
    rotation_seconds: 5,
  });
  const of = (mode: 'append' | 'append_dedup') => (stream: string) =>
    (STREAMS as readonly string[]).includes(stream) ? mode : null;
  const connections = {
    mirror: await createConnection(rig, sourceId, await postgres('mirror'), of('append_dedup')),
    history: await createConnection(rig, sourceId, await postgres('history'), of('append')),
    lake: await createConnection(rig, sourceId, lake, of('append')),
  };
  const ids = {
    workspaceId: 'default',
    sourceId,
    destinationId: lake,
    connectionId: connections.lake,
    id: 1,
  };
  return { connections, ids };
}
