import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterAll, expect, it } from 'vitest';
import { stringify } from 'yaml';
import { importAirbyte } from '../../../../services/cli/airbyte-import.ts';
import { parseConfigFile } from '../../../../services/cli/config-file.ts';

const root = mkdtempSync(join(tmpdir(), 'headrace-octavia-'));
afterAll(() => rmSync(root, { recursive: true, force: true }));

const SOURCE = 'decd338e-5647-4c0b-adf4-da0e75f5a750';
const DESTINATION = '25c5221d-dce2-4163-ade9-739ef790f503';
const variables = {
  valueOf: (name: string) => (name === 'SHOP_HOST' ? 'shop-db' : undefined),
  secretPrefix: 'CONNECTOR_SECRET_',
};

function write(path: string, text: string): string {
  mkdirSync(dirname(join(root, path)), { recursive: true });
  writeFileSync(join(root, path), text);
  return join(root, path);
}

const connection = (source: string) => `
definition_type: connection
resource_name: shop to warehouse
source_configuration_path: ${source}
destination_configuration_path: destinations/warehouse/configuration.yaml
configuration:
  status: active
  skip_reset: false
  namespace_definition: customformat
  namespace_format: "\${SOURCE_NAMESPACE}"
  prefix: s_
  schedule_type: cron
  schedule_data:
    basic_schedule: null
    cron: { cron_expression: 0 0 2 * * ?, cron_time_zone: Europe/Berlin }
  sync_catalog:
    streams:
      - stream: { name: orders, namespace: public, json_schema: { properties: { order_id: {} } } }
        config:
          { sync_mode: incremental, destination_sync_mode: append_dedup, cursor_field: [], primary_key: [[order_id]], selected: true }
      - stream: { name: left_out, namespace: public }
        config: { sync_mode: full_refresh, destination_sync_mode: append, selected: false }
  operations:
    - { name: basic, operator_configuration: { operator_type: normalization, normalization: { option: basic } } }
    - name: models
      operation_id: 11111111-2222-4333-8444-555555555555
      operator_configuration:
        operator_type: dbt
        dbt: { git_repo_url: shop, git_repo_branch: null, docker_image: null, dbt_arguments: run }
        normalization: null
    - { name: tell, operator_configuration: { operator_type: webhook, webhook: { execution_url: 'https://\${SHOP_HOST}/done' } } }
    - { name: cloud, operator_configuration: { operator_type: webhook, webhook: { webhook_type: dbtCloud, dbt_cloud: { job_id: 7 } } } }
`;

