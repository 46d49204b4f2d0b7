import type { LocalServer } from '../local/local-server.ts';
import type { DemoServers } from './demo-servers.ts';
import type { ApiClient } from '../local/api-client.ts';

export const DEMO_BUCKET = 'datalake';
/** The guide's own path: files lie directly under namespace and stream. */
export const DEMO_PATH = 'airbyte-data/${NAMESPACE}/${STREAM_NAME}';

export interface Connections {
  readonly postgres: string;
  readonly parquet: string;
}

/** Airbyte's own ids of the three connectors. */
const POSTGRES_SOURCE = 'decd338e-5647-4c0b-adf4-da0e75f5a750';
const POSTGRES_DESTINATION = '25c5221d-dce2-4163-ade9-739ef790f503';
const S3_DESTINATION = '4816b78f-1489-44c1-9060-4b19d5fa9362';

interface Catalog {
  readonly streams: readonly {
    readonly stream: { readonly name: string; readonly namespace: string };
  }[];
}

interface ObjectStoreLogin {
  readonly accessKey: string;
  readonly secretKey: string;
}

/** Sets up one source, two destinations and two connections through the API, as a user would. */
export async function createPipeline(
  api: ApiClient,
  servers: DemoServers,
  login: ObjectStoreLogin,
): Promise<Connections> {
  const { workspaces } = await api.call<{ workspaces: { workspaceId: string }[] }>(
    'workspaces/list',
    {},
  );
  const workspaceId = workspaces[0]?.workspaceId as string;
  const { sourceId } = await api.call<{ sourceId: string }>('sources/create', {
    workspaceId,
    name: 'shop',
    sourceDefinitionId: POSTGRES_SOURCE,
    connectionConfiguration: sourceConfig(servers),
  });
  const destination = async (name: string, id: string, config: unknown): Promise<string> => {
    const created = await api.call<{ destinationId: string }>('destinations/create', {
      workspaceId,
      name,
      destinationDefinitionId: id,
      connectionConfiguration: config,
    });
    return created.destinationId;
  };
  const warehouse = await destination('warehouse', POSTGRES_DESTINATION, {
    ...postgresAt(servers.target),
    schema: 'public',
  });
  const lake = await destination('lake', S3_DESTINATION, lakeConfig(servers, login));
  const { catalog } = await api.call<{ catalog: Catalog }>('sources/discover_schema', { sourceId });
  return {
    postgres: await connect(api, catalog, { sourceId, destinationId: warehouse }, 'append_dedup'),
    parquet: await connect(api, catalog, { sourceId, destinationId: lake }, 'append'),
  };
}

async function connect(
  api: ApiClient,
  catalog: Catalog,
  ends: { readonly sourceId: string; readonly destinationId: string },
  mode: 'append' | 'append_dedup',
): Promise<string> {
  const created = await api.call<{ connectionId: string }>('connections/create', {
    ...ends,
    status: 'active',
    namespaceDefinition: mode === 'append' ? 'source' : 'destination',
    syncCatalog: {
      streams: catalog.streams.map(({ stream: { name, namespace } }) => ({
        stream: { name, namespace },
        config: { selected: true, syncMode: 'incremental', destinationSyncMode: mode },
      })),
    },
  });
  return created.connectionId;
}

function sourceConfig(servers: DemoServers): Record<string, unknown> {
  return {
    ...postgresAt(servers.source),
    schemas: ['public'],
    replication_method: {
      method: 'CDC',
      replication_slot: 'headrace_demo',
      publication: 'headrace_demo',
      create: true,
    },
  };
}

function lakeConfig(servers: DemoServers, login: ObjectStoreLogin): Record<string, unknown> {
  return {
    s3_bucket_name: DEMO_BUCKET,
    s3_bucket_path: DEMO_PATH,
    s3_bucket_region: 'us-east-1',
    s3_endpoint: servers.minio.url,
    access_key_id: login.accessKey,
    secret_access_key: login.secretKey,
    format: { format_type: 'Parquet', compression_codec: 'GZIP', block_size_mb: 128 },
  };
}

function postgresAt(server: LocalServer): Record<string, unknown> {
  return {
    host: server.host,
    port: server.port,
    database: 'postgres',
    username: 'postgres',
    password: 'unused',
    ssl_mode: { mode: 'disable' },
  };
}
