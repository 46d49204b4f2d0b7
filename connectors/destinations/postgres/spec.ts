import type { ConnectorSpec } from '../../spi/connector.ts';
import { DEFAULT_RAW_SCHEMA } from './config.ts';

const pem = (title: string, order: number) => ({
  type: 'string',
  title,
  airbyte_secret: true,
  multiline: true,
  order,
});

const mode = (name: string, title: string, fields: Record<string, unknown> = {}) => ({
  title,
  additionalProperties: true,
  required: ['mode'],
  properties: { mode: { type: 'string', const: name, order: 0 }, ...fields },
});

/** In the words of Airbyte's destination, so that its configurations work as they are. */
export const spec: ConnectorSpec = {
  name: 'postgres',
  title: 'Postgres',
  definitionId: '25c5221d-dce2-4163-ade9-739ef790f503',
  dockerRepository: 'airbyte/destination-postgres',
  documentationUrl: 'https://docs.airbyte.com/integrations/destinations/postgres',
  supportedDestinationSyncModes: ['append', 'append_dedup', 'overwrite'],
  connectionSpecification: {
    $schema: 'http://json-schema.org/draft-07/schema#',
    title: 'Postgres Destination Spec',
    type: 'object',
    required: ['host', 'port', 'username', 'database', 'schema'],
    additionalProperties: true,
    properties: {
      host: { type: 'string', title: 'Host', description: 'Host name of the server.', order: 0 },
      port: {
        type: 'integer',
        title: 'Port',
        minimum: 1,
        maximum: 65535,
        default: 5432,
        examples: ['5432'],
        order: 1,
      },
      database: { type: 'string', title: 'DB Name', order: 2 },
      schema: {
        type: 'string',
        title: 'Default Schema',
        description:
          'Schema of the tables of streams without one of their own, and of _headrace_offsets.',
        default: 'public',
        order: 3,
      },
      username: { type: 'string', title: 'User', order: 4 },
      password: { type: 'string', title: 'Password', airbyte_secret: true, order: 5 },
      ssl: { type: 'boolean', title: 'SSL Connection', default: false, order: 6 },
      ssl_mode: {
        type: 'object',
        title: 'SSL modes',
        order: 7,
        oneOf: [
          mode('disable', 'disable'),
          mode('allow', 'allow'),
          mode('prefer', 'prefer'),
          mode('require', 'require'),
          mode('verify-ca', 'verify-ca', { ca_certificate: pem('CA certificate', 1) }),
          mode('verify-full', 'verify-full', {
            ca_certificate: pem('CA certificate', 1),
            client_certificate: pem('Client certificate', 2),
            client_key: pem('Client key', 3),
            client_key_password: {
              type: 'string',
              title: 'Client key password',
              airbyte_secret: true,
              order: 4,
            },
          }),
        ],
      },
      cdc_deletion_mode: {
        type: 'string',
        title: 'Deleted rows',
        description:
          'hard: a row deleted at the source is deleted from a deduped table. soft: it stays, with _ab_cdc_deleted_at set.',
        enum: ['hard', 'soft'],
        default: 'hard',
        order: 8,
      },
      disable_type_dedupe: {
        type: 'boolean',
        title: 'Disable Final Tables',
        description: 'Write _airbyte_raw_<stream> only: every change as one JSON document.',
        default: false,
        order: 9,
      },
      normalization: {
        type: ['object', 'string', 'boolean'],
        title: 'Normalization',
        description:
          'Tables beside the raw documents. basic: nested objects as columns, nested arrays as child tables. classic: both as child tables. v2: typed and deduped final tables. none: raw documents only. Not set: one typed table per stream.',
        order: 10,
        properties: {
          option: {
            type: 'string',
            title: 'Option',
            examples: ['basic', 'classic', 'v2', 'none'],
            order: 0,
          },
          scd: {
            type: 'boolean',
            title: 'History',
            description:
              'classic: deduped streams keep every version of their rows in <stream>_scd, too.',
            default: false,
            order: 1,
          },
        },
      },
      raw_data_schema: {
        type: 'string',
        title: 'Raw Table Schema',
        description: 'v2: schema of the raw tables.',
        default: DEFAULT_RAW_SCHEMA,
        order: 11,
      },
      values_that_do_not_fit: {
        type: 'string',
        title: 'Values That Do Not Fit',
        description:
          'null: a value that its column cannot hold becomes NULL and is recorded in _airbyte_meta. stop: it stops its stream.',
        enum: ['null', 'stop'],
        default: 'null',
        order: 12,
      },
      tunnel_method: {
        type: 'object',
        title: 'SSH Tunnel Method',
        order: 13,
        oneOf: [
          {
            title: 'No Tunnel',
            required: ['tunnel_method'],
            properties: { tunnel_method: { type: 'string', const: 'NO_TUNNEL', order: 0 } },
          },
        ],
      },
    },
  },
};