it('takes an octavia folder, its secrets as references and the rest as the environment has it', async () => {
  write(
    'project/sources/shop/configuration.yaml',
    `resource_name: shop
definition_type: source
definition_id: ${SOURCE}
configuration:
  host: \${SHOP_HOST}
  port: 5432
  password: \${SHOP_PASSWORD}
  replication_method: { method: CDC, replication_slot: s, publication: p }
`,
  );
  write(
    'project/destinations/warehouse/configuration.yaml',
    `resource_name: warehouse\ndefinition_id: ${DESTINATION}\nconfiguration: { host: dwh, schema: public }\n`,
  );
  const source = 'sources/shop/configuration.yaml';
  write('project/connections/shop_to_warehouse/configuration.yaml', connection(source));
  const { file, notes } = await importAirbyte([join(root, 'project')], variables);
  expect(notes).toEqual([
    "connection shop to warehouse: its operation cloud is not in the file: dbt Cloud's own jobs are not served",
  ]);
  expect(parseConfigFile(stringify(file))).toEqual({
    sources: [
      {
        name: 'shop',
        definition: SOURCE,
        configuration: {
          host: 'shop-db',
          port: 5432,
          password: '${env:CONNECTOR_SECRET_SHOP_PASSWORD}',
          replication_method: { method: 'CDC', replication_slot: 's', publication: 'p' },
        },
      },
    ],
    destinations: [
      {
        name: 'warehouse',
        definition: DESTINATION,
        configuration: { host: 'dwh', schema: 'public' },
      },
    ],
    connections: [
      {
        name: 'shop to warehouse',
        source: 'shop',
        destination: 'warehouse',
        status: 'active',
        scheduleType: 'cron',
        scheduleData: { cron: { cronExpression: '0 0 2 * * ?', cronTimeZone: 'Europe/Berlin' } },
        namespaceDefinition: 'customformat',
        namespaceFormat: '${SOURCE_NAMESPACE}',
        prefix: 's_',
        streams: [
          {
            name: 'orders',
            namespace: 'public',
            syncMode: 'incremental',
            destinationSyncMode: 'append_dedup',
            cursorField: [],
            primaryKey: [['order_id']],
          },
        ],
        operations: [
          {
            name: 'basic',
            operatorConfiguration: {
              operatorType: 'normalization',
              normalization: { option: 'basic' },
            },
          },
          {
            name: 'models',
            operatorConfiguration: {
              operatorType: 'dbt',
              dbt: { gitRepoUrl: 'shop', dbtArguments: 'run' },
            },
          },
          {
            name: 'tell',
            operatorConfiguration: {
              operatorType: 'webhook',
              webhook: { executionUrl: 'https://shop-db/done' },
            },
          },
        ],
      },
    ],
  });
  const folder = [join(root, 'project')];
  await expect(importAirbyte(folder, { ...variables, valueOf: () => undefined })).rejects.toThrow(
    'sources/shop/configuration.yaml needs the variable SHOP_HOST, which is not set',
  );
  const nowhere = connection('sources/none/configuration.yaml');
  write('project/connections/shop_to_warehouse/configuration.yaml', nowhere);
  await expect(importAirbyte(folder, variables)).rejects.toThrow(
    'connections/shop_to_warehouse/configuration.yaml names sources/none/configuration.yaml',
  );
});

it("takes what Airbyte's API lists, from one file or several", async () => {
  const sources = [
    {
      sourceId: 'a',
      name: 'shop',
      sourceDefinitionId: SOURCE,
      connectionConfiguration: { host: 'db', password: '**********' },
    },
  ];
  const destinations = [
    {
      destinationId: 'b',
      name: 'warehouse',
      destinationDefinitionId: DESTINATION,
      connectionConfiguration: { host: 'dwh' },
    },
  ];
  const connections = [
    {
      connectionId: 'c',
      sourceId: 'a',
      destinationId: 'b',
      name: 'both',
      status: 'inactive',
      schedule: { units: 24, timeUnit: 'hours' },
      operationIds: ['o1', 'o2'],
      syncCatalog: {
        streams: [
          {
            stream: { name: 'orders', namespace: null },
            config: { syncMode: 'full_refresh', destinationSyncMode: 'overwrite', selected: true },
          },
        ],
      },
    },
  ];
  const both = write('answers/ends.json', JSON.stringify({ sources, destinations }));
  const last = write('answers/connections.json', JSON.stringify({ connections }));
  const dbt = { operatorType: 'dbt', dbt: { gitRepoUrl: 'shop', dbtArguments: 'run' } };
  const operations = [{ operationId: 'o1', name: 'models', operatorConfiguration: dbt }];
  const more = write('answers/operations.json', JSON.stringify({ operations }));
  const { file, notes } = await importAirbyte([both, last, more], variables);
  expect(notes).toEqual([
    'connection both: its operation o2 is not in the file: the answer of operations/list is missing',
  ]);
  expect(parseConfigFile(stringify(file)).connections).toMatchObject([
    {
      source: 'shop',
      destination: 'warehouse',
      scheduleType: 'basic',
      scheduleData: { basicSchedule: { units: 24, timeUnit: 'hours' } },
      streams: [{ name: 'orders', syncMode: 'full_refresh' }],
      operations: [{ name: 'models', operatorConfiguration: dbt }],
    },
  ]);
  await expect(importAirbyte([last], variables)).rejects.toThrow(
    'connection both has a source that is not in the files',
  );
  const empty = write('answers/empty.json', '{}');
  await expect(importAirbyte([empty], variables)).rejects.toThrow('holds no source');
});
