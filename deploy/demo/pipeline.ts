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

interface Definition {
  readonly name: string;
  readonly sourceDefinitionId?: string;
  readonly destinationDefinitionId?: string;
}

interface Catalog {
  readonly streams: readonly {
    readonly stream: { readonly name: string; readonly namespace: string };
  }[];
}

/** Sets up one source, two destinations and two connections through the API, as a user would. */
export async function createPipeline(
  api: ApiClient,
  servers: DemoServers,
  minio: { accessKey: string; secretKey: string },
): Promise<Connections> {
  const { workspaces } = await api.call<{ workspaces: { workspaceId: string }[] }>(
    'workspaces/list',
    {},
  );
  const workspaceId = workspaces[0]?.workspaceId as string;
  const { sourceDefinitions } = await api.call<{ sourceDefinitions: Definition[] }>(
    'source_definitions/list',
    {},
  );
  const { destinationDefinitions } = await api.call<{ destinationDefinitions: Definition[] }>(
    'destination_definitions/list',
    {},
  );
  const { sourceId } = await api.call<{ sourceId: string }>('sources/create', {
    workspaceId,
    name: 'shop',
    sourceDefinitionId: sourceDefinitions.find((d) => d.name === 'Postgres')?.sourceDefinitionId,
    connectionConfiguration: {
      ...postgresAt(servers.source),
      schemas: ['public'],
      replication_method: {
        method: 'CDC',
        replication_slot: 'headrace_demo',
        publication: 'headrace_demo',
        create: true,
      },
    },
  });
  const destination = async (title: string, configuration: unknown): Promise<string> => {
    const created = await api.call<{ destinationId: string }>('destinations/create', {
      workspaceId,
      name: title,
      destinationDefinitionId: destinationDefinitions.find((d) => d.name === title)
        ?.destinationDefinitionId,
      connectionConfiguration: configuration,
    });
    return created.destinationId;
  };
  const warehouse = await destination('Postgres', {
    ...postgresAt(servers.target),
    schema: 'public',
  });
  const lake = await destination('S3', {
    s3_bucket_name: DEMO_BUCKET,
    s3_bucket_path: DEMO_PATH,
    s3_bucket_region: 'us-east-1',
    s3_endpoint: servers.minio.url,
    access_key_id: minio.accessKey,
    secret_access_key: minio.secretKey,
    format: { format_type: 'Parquet', compression_codec: 'GZIP', block_size_mb: 128 },
  });
  const { catalog } = await api.call<{ catalog: Catalog }>('sources/discover_schema', { sourceId });
  const connect = async (destinationId: string, mode: string): Promise<string> => {
    const created = await api.call<{ connectionId: string }>('connections/create', {
      sourceId,
      destinationId,
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
  };
  return {
    postgres: await connect(warehouse, 'append_dedup'),
    parquet: await connect(lake, 'append'),
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
